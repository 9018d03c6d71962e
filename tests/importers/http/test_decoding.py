"""The second process that decodes answers: its pages are those of one process, and whatever becomes of it, a listing is
read to its end.
"""

import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from mmap import mmap
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import orjson
import pytest
from msgspec.structs import replace

from retrovue.core.config import ONE_PROCESS
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import FULL
from retrovue.core.version import own_version
from retrovue.importers.http import cores, decoding
from retrovue.importers.http.decoder import PageDecoder, pack, unpack
from retrovue.importers.http.decoder_process import ANSWER, HEAD, LENGTH, LISTING
from retrovue.importers.http.decoding import Decoding, DecodingAhead
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.http.listing import Listing
from retrovue.importers.http.paging import WINDOW
from retrovue.importers.http.work import Work
from retrovue.importers.jellyfin.parse import JellyfinDraftMaker, series_of
from retrovue.importers.jellyfin.rows import JellyfinFormat
from retrovue.importers.plex.parse import PlexDraftMaker, shows_of
from retrovue.importers.plex.rows import PlexFormat
from retrovue.simulator import GeneratedSection, album, artist, movie, track
from tests.support import jellyfin
from tests.support.plex import Known, collection, listing, plex, series

PAGE = 20
FILMS = 50 * PAGE
COUNT_CORES = cores.cores
A_FEW = 5
"""Pages that are read before something happens to the process: more than are requested ahead of its start."""


@pytest.fixture(autouse=True)
def any_listing_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoding, "rows_worth", 1)
    monkeypatch.setattr(decoding, "cores", lambda: 2)


async def started(process: Decoding) -> None:
    """Wait until the process takes answers, or never will."""
    with anyio.fail_after(60):
        await process.started.wait()


async def read(then: Callable[[Decoding], None] = lambda _: None) -> tuple[list[Page], Decoding]:
    """Read all pages; ``then`` is called after a few of them, when the second process takes answers or never will."""
    pages: list[Page] = []
    async with plex(GeneratedSection("1", "Films", count=FILMS), config={"page_size": PAGE}) as (_, importer):
        async with importer.enumerate(collection(), FULL) as listed:
            async for page in listed:
                assert isinstance(page, Page)
                pages.append(page)
                if len(pages) == A_FEW:
                    await started(importer.decoding)
                    then(importer.decoding)
        process = importer.decoding
    return pages, process


async def read_alone(monkeypatch: pytest.MonkeyPatch) -> list[Page]:
    """Read all pages with one process."""
    with monkeypatch.context() as alone:
        alone.setattr(decoding, "cores", lambda: 1)
        pages, process = await read()
    assert process.pid is None
    assert sum(page.source_items for page in pages) == FILMS
    return pages


async def read_together(monkeypatch: pytest.MonkeyPatch, then: Callable[[Decoding], None] = lambda _: None) -> Decoding:
    """Read with a second process, of which ``then`` is told as in `read`: the pages are those of one process."""
    pages, process = await read(then)
    assert pages == await read_alone(monkeypatch)
    return process


class BrokenDecoder(PageDecoder[Any, Any, Any]):
    """Has no memory for any answer."""

    def decode_usual(self, body: bytes | bytearray, shared: int) -> Any:
        raise MemoryError(len(body), shared)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.anyio
