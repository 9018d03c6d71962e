"""Our own enrichers by themselves: probe, nfo, filename, plex-details, and the programs that they run."""

import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from benchmarks.media import make_media
from retrovue.core.model import Secret, Source
from retrovue.enrichers import processes
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure, MediaFile
from retrovue.enrichers.filename import FilenameEnricher, guess
from retrovue.enrichers.nfo import MAX_BYTES, NfoEnricher
from retrovue.enrichers.plex_details import PlexDetailsEnricher
from retrovue.enrichers.probe import ProbeEnricher
from retrovue.errors import EnrichmentError, RequestError
from retrovue.simulator import ListSection, SimulatedPlex, movie

pytestmark = pytest.mark.anyio


def view(*files: Path | str, type: str = "movie", **values: Any) -> AssetView:  # noqa: A002 - the field's name
    paths = tuple(MediaFile(str(file)) for file in files)
    return AssetView(**{"source_uri": "s", "title": "T", "type": type, "files": paths, **values})


async def ask(enricher: BaseEnricher, *assets: AssetView) -> list[Enrichment | Failure]:
    async with enricher:
        return list(await enricher.enrich(assets))


async def one(enricher: BaseEnricher, asset: AssetView) -> Enrichment:
    (answer,) = await ask(enricher, asset)
    assert isinstance(answer, Enrichment), answer
    return answer


def failures(answers: Sequence[Enrichment | Failure]) -> list[str | None]:
    return [answer.code if isinstance(answer, Failure) else None for answer in answers]


