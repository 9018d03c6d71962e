"""``--jsonl`` and ``--quiet``, and the line that a watcher sees."""

import os
import pty
import re
import signal
import sys
import threading
import uuid
from contextlib import suppress
from typing import Any

import orjson
import pytest
from anyio.from_thread import BlockingPortal
from msgspec.structs import replace

from retrovue.cli.output import Output
from retrovue.cli.progress import Progress as Shown
from retrovue.cli.progress import RunProgress, seconds_left
from retrovue.core.model import Collection
from retrovue.ingest.events import CollectionStarted, Enriching, Progress, RunStarted
from retrovue.simulator import Fault, faults
from tests.cli.conftest import Cli, Done, Plex, stuck
from tests.cli.test_documents import SOURCE, collection
from tests.support.human_output import shown

INGEST = ("source", "ingest", "My Plex")
KINDS = {"started", "collection_started", "progress", "outcome", "summary"}
"""Those of an ingest without enrichers."""


def events(done: Done) -> list[Any]:
    return [orjson.loads(line) for line in done.out.splitlines()]


def without_times(document: Any) -> Any:
    if isinstance(document, dict):
        left_out = {"type", "durations", "duration_seconds", "run_id"}
        return {key: without_times(value) for key, value in document.items() if key not in left_out}
    return [without_times(one) for one in document] if isinstance(document, list) else document


@pytest.mark.usefixtures("ready")
class TestEvents:
    def test_started_then_progress_and_outcomes_then_the_summary(self, run_cli: Cli) -> None:
        done = run_cli(*INGEST, "--jsonl")
        assert (done.status, done.err) == (0, "")
        started, *between, summary = events(done)
        assert list(started) == ["type", "run_id", "source", "collections", "items_expected"]
        assert (started["type"], summary["type"]) == ("started", "summary")
        assert started["items_expected"] is None
        assert {one["type"] for one in between} == KINDS - {"started", "summary"}
        outcomes = [one for one in between if one["type"] == "outcome"]
        assert {one["name"]: one["status"] for one in outcomes} == {
            "Home Videos": "skipped", "Movies": "ingested", "TV Shows": "ingested"
        }  # fmt: skip
        told = {one["name"]: one for one in summary["collection_results"]}
        source = {key: started["source"][key] for key in ("id", "name")}
        assert all({**told[one["name"]], "type": "outcome", "source": source} == one for one in outcomes)
        read = [one["run"]["items"] for one in between if one["type"] == "progress"]
        assert read == sorted(read)
        assert 0 < read[-1] <= summary["total_source_items"] + summary["total_discovered"]

    def test_enrichment_is_told_after_the_outcome(self, run_cli: Cli) -> None:
        run_cli.ok("enricher", "add", "--type", "nfo", "--name", "Sidecars")
        run_cli.ok("collection", "attach-enricher", "Movies", "Sidecars")
        _, *told, summary = events(run_cli(*INGEST, "--jsonl"))
        movies = [one for one in told if "Movies" in (one.get("name"), one.get("collection", {}).get("name"))]
        kinds = [one["type"] for one in movies]
        assert kinds.index("enriching") > kinds.index("outcome")
        last = movies[-1]
        assert (last["type"], last["ended"]) == ("enriching", True)
        assert last["total"] == last["succeeded"] + last["failed"] > 0
        assert last["failed"] == summary["total_failed_enrichments"]

    def test_the_summary_is_what_json_prints(self, run_cli: Cli) -> None:
        run_cli.ok(*INGEST)
        summary = events(run_cli(*INGEST, "--jsonl"))[-1]
        document = run_cli.ok(*INGEST)
        assert list(summary) == ["type", *document]
        assert without_times(summary) == without_times(document)

    def test_the_second_time_it_is_known_how_much_there_is(self, run_cli: Cli) -> None:
        total = run_cli.ok(*INGEST)["total_created_assets"]
        assert events(run_cli(*INGEST, "--jsonl"))[0]["items_expected"] == total

    def test_the_source_says_how_much_there_is(self, run_cli: Cli) -> None:
        for _ in ("in full", "in short form"):
            *_, summary = told = events(run_cli(*INGEST, "--jsonl"))
            items = {one["name"]: one["source_items"] for one in summary["collection_results"]}
            read = [one for one in told if one["type"] == "progress"]
            assert read
            assert [one["source_total"] for one in read] == [items[one["collection"]["name"]] for one in read]
            assert read[-1]["run"]["items_expected"] in {None, summary["total_source_items"]}
            assert read[-1]["seconds_left"] is not None

    def test_a_failure_is_an_outcome(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.faults.add(Fault(faults.lie_about_total(3), path="/library/sections/2/all"))
        done = run_cli(*INGEST, "--jsonl")
        (broken,) = [one for one in events(done) if one["type"] == "outcome" and one["status"] == "failed"]
        assert (done.status, broken["name"], broken["hint"] is None) == (2, "TV Shows", False)

    @pytest.mark.parametrize("arguments", [(*INGEST, "--title", "X"), ("source", "ingest", "No such"), INGEST[:2]])
    def test_an_error_is_the_only_event(self, run_cli: Cli, arguments: tuple[str, ...]) -> None:
        done = run_cli(*arguments, "--jsonl")
        (summary,) = events(done)
        assert (done.status, summary["type"], summary["status"]) == (1, "summary", "error")

    def test_by_hand(self, run_cli: Cli) -> None:
        done = run_cli("collection", "ingest", "Movies", "--jsonl")
        told = events(done)
        assert (done.status, told[0]["type"], told[-1]["type"]) == (0, "started", "summary")
        assert told[-1]["collection"]["name"] == "Movies"

    def test_events_come_as_they_happen_and_an_interruption_ends_them(
        self, run_cli: Cli, plex: Plex, portal: BlockingPortal
    ) -> None:
        with stuck(portal, plex, "/library/sections/2/all") as arrived:
            process = run_cli.start(*INGEST, "--jsonl")
            lines: list[Any] = []
            while not any(one.get("status") == "ingested" for one in lines):
                lines.append(orjson.loads(process.read_line()))
            assert arrived.wait(30)
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=30)
        lines += [orjson.loads(line) for line in rest.splitlines()]
        assert process.returncode == 130
        assert [one["type"] for one in lines].count("summary") == 1
        assert (lines[-1]["type"], lines[-1]["status"]) == ("summary", "partial")
        assert {one["type"] for one in lines} <= KINDS

    def test_a_value_is_no_option(self, run_cli: Cli) -> None:
        done = run_cli("collection", "list", "--source", "--jsonl")
        assert (done.status, done.out) == (1, "")