@pytest.mark.fault(156)
class TestTwoProcesses:
    async def test_read_the_same_pages_as_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        process = await read_together(monkeypatch)
        assert process.decoded > 0

    async def test_a_run_that_is_never_idle_leaves_all_answers_to_the_process(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decoding, "_IDLE_S", -1)
        process = await read_together(monkeypatch)
        # Some pages were requested before it took answers.
        assert process.decoded >= FILMS / PAGE - A_FEW - WINDOW

    async def test_an_idle_run_decodes_itself_what_the_process_has_not_begun(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Decoding, "_send", lambda _: None)
        process = await read_together(monkeypatch)
        assert (process.pid is None, process.decoded) == (False, 0)

    async def test_a_needed_answer_has_its_turn_before_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(decoding, "_IDLE_S", -1)
        process = Decoding()
        waiting = [process.take(Work(1, b"{}", 0)) for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.result, waiting[2])
            tasks.start_soon(process.result, waiting[1])
            await anyio.lowlevel.checkpoint()
            process._memory, process._free = mmap(-1, 100), [0, 50]
            process._send()
            assert [work.slot for work in waiting] == [None, 0, 50]
            tasks.cancel_scope.cancel()

    @pytest.mark.parametrize("outline", [False, True])
    async def test_a_run_that_waits_decodes_what_the_process_has_not_begun(
        self, monkeypatch: pytest.MonkeyPatch, *, outline: bool
    ) -> None:
        monkeypatch.setattr(decoding, "_IDLE_S", math.inf)
        process, decoder = Decoding(), PageDecoder(PlexFormat(), PlexDraftMaker("machine"))
        number = process.add_listing(decoder)
        process._memory, process._free = mmap(-1, 10_000), [0]
        bodies = [plex_answer([movie(key)]) for key in (1, 2)] + [b"{}", plex_answer([movie(3)])]
        begun, usual, unusual, last = [process.take(Work(number, body, 0, outline=outline)) for body in bodies]
        results: list[Any] = []

        async def wait() -> None:
            results.append(await process.result(begun))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            with anyio.fail_after(60):
                await usual.done.wait()
            packed = pack(decoder, bodies[0], 0, outline=outline)
            process._memory[: len(packed)] = packed
            process._take_result(begun, len(packed))
        found = [*results, await process.result(usual), await process.result(last)]
        decode = decoder.decode_outline if outline else decoder.decode_usual
        assert found == [decode(bodies[position], 0) for position in (0, 1, 3)]
        # What the run can't decode to a page is left to the reader of the listing.
        assert (await process.result(unusual), unusual.body) == (None, b"{}")

    async def test_make_the_same_outlines_as_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(decoding, "_OUTLINES_PER_ROW", 1)

        async def outlines() -> tuple[list[Any], int]:
            found: list[Any] = []
            known = replace(collection(), assets_count=1)
            async with (
                plex(GeneratedSection("1", "Films", count=FILMS), config={"page_size": PAGE}) as (_, importer),
                importer.enumerate(known, FULL) as listed,
            ):
                async for outline in listed:
                    assert isinstance(outline, Outline)
                    assert outline.items is not None
                    about = outline.source_uris, outline.source_paths, outline.rejected, outline.source_items
                    items = outline.items.ends, outline.items.stamps(), await outline.items.read([1, 3])
                    found.append((*about, outline.stamp, *items, await outline.read()))
                    if len(found) == A_FEW and importer.decoding.pid is not None:
                        await started(importer.decoding)
                return found, importer.decoding.decoded

        together, decoded = await outlines()
        assert decoded > 0
        monkeypatch.setattr(decoding, "cores", lambda: 1)
        assert together == (await outlines())[0]

    async def test_an_error_in_an_answer_of_another_collection_is_raised_there(self) -> None:
        process = Decoding()
        good = PageDecoder(PlexFormat(), PlexDraftMaker("machine"))
        broken = BrokenDecoder(PlexFormat(), PlexDraftMaker("machine"))
        own, other = (Work(process.add_listing(decoder), body, 0) for decoder, body in ((good, b""), (broken, b"{}")))
        own.slot = 0
        process.take(other)
        async with anyio.create_task_group() as group:

            async def finish() -> None:
                await other.done.wait()
                own.finish(b"")

            group.start_soon(finish)
            assert await process.result(own) is None
        assert (other.listing_here, other.body) == (None, b"{}")
        await process.aclose()

    async def test_known_pages_are_not_decoded_by_it(self) -> None:
        known, unknown = replace(collection(), assets_count=1), 5
        section = GeneratedSection("1", "Films", count=FILMS)
        async with plex(section, config={"page_size": PAGE}) as (_, importer):
            async with importer.enumerate(known, FULL) as listed:
                texts = [step.text async for step in listed if step.text is not None]
            await started(importer.decoding)
            before, recognised, recall = importer.decoding.decoded, 0, Known(texts[unknown:], tells=True)
            async with importer.enumerate_recalling(known, FULL, recall) as listed:
                async for step in listed:
                    assert isinstance(step, Outline)
                    recognised += step.recognised
        assert (recognised, len(texts)) == (len(texts) - unknown, len(texts))
        assert importer.decoding.decoded - before <= unknown

    async def test_a_process_that_is_killed(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def kill(process: Decoding) -> None:
            assert process.is_ready
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

        await read_together(monkeypatch, kill)
        assert caplog.text.count("It has ended.") == 1

    async def test_a_process_that_does_nothing(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(Decoding, "patience_s", 0.05)

        def stop(process: Decoding) -> None:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)

        process = await read_together(monkeypatch, stop)
        assert "It hasn't decoded an answer in 0.05 s." in caplog.text
        assert process.pid is not None
        assert not is_running(process.pid)

    async def test_a_process_of_another_version(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(decoding, "own_version", lambda: "0.0.1")
        process = await read_together(monkeypatch)
        assert process.decoded == 0
        assert "instead of 0.0.1: RetroVue was replaced meanwhile." in caplog.text

    async def test_a_process_that_fails_says_why(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(decoding, "_PROGRAM", "import no_such_module")
        await read_together(monkeypatch)
        assert "No module named 'no_such_module'" in caplog.text

    async def test_a_program_that_ends_at_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        program = tmp_path / "python3"
        program.write_text("#!/bin/sh\nexit 2\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        await read_together(monkeypatch)
        assert "It has ended." in caplog.text

    async def test_what_it_writes_cannot_be_read(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        program = "import retrovue.importers.http.decoder_process as p; p.pack = lambda *_, **__: b'?'; "
        monkeypatch.setattr(decoding, "_PROGRAM", decoding._PROGRAM.replace("from", f"{program}\nfrom", 1))
        await read_together(monkeypatch)
        assert "It has written what can't be read" in caplog.text

    async def test_a_process_that_cannot_be_started(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python3")
        process = await read_together(monkeypatch)
        assert process.pid is None
        assert "It couldn't be started" in caplog.text

    async def test_an_odd_import_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", ["", Path("/nowhere"), *sys.path])
        process = await read_together(monkeypatch)
        assert process.decoded > 0

    @pytest.mark.parametrize("films", [PAGE + 25 * (PAGE - 1), FILMS])
    async def test_each_answer_is_requested_once(self, films: int) -> None:
        """Also the row beyond the end, which no page has."""
        section, config = GeneratedSection("1", "Films", count=films), {"page_size": PAGE}
        async with plex(section, config=config, http={"attempts": 1}) as (server, importer):
            async with importer.enumerate(collection(), FULL) as listed:
                number = 0
                async for page in listed:
                    number += page.source_items
                    if number == A_FEW * (PAGE - 1) + 1:
                        await started(importer.decoding)
            assert importer.decoding.decoded > 0
        assert number == films
        asked = [request.query for request in server.requests if request.path.endswith("/all")]
        assert len(asked) == len({str(query) for query in asked})

    async def test_a_listing_that_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(HttpLibrary, "bookmarks_from", 1)
        monkeypatch.setattr(Decoding, "rows_worth", FILMS)
        section, config = GeneratedSection("1", "Films", count=FILMS), {"page_size": PAGE}
        async with plex(section, config=config, http={"attempts": 1}) as (_, importer):
            read_before: list[Page] = []
            async with importer.resume(collection(), []) as listed:
                async for page in listed:
                    assert isinstance(page, Page)
                    read_before.append(page)
                    if len(read_before) == A_FEW:
                        break
            assert importer.decoding.pid is None
            monkeypatch.setattr(Decoding, "rows_worth", 1)
            rest: list[Page] = []
            bookmarks = [page.bookmark for page in read_before if page.bookmark is not None]
            async with importer.resume(collection(), bookmarks) as listed:
                async for page in listed:
                    assert isinstance(page, Page)
                    rest.append(page)
                    if len(rest) == A_FEW:
                        await started(importer.decoding)
            assert importer.decoding.decoded > 0
        assert not any(page.restart for page in rest)
        assert sum(page.source_items for page in (*read_before, *rest)) == FILMS

    async def test_an_answer_after_the_end_of_its_listing_is_not_taken(self) -> None:
        async with (
            plex(GeneratedSection("1", "Films", count=FILMS), config={"page_size": PAGE}) as (_, importer),
            importer.enumerate(collection(), FULL) as listed,
        ):
            await anext(aiter(listed))
            await started(importer.decoding)
            ahead = DecodingAhead(importer.decoding, PageDecoder(PlexFormat(), PlexDraftMaker("machine")))
            works = [ahead.take(plex_answer([FILM]), 0) for _ in range(4)]
            ahead.end()
            assert ahead.take(plex_answer([FILM]), 0) is None
            pages = [await ahead.result(work) for work in works if work is not None]
        assert len(pages) == len(works)
        assert pages[-1] is None

    async def test_what_is_logged_of_it_names_no_collection(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(decoding, "_PROGRAM", "import no_such_module")
        named: ContextVar[str] = ContextVar("named", default="")

        class Name(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                record.named = named.get()
                return True

        caplog.handler.addFilter(Name())
        named.set("Films")
        await read()
        names = [vars(record)["named"] for record in caplog.records if "without its second process" in record.message]
        assert names == [""]

    async def test_it_ends_with_the_importer(self) -> None:
        _, process = await read()
        assert process.pid is not None
        assert not is_running(process.pid)

    async def test_it_ends_with_a_cancelled_importer(self) -> None:
        processes: list[Decoding] = []
        with anyio.CancelScope() as scope:

            def cancel(process: Decoding) -> None:
                processes.append(process)
                scope.cancel()

            await read(cancel)
        (process,) = processes
        assert process.pid is not None
        assert not is_running(process.pid)

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc shows the environment of a process")
    async def test_it_gets_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RETROVUE_TOKEN", "canary")
        monkeypatch.setenv("PGPASSWORD", "canary")
        environments: list[bytes] = []

        def look(process: Decoding) -> None:
            environments.append(Path(f"/proc/{process.pid}/environ").read_bytes())

        await read(look)
        assert b"PATH=" in environments[0]
        assert b"canary" not in environments[0]

    async def test_a_small_listing_is_not_worth_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Decoding, "rows_worth", FILMS)
        async with plex(GeneratedSection("1", "Films", count=FILMS), config={"page_size": PAGE}) as (_, importer):
            async with importer.enumerate(collection(), FULL) as listed:
                assert [page async for page in listed]
            assert importer.decoding.pid is None

    @pytest.mark.parametrize("reason", ["one core", "not Python", "not wanted"])
    async def test_no_process_is_started(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reason: str) -> None:
        if reason == "one core":
            monkeypatch.setattr(decoding, "cores", lambda: 1)
        elif reason == "not Python":
            server = tmp_path / "uwsgi"
            server.symlink_to(sys.executable)
            monkeypatch.setattr(sys, "executable", str(server))
        else:
            monkeypatch.setenv(ONE_PROCESS, "1")
        async with anyio.create_task_group() as tasks:
            process = Decoding()
            process.expect(FILMS, tasks)
        assert process.pid is None
        await process.aclose()


ROWS_OF_A_SHOW = series(10, "A Show", studio="Acme")
EPISODES = [row for row in ROWS_OF_A_SHOW if row["type"] == "episode"]
FILM = movie(1, Genre=[{"tag": "Drama"}], Chapter=[{"tag": "One", "startTimeOffset": 0, "endTimeOffset": 9}])
AN_ARTIST = artist(50, "The Band")
TRACKS = [track(60 + number, album(55, AN_ARTIST, 1), number) for number in range(1, 4)]


def plex_answer(rows: Sequence[Any], **container: Any) -> bytes:
    return orjson.dumps({"MediaContainer": {"size": len(rows), "Metadata": rows} | container})


class TestWhatIsPacked:
    def check(self, decoder: PageDecoder[Any, Any, Any], body: bytes, shared: int = 0) -> None:
        whole = decoder.decode(body, shared)
        assert whole.page is not None
        assert whole.page.drafts
        assert unpack(pack(decoder, body, shared)) == whole
        outline = decoder.decode_outline(body, shared)
        assert outline is not None
        assert outline.content.source_uris
        assert unpack(pack(decoder, body, shared, outline=True)) == outline
        self.check_recognised(decoder, body, whole, shared)

    def check_recognised(
        self, decoder: PageDecoder[Any, Any, Any], body: bytes, whole: Listing[Any, Any], shared: int
    ) -> None:
        """The page is recognised by its text, with the keys and numbers that decoding it gives."""
        assert whole.text is not None
        assert whole.page is not None
        known = decoder.recognise(body, whole.text, shared)
        assert known is not None
        assert (known.keys, known.digest) == (whole.keys, whole.digest)
        assert (known.size, known.total, known.offset) == (whole.size, whole.total, whole.offset)
        assert (known.content.rejected, known.rows) == (whole.page.rejected, [])
        assert decoder.text_digest(body) == whole.text.digest
        assert decoder.recognise(body, whole.text, shared + 1) is None
        assert decoder.recognise(body, replace(whole.text, rows=b"\xc1"), shared) is None

    def test_what_is_around_the_rows_is_read_anew(self) -> None:
        decoder = PageDecoder(PlexFormat(), PlexDraftMaker("machine"))
        text = decoder.decode(plex_answer([FILM, movie(2)], totalSize=9, offset=3), 0).text
        assert text is not None
        later = decoder.recognise(plex_answer([FILM, movie(2)], totalSize=10, offset=4), text, 0)
        assert later is not None
        assert (later.size, later.total, later.offset) == (2, 10, 4)

    @pytest.mark.parametrize(
        "body",
        [
            b'{"MediaContainer": {"size": 1, "Metadata": [%b], "totalSize": 7, "Directory": []}}',
            b'{"MediaContainer": {"size": 1, "title": "Metadata", "Metadata": [%b], "totalSize": 7}}',
            b'{"MediaContainer": {"size": 1, "totalSize": 7, "Meta\\u0064ata": [%b]}}',
        ],
    )
    def test_an_answer_that_is_written_otherwise_is_decoded_each_time(self, body: bytes) -> None:
        listing = PageDecoder(PlexFormat(), PlexDraftMaker("machine")).decode(body % orjson.dumps(FILM), 0)
        assert (listing.total, listing.text) == (7, None)

    @pytest.mark.parametrize("shared", [0, 1])
    @pytest.mark.parametrize("rows", [[FILM, movie(2)], TRACKS, [FILM | {"Media": []}, movie(3)]])
    def test_pages_of_plex(self, rows: Sequence[Any], shared: int) -> None:
        decoder = PageDecoder(PlexFormat(), PlexDraftMaker("machine"))
        self.check(decoder, plex_answer(rows, totalSize=9, offset=3), shared)

    def test_episodes_that_inherit_from_their_show(self) -> None:
        shows = shows_of(listing(ROWS_OF_A_SHOW[:1]).rows)
        assert shows
        self.check(PageDecoder(PlexFormat(), PlexDraftMaker("machine", shows)), plex_answer(EPISODES))

    def test_pages_of_jellyfin(self) -> None:
        rows = jellyfin.a_series(3, "A Series")
        of_series = series_of(jellyfin.listing(*[row for row in rows if row["Type"] == "Series"]).rows)
        decoder = PageDecoder(JellyfinFormat(), JellyfinDraftMaker("machine", of_series))
        chapters = [{"StartPositionTicks": 0, "Name": "One"}, {"StartPositionTicks": 10_000_000, "Name": "é"}]
        episodes = [row | {"Chapters": chapters} for row in rows if row["Type"] == "Episode"]
        self.check(decoder, orjson.dumps({"Items": episodes, "TotalRecordCount": 6, "StartIndex": 0}))

    def test_a_result_is_at_most_twice_as_long_as_its_answer(self) -> None:
        """It waits in place of the answer, whose bytes the run has counted."""
        shows = shows_of(listing([ROWS_OF_A_SHOW[0] | {"Genre": [{"tag": f"tag {n:04}"} for n in range(300)]}]).rows)
        decoder = PageDecoder(PlexFormat(), PlexDraftMaker("machine", shows))
        body = plex_answer(EPISODES * 200)
        whole = decoder.decode_usual(body, 0)
        assert whole is not None
        assert len(msgspec.msgpack.encode(whole.page)) > 2 * len(body)
        assert pack(decoder, body, 0) == b""

    def test_texts_that_drafts_share_do_not_fill_the_memory(self) -> None:
        """A show's tags are in memory once, and in a message with each episode."""
        shows = shows_of(listing([ROWS_OF_A_SHOW[0] | {"Genre": [{"tag": "x" * 4000}] * 250}]).rows)
        decoder = PageDecoder(PlexFormat(), PlexDraftMaker("machine", shows))
        assert pack(decoder, plex_answer(EPISODES * 20), 0) == b""

    @pytest.mark.parametrize(
        "body",
        [
            plex_answer([FILM, {"ratingKey": "x"}]),
            plex_answer([FILM, FILM | {"title": "\0"}]),
            plex_answer([FILM | {"year": "soon"}]),
            plex_answer([FILM])[:-1],
            b"[]",
            b"",
        ],
    )
    def test_an_unusual_answer_is_left_to_the_other_process(self, body: bytes) -> None:
        assert pack(PageDecoder(PlexFormat(), PlexDraftMaker("machine")), body, 0) == b""

    @pytest.mark.parametrize("body", [plex_answer([FILM, {"ratingKey": "x"}]), plex_answer([FILM])[:-1], b"[]", b""])
    def test_an_answer_without_an_outline_is_left_to_the_other_process(self, body: bytes) -> None:
        assert pack(PageDecoder(PlexFormat(), PlexDraftMaker("machine")), body, 0, outline=True) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="the second process is used on Linux")
@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", 0),
        (HEAD.pack(ANSWER, 1, 0, 0, 5)[:-1], 0),
        (HEAD.pack(LISTING, 1, 0, 0, 5) + b"{", 0),
        (HEAD.pack(ANSWER, 1, 0, 0, 5), 1),  # of a listing that has ended
    ],
)
def test_the_process_ends_with_its_input(sent: bytes, answers: int) -> None:
    fd = os.memfd_create("answers")
    os.ftruncate(fd, 1 << 20)
    command = [sys.executable, "-c", decoding._PROGRAM, own_version(), str(fd), str(1 << 20), *sys.path]
    done = subprocess.run(command, input=sent, capture_output=True, pass_fds=[fd], timeout=60, check=False)
    os.close(fd)
    assert (done.returncode, done.stdout, done.stderr) == (0, LENGTH.pack(0) * (1 + answers), b"")


@pytest.mark.parametrize(("limit", "number"), [("150000 100000", 1.5), ("max 100000", 2), ("odd", 2)])
def test_the_limit_of_a_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, number: float) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(cores, "_LIMIT", tmp_path / "cpu.max")
    assert COUNT_CORES() == 2
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert COUNT_CORES() == number