class TestProbe:
    async def test_what_it_finds(self, tmp_path: Path) -> None:
        found = await one(ProbeEnricher({"program": "pyav"}), view(make_media(tmp_path / "a.mkv")))
        fields = found.fields
        assert 950 < fields["runtime_ms"] < 1100
        assert (fields["video_codec"], fields["audio_codec"], fields["audio_channels"]) == ("mpeg4", "aac", 2)
        assert (fields["width"], fields["height"], fields["container"]) == (64, 48, "matroska")
        assert [stream["type"] for stream in fields["streams"]] == ["video", "audio"]
        assert fields["streams"][1]["language"] == "eng"
        assert fields["chapters"] == [{"title": "One", "start_ms": 0, "end_ms": 500}]

    async def test_a_file_that_has_not_changed_is_left_alone(self, tmp_path: Path) -> None:
        enricher = ProbeEnricher({"program": "pyav"})
        file = make_media(tmp_path / "a.mkv")
        first = await one(enricher, view(file))
        assert (await one(enricher, view(file, fingerprint=first.fingerprint))).unchanged
        os.utime(file, ns=(1, 1))
        assert not (await one(enricher, view(file, fingerprint=first.fingerprint))).unchanged

    async def test_parts_are_added_up(self, tmp_path: Path) -> None:
        parts = [make_media(tmp_path / f"{number}.mkv") for number in range(2)]
        fields = (await one(ProbeEnricher({"program": "pyav"}), view(*parts))).fields
        assert 1900 < fields["runtime_ms"] < 2200
        assert [chapter["start_ms"] for chapter in fields["chapters"]] == [0, fields["runtime_ms"] // 2]

    async def test_bad_files_cost_only_themselves(self, tmp_path: Path) -> None:
        good = make_media(tmp_path / "good.mkv")
        bad = tmp_path / "bad.mkv"
        bad.write_bytes(b"not a film")
        answers = await ask(ProbeEnricher({"program": "pyav"}), view(bad), view(good), view(tmp_path / "none"))
        assert failures(answers) == ["not_media", None, "no_file"]

    @pytest.mark.fault(66)
    async def test_a_crash_costs_only_its_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        worker = tmp_path / "worker.py"
        worker.write_text(
            "import os, sys, time\n"
            'FOUND = \'{"duration_ms": 1, "bitrate": 1, "format": "f", "streams": [], "chapters": []}\'\n'
            "for line in sys.stdin:\n"
            "    name = os.path.basename(line).strip('\\n\"')\n"
            "    if name == 'crash': os.kill(os.getpid(), 11)\n"
            "    if name == 'hang': time.sleep(60)\n"
            "    if name == 'much': sys.stdout.write('x' * 2_000_000 + chr(10)); sys.stdout.flush(); continue\n"
            "    print(FOUND, flush=True)\n"
        )
        monkeypatch.setattr("retrovue.enrichers.probe._WORKER", (sys.executable, str(worker)))
        files = [tmp_path / name for name in ("a", "crash", "b", "hang", "much", "c")]
        for file in files:
            file.touch()
        enricher = ProbeEnricher({"program": "pyav", "file_deadline_s": "1"})
        answers = await ask(enricher, *(view(file) for file in files))
        assert failures(answers) == [None, "probe_crashed", None, "probe_timeout", "output_too_large", None]

    @pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe isn't installed")
    async def test_ffprobe_finds_the_same(self, tmp_path: Path) -> None:
        file = make_media(tmp_path / "a.mkv")
        assert await one(ProbeEnricher({"program": "ffprobe"}), view(file)) == await one(
            ProbeEnricher({"program": "pyav"}), view(file)
        )

    async def test_ffprobe_by_its_answer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "bin" / "ffprobe"
        program.parent.mkdir()
        program.write_text(
            f"#!{sys.executable}\nimport sys\n"
            "if 'bad' in sys.argv[-1]: sys.exit(1)\n"
            'print(\'{"format": {"duration": "1.5", "bit_rate": "8000", "format_name": "mov,mp4"}, "chapters": [],'
            ' "streams": [{"index": 0, "codec_type": "video", "codec_name": "h264", "width": 64, "height": 48,'
            ' "avg_frame_rate": "24000/1001", "disposition": {"default": 1}}, {"codec_type": "data"}]}\')\n'
        )
        program.chmod(0o700)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        good, bad = tmp_path / "good", tmp_path / "bad.mkv"
        good.touch()
        bad.touch()
        answers = await ask(ProbeEnricher({"program": "ffprobe"}), view(good), view(bad))
        assert failures(answers) == [None, "not_media"]
        assert isinstance(answers[0], Enrichment)
        fields = answers[0].fields
        assert (fields["runtime_ms"], fields["bitrate_kbps"], fields["container"]) == (1500, 8, "mov")
        assert fields["streams"][0]["default"] is True
        assert len(fields["streams"]) == 1

    async def test_without_any_program_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(RequestError) as refused:
            ProbeEnricher({"program": "ffprobe"})
        assert refused.value.code == "no_probe"
        assert "retrovue[probe]" in (refused.value.hint or "")

    async def test_parameters_are_checked(self) -> None:
        with pytest.raises(RequestError):
            ProbeEnricher({"program": "mediainfo"})


class TestPrograms:
    @pytest.mark.fault(66)
    async def test_a_deadline_kills_the_whole_group(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        script = (
            "import subprocess, time; p = subprocess.Popen(['sleep', '60']);"
            f" open({str(pid)!r}, 'w').write(str(p.pid)); time.sleep(60)"
        )
        with pytest.raises(EnrichmentError) as late:
            await processes.output_of([sys.executable, "-c", script], deadline_s=3, cap=100)
        assert late.value.code == "program_timeout"
        child = int(pid.read_text())
        with anyio.fail_after(10):
            while _alive(child):  # noqa: ASYNC110 - another's process gives no event
                await anyio.sleep(0.01)

    @pytest.mark.fault(75)
    async def test_no_secret_of_the_environment_is_theirs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("RETROVUE_TOKEN", "RETROVUE_DATABASE_URL", "RETROVUE_TEST_DATABASE_URL", "PGPASSWORD", "OTHER"):
            monkeypatch.setenv(name, "s3cr3t")
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        script = "import os; print(*sorted(os.environ), 's3cr3t' in str(os.environ))"
        status, printed = await processes.output_of([sys.executable, "-c", script], deadline_s=60, cap=10_000)
        assert status == 0
        assert {"LC_ALL", "PATH"} <= {*printed.decode().split()}
        assert printed.endswith(b"False\n")

    @pytest.mark.fault(75)
    async def test_the_reader_of_names_forgets_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("guessit")
        monkeypatch.setattr(os, "environ", {"RETROVUE_TOKEN": "s3cr3t", "PATH": "/bin"})
        guess([("Alien (1979).mkv", "movie")])
        assert os.environ == {"PATH": "/bin"}

    @pytest.mark.fault(67)
    async def test_the_output_is_capped(self) -> None:
        with pytest.raises(EnrichmentError) as much:
            await processes.output_of([sys.executable, "-c", "print('x' * 10_000_000)"], deadline_s=30, cap=1000)
        assert much.value.code == "output_too_large"

    async def test_status_and_output(self) -> None:
        script = [sys.executable, "-c", "import sys; print('out'); sys.exit(3)"]
        assert await processes.output_of(script, deadline_s=30, cap=1000) == (3, b"out\n")

    async def test_a_program_that_is_not_there(self) -> None:
        with pytest.raises(EnrichmentError) as missing:
            await processes.output_of(["/nonexistent/program"], deadline_s=1, cap=1)
        assert missing.value.code == "no_program"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


MOVIE = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<movie><title>Alien</title><year>1979</year><premiered>1979-05-25</premiered><runtime>117</runtime><mpaa>R</mpaa>
<studio>Brandywine</studio><rating>8.5</rating><genre>Horror / Science Fiction</genre><tag>classic</tag>
<set><name>Alien Collection</name></set><uniqueid type="imdb" default="true">tt0078748</uniqueid>
<uniqueid type="nobody">1</uniqueid><tmdbid>348</tmdbid></movie>
https://www.themoviedb.org/movie/348
"""
EPISODES = """<episodedetails><title>One</title><season>1</season><episode>1</episode><aired>2001-02-03</aired>
</episodedetails><episodedetails><title>Two</title><season>1</season><episode>2</episode></episodedetails>"""


class TestNfo:
    async def test_a_film(self, tmp_path: Path) -> None:
        (tmp_path / "movie.nfo").write_text(MOVIE)
        found = await one(NfoEnricher({}), view(tmp_path / "Alien.mkv"))
        assert found.fields["title"] == "Alien"
        assert str(found.fields["originally_aired"]) == "1979-05-25"
        assert (found.fields["runtime_ms"], found.fields["content_rating"]) == (117 * 60_000, "R")
        assert found.fields["provider_ids"] == {"imdb": "tt0078748", "tmdb": "348"}
        assert found.fields["tags"] == {
            "genre": ["Horror", "Science Fiction"], "label": ["classic"], "collection": ["Alien Collection"]
        }  # fmt: skip

    async def test_the_episode_of_a_file_with_several(self, tmp_path: Path) -> None:
        season = tmp_path / "Show" / "Season 1"
        season.mkdir(parents=True)
        (tmp_path / "Show" / "tvshow.nfo").write_text("<tvshow><title>The Show</title><mpaa>TV-14</mpaa></tvshow>")
        (season / "S01E01-E02.nfo").write_text(EPISODES)
        asset = view(season / "S01E01-E02.mkv", type="episode", season_number=1, episode_number=2)
        found = await one(NfoEnricher({}), asset)
        assert (found.fields["title"], found.fields["show_title"], found.fields["content_rating"]) == (
            "Two", "The Show", "TV-14",
        )  # fmt: skip
        foreign = view(season / "S01E01-E02.mkv", type="episode", season_number=1, episode_number=7)
        assert failures(await ask(NfoEnricher({}), foreign)) == ["nfo_of_another"]

    async def test_no_sidecar_is_no_failure(self, tmp_path: Path) -> None:
        assert (await one(NfoEnricher({}), view(tmp_path / "a.mkv"))).fields == {}

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b'<!DOCTYPE m [<!ENTITY a "b">]><movie><title>&a;</title></movie>', "nfo_forbidden"),
            (b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><movie/>', "nfo_forbidden"),
            (b"<movie><title>&a;</title></movie>", "nfo_malformed"),
            (b"<movie><title>", "nfo_malformed"),
            (b"<movie/>" + b" " * MAX_BYTES, "nfo_too_large"),
        ],
    )
    async def test_what_is_refused(self, tmp_path: Path, content: bytes, code: str) -> None:
        (tmp_path / "a.nfo").write_bytes(content)
        (tmp_path / "b.nfo").write_text(MOVIE)
        answers = await ask(NfoEnricher({}), view(tmp_path / "a.mkv"), view(tmp_path / "b.mkv"))
        assert failures(answers) == [code, None]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    async def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        declared = "iso-8859-1" if encoding == "latin-1" else encoding.removesuffix("-sig")
        text = f'<?xml version="1.0" encoding="{declared}"?><movie><title>Amélie</title></movie>'
        (tmp_path / "a.nfo").write_bytes(text.encode(encoding))
        assert (await one(NfoEnricher({}), view(tmp_path / "a.mkv"))).fields["title"] == "Amélie"


class TestFilename:
    async def test_tags_of_plex_need_no_guess(self) -> None:
        path = "/mnt/Blade Runner (1982)/Blade Runner (1982) {edition-Final Cut} {tmdb-78}.mkv"
        found = await one(FilenameEnricher({}), view(path, year=1982))
        assert found.fields == {"edition": "Final Cut", "provider_ids": {"tmdb": "78"}}

    @pytest.mark.parametrize(
        ("path", "kind", "fields"),
        [
            ("/m/Heat (1995) [tmdbid-949]/Heat.mkv", "movie", {"provider_ids": {"tmdb": "949"}}),
            ("/m/Heat (1995) [imdbid=tt0113277].mkv", "movie", {"provider_ids": {"imdb": "tt0113277"}}),
            (
                "/m/Heat {imdb-tt0113277} [tmdb=949].mkv",
                "movie",
                {"provider_ids": {"imdb": "tt0113277", "tmdb": "949"}},
            ),
            ("/m/Heat [1080p] [group].mkv", "movie", {}),
            (
                "/tv/Fleet (2003) [tvdbid-73545]/Season 1/Fleet S01E01 [tvdbid=5].mkv",
                "episode",
                {"provider_ids": {"tvdb": "5"}, "show_provider_ids": {"tvdb": "73545"}},
            ),
        ],
    )
    @pytest.mark.fault(209)
    async def test_ids_in_the_spellings_of_jellyfin_and_emby(
        self, path: str, kind: str, fields: dict[str, Any]
    ) -> None:
        known = (
            {"show_title": "Fleet", "season_number": 1, "episode_number": 1} if kind == "episode" else {"year": 1995}
        )
        found = await one(FilenameEnricher({}), view(path, type=kind, **known))
        assert found.fields == fields

    async def test_what_is_missing_is_guessed(self) -> None:
        film = view("/mnt/Alien (1979)/Alien (1979) Director's Cut.mkv")
        episode = view("/mnt/The Show/Season 2/The Show - S02E03 - A Title.mkv", type="episode")
        known = view("/mnt/Other (2000)/Other (2000).mkv", year=2000)
        answers = await ask(FilenameEnricher({}), film, episode, known)
        first, second, third = [answer.fields for answer in answers if isinstance(answer, Enrichment)]
        assert (first["title"], first["year"], first["edition"]) == ("Alien", 1979, "Director's Cut")
        assert (second["show_title"], second["season_number"], second["episode_number"]) == ("The Show", 2, 3)
        assert third == {}


def plex_source(url: str, machine: str) -> Source:
    config = {"base_url": url, "machine_identifier": machine, "base_wait_s": 0, "max_wait_s": 0}
    return Source(uuid.uuid4(), "plex-00000000", "P", "plex", config, {"token": Secret("t")})


class TestPlexDetails:
    async def test_what_it_fetches_in_one_request(self) -> None:
        rows = [movie(key, f"Film {key}") for key in (1, 2)]
        media = rows[0]["Media"][0]
        rows[0]["Chapter"] = [{"tag": "One", "startTimeOffset": 0, "endTimeOffset": 1000}]
        rows[0]["Marker"] = [{"type": "credits", "startTimeOffset": 5, "endTimeOffset": 9}]
        media["Part"][0]["Stream"] = [
            {"streamType": 1, "codec": "h264", "index": 0, "bitrate": 4000, "default": True},
            {
                "streamType": 3,
                "codec": "srt",
                "languageCode": "ger",
                "key": "/library/streams/7",
                "file": "/a.srt",
            },
        ]
        simulated = SimulatedPlex([ListSection("1", "Movies", "movie", rows)], token="t")
        async with simulated.serve() as url:
            source = plex_source(url, simulated.machine_identifier)
            uri = f"plex://{simulated.machine_identifier}/library/metadata/"
            answers = await ask(
                PlexDetailsEnricher({}, source),
                view("/a", source_uri=f"{uri}1?media={media['id']}"),
                view("/a", source_uri=f"{uri}2?media={rows[1]['Media'][0]['id']}"),
                view("/a", source_uri=f"{uri}3?media=1"),
                view("/a", source_uri=f"{uri}1?media=999999"),
                view("/a", source_uri="file:///a"),
            )
        assert failures(answers) == [None, None, "gone_from_source", "gone_from_source", "not_of_plex"]
        assert isinstance(answers[0], Enrichment)
        fields = answers[0].fields
        assert fields["chapters"] == [{"title": "One", "start_ms": 0, "end_ms": 1000}]
        assert fields["markers"] == [{"type": "credits", "start_ms": 5, "end_ms": 9}]
        assert fields["streams"] == [
            {"type": "video", "index": 0, "codec": "h264", "bitrate": 4_000_000, "default": True},
            {"type": "subtitle", "codec": "srt", "language": "ger", "external": True, "path": "/a.srt"},
        ]
        assert simulated.count("/library/metadata/*") == 1

    async def test_none_is_known_any_more(self) -> None:
        simulated = SimulatedPlex([ListSection("1", "Movies", "movie", [])], token="t")
        async with simulated.serve() as url:
            source = plex_source(url, simulated.machine_identifier)
            answers = await ask(
                PlexDetailsEnricher({}, source), view("/a", source_uri="plex://x/library/metadata/3?media=1")
            )
        assert failures(answers) == ["gone_from_source"]