@pytest.mark.usefixtures("ready")
class TestQuiet:
    def test_nothing_is_said(self, run_cli: Cli) -> None:
        done = run_cli(*INGEST, "--quiet")
        assert (done.status, done.out, done.err) == (0, "", "")

    def test_an_error_is(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.faults.add(Fault(faults.lie_about_total(3), path="/library/sections/2/all"))
        done = run_cli(*INGEST, "--quiet")
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith("Error: 1 of 2 collections failed; the first: ")
        assert len(done.err.splitlines()) == 1

    def test_a_warning_is_not(self, run_cli: Cli) -> None:
        run_cli.ok("collection", "update", "TV Shows", "--map", "/data/tv=/nowhere-at-all", "--map", "/data=/nowhere")
        assert "Warning: " in run_cli(*INGEST).err
        done = run_cli(*INGEST, "--quiet")
        assert (done.status, done.err) == (0, "")

    def test_json_is_data(self, run_cli: Cli) -> None:
        assert run_cli(*INGEST, "--quiet", "--json").document["status"] == "ok"

    def test_a_value_is_no_option(self, run_cli: Cli) -> None:
        assert run_cli("collection", "show", "--", "--quiet").err != ""


@pytest.mark.usefixtures("ready")
class TestWatched:
    def watch(self, cli: Cli, *more: str, **environment: str) -> tuple[str, str]:
        """Run an ingest with the standard error on a terminal; returns both outputs."""
        terminal, its_end = pty.openpty()
        process = cli.start(*INGEST, *more, stderr=its_end, env=cli.environment | environment)
        os.close(its_end)
        seen: list[bytes] = []

        def read() -> None:
            with suppress(OSError):  # that is how a terminal ends that nobody uses any more
                while piece := os.read(terminal, 10_000):
                    seen.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        out, _ = process.communicate(timeout=60)
        reader.join()
        os.close(terminal)
        assert process.returncode == 0
        return out.decode(), b"".join(seen).decode()

    def test_a_person_sees_how_far_it_is(self, run_cli: Cli) -> None:
        out, seen = self.watch(run_cli, TERM="xterm-256color")
        assert out.endswith("2 collections processed (2 success, 0 failed)\n")
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
        assert text.startswith("asking the source ")
        assert re.search(r"2/2 collections \S+ ([0-9]+) of \1 items [0-9,]+/s 0:[0-9:]+", text), text

    @pytest.mark.parametrize("options", [("--quiet",), ("--jsonl",)])
    def test_only_who_wants_to(self, run_cli: Cli, options: tuple[str, ...]) -> None:
        assert self.watch(run_cli, *options, TERM="xterm-256color")[1] == ""

    def test_not_on_a_dumb_terminal(self, run_cli: Cli) -> None:
        assert self.watch(run_cli, TERM="dumb")[1] == ""


class TestEstimates:
    def expected(self, *collections: Collection) -> int | None:
        return RunStarted(uuid.uuid4(), SOURCE, collections).items_expected

    def test_as_many_as_last_time(self) -> None:
        known = [replace(collection("A"), assets_count=3), replace(collection("B"), assets_count=4)]
        assert self.expected(*known) == 7
        assert self.expected(*known, collection("C")) is None
        assert self.expected() is None

    def test_what_a_source_says_goes_before_what_the_catalogue_holds(self) -> None:
        known, fresh = replace(collection("A"), assets_count=3), collection("B")
        run = RunProgress([known, fresh])
        assert (run.items, run.expected) == (0, None)
        run.read(Progress(known, 2, 2, 0, 1.0, 10))
        run.read(Progress(fresh, 5, 5, 0, 1.0, 20))
        assert (run.items, run.expected) == (7, 30)
        run.finish(known)
        assert (run.items, run.expected, run.finished, run.collections) == (7, 22, 1, 2)

    @pytest.mark.parametrize(
        ("items", "total", "left"), [(25, 100, 6.0), (100, 100, 0.0), (101, 100, None), (5, None, None), (0, 100, None)]
    )
    def test_time_left_of_a_collection(self, items: int, total: int | None, left: float | None) -> None:
        assert Progress(collection("A"), items, items, 0, 2.0, total).seconds_left == left

    def test_a_terminal_shows_merges_and_enrichments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        movies = collection("Movies")

        def write() -> None:
            monkeypatch.setattr(sys, "stderr", sys.stdout)
            with Shown(Output(as_json=False)) as progress:
                progress.show(RunStarted(uuid.uuid4(), SOURCE, (movies,)))
                progress.show(CollectionStarted(movies))
                progress.show(Progress(movies, 100, 100, 0, 2.0, 100, "merging"))
                progress.show(Enriching(collection("Series"), 1_200, 34, 5_000, 2.0))

        said = shown("plain", write, columns=120)
        assert re.search(r"Movies .*100 of 100 items.*merging", said)
        assert re.search(r"Series .*1,234 of 5,000 enriched.*617/s.*about 0:06 left", said)

    def test_a_terminal_shows_an_enrichment_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def write() -> None:
            monkeypatch.setattr(sys, "stderr", sys.stdout)
            with Shown(Output(as_json=False), of_run=False) as progress:
                progress.show(Enriching(collection("Series"), 1_200, 34, 5_000, 2.0))
                progress.show(Enriching(collection("Series"), 1_200, 34, 5_000, 2.0, ended=True))

        said = shown("plain", write, columns=120)
        assert re.search(r"Series .*1,234 of 5,000 enriched.*617/s.*about 0:06 left", said)
        assert "asking the source" not in said

    def test_time_left(self) -> None:
        assert seconds_left(25, 100, 5.0) == 15.0
        assert seconds_left(100, 100, 5.0) == 0.0
        assert seconds_left(101, 100, 5.0) is None
        assert seconds_left(5, None, 5.0) is None
        assert seconds_left(0, 100, 0.0) is None
