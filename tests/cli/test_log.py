"""The audit trail: which runs there were, and all that is known of one."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.cli.text import width
from retrovue.core.model import Source
from retrovue.simulator import Fault, ListSection, SimulatedPlex, faults, movie
from tests.cli.conftest import TOKEN, Cli, Plex, Serve, add, stuck

SHOWS = "/library/sections/2/all"


@pytest.mark.usefixtures("ready")
class TestLog:
    def test_latest_run_first_and_its_collections_by_name(self, run_cli: Cli, ready: Source, plex: Plex) -> None:
        bulk = run_cli.ok("source", "ingest", "My Plex")
        title = run_cli.ok("asset", "list", "--collection", "Movies", "--limit", "1")["assets"][0]["title"]
        by_hand = run_cli.ok("collection", "ingest", "Movies", "--title", title)
        plex.server.faults.add(Fault(faults.lie_about_total(1), path=SHOWS))
        broken = run_cli("source", "ingest", "My Plex", "--json").document
        document = run_cli.ok("ingest", "log")
        assert list(document) == ["status", "total", "limit", "entries"]
        entries = document["entries"]
        assert [(entry["run_id"], entry["collection"]["name"], entry["status"]) for entry in entries] == [
            (broken["run_id"], "Movies", "ingested"),
            (broken["run_id"], "TV Shows", "failed"),
            (by_hand["run_id"], "Movies", "ingested"),
            (bulk["run_id"], "Movies", "ingested"),
            (bulk["run_id"], "TV Shows", "ingested"),
        ]
        assert len({tuple(entry) for entry in entries}) == 1
        assert entries[0]["source"] == {"id": str(ready.id), "name": "My Plex"}
        assert [entry["trigger"] for entry in entries] == ["source", "source", "collection", "source", "source"]
        assert entries[2]["scope"] == {"title": title, "season": None, "episode": None}
        assert entries[1]["code"] == "incomplete_enumeration"
        assert entries[3]["created"] + entries[4]["created"] == bulk["total_created_assets"]

        movies = entries[0]["collection"]["id"]
        of_shows = run_cli.ok("ingest", "log", "--source", "My Plex", "--collection", "TV Shows")
        assert [entry["status"] for entry in of_shows["entries"]] == ["failed", "ingested"]
        assert run_cli.ok("ingest", "log", "--collection", movies)["total"] == 3
        assert run_cli.ok("ingest", "log", "--source", ready.external_id)["total"] == 5
        one = run_cli.ok("ingest", "log", "--run", by_hand["run_id"])
        assert (one["total"], one["entries"]) == (1, [entries[2]])
        short = run_cli.ok("ingest", "log", "--limit", "1")
        assert (short["total"], short["entries"]) == (5, entries[:1])

        done = run_cli("ingest", "log")
        assert (done.status, done.err) == (0, "")
        lines = done.out.splitlines()
        assert lines[0] == f"Run {broken['run_id']}"
        assert lines[1].endswith(", My Plex, in bulk")
        assert lines[2].split() == ["Dupli-", "Re-", "Failed"]
        assert lines[3].split() == ["Collection", "Status", "Created", "Known", "cates", "jected", "enrich."]
        assert lines[5].split()[:3] == ["Movies", "ingested", "0"]
        assert lines[6].split() == ["TV", "Shows", "failed", "-", "-", "-", "-", "-"]
        assert lines[7:9] == ["  TV Shows: incomplete_enumeration", ""]
        assert lines[10].endswith(f", My Plex, by hand, title {title!r}")
        assert lines[-1] == "5 of 5 entries"
        assert max(width(line) for line in lines) <= 80

        self.runs(run_cli, entries)

    @staticmethod
    def runs(run_cli: Cli, entries: list[dict[str, Any]]) -> None:
        """Of the same runs the log has a line each, with the totals of their entries."""
        document = run_cli.ok("ingest", "log", "--runs")
        assert list(document) == ["status", "total", "limit", "runs"]
        ids = list(dict.fromkeys(entry["run_id"] for entry in entries))
        assert (document["total"], [run["run_id"] for run in document["runs"]]) == (3, ids)
        for run in document["runs"]:
            of_run = [entry for entry in entries if entry["run_id"] == run["run_id"]]
            for count in ("source_items", "discovered", "created", "skipped", "rejected", "refreshed", "warnings"):
                assert run[count] == sum(entry[count] for entry in of_run), count
            assert run["started_at"] == min(entry["started_at"] for entry in of_run)
            assert run["ended_at"] == max(entry["ended_at"] for entry in of_run)
            for same in ("source", "trigger", "scope", "version", "started_by", "mode", "atomic"):
                assert {str(entry[same]) for entry in of_run} == {str(run[same])}
        broken, by_hand, bulk = document["runs"]
        assert (broken["collections"], broken["statuses"]) == (2, {"failed": 1, "ingested": 1})
        assert (bulk["collections"], bulk["statuses"]) == (2, {"ingested": 2})

        # A filter chooses runs, which stay whole.
        assert run_cli.ok("ingest", "log", "--runs", "--status", "failed")["runs"] == [broken]
        assert run_cli.ok("ingest", "log", "--runs", "--collection", "TV Shows")["runs"] == [broken, bulk]
        assert run_cli.ok("ingest", "log", "--runs", "--run", by_hand["run_id"])["runs"] == [by_hand]
        short = run_cli.ok("ingest", "log", "--runs", "--limit", "1")
        assert (short["total"], short["runs"]) == (3, [broken])
        assert run_cli("ingest", "log", "--runs", "--until", "2000-01-01").out == "No ingest matches.\n"
        unknown = run_cli("ingest", "log", "--runs", "--run", str(uuid.uuid4()), "--json")
        assert (unknown.status, unknown.document["errors"][0]["code"]) == (1, "run_not_found")

        lines = run_cli("ingest", "log", "--runs").out.splitlines()
        assert lines[0].split() == ["Re-"]
        assert lines[1].split() == ["Source", "Run", "Started", "Took", "Collections", "Created", "Known", "jected"]
        assert lines[-1] == "3 of 3 runs"
        shown = next(line for line in lines if "1 failed, 1 ingested" in line)
        assert broken["run_id"][:8] in shown

    def test_empty(self, run_cli: Cli) -> None:
        assert run_cli.ok("ingest", "log", "--runs") == {"status": "ok", "total": 0, "limit": 50, "runs": []}
        assert run_cli.ok("ingest", "log") == {"status": "ok", "total": 0, "limit": 50, "entries": []}
        assert run_cli("ingest", "log").out == "Nothing has been ingested yet.\n"

    def test_no_such_run(self, run_cli: Cli) -> None:
        for command in (["log", "--run"], ["show"]):
            done = run_cli("ingest", *command, str(uuid.uuid4()), "--json")
            assert (done.status, done.document["errors"][0]["code"]) == (1, "run_not_found")

    @pytest.mark.leaves("unended")
    def test_a_run_that_is_at_work_and_then_killed(self, run_cli: Cli, plex: Plex, portal: BlockingPortal) -> None:
        def statuses() -> list[str]:
            return [entry["status"] for entry in run_cli.ok("ingest", "log")["entries"]]

        with stuck(portal, plex, SHOWS) as arrived:
            process = run_cli.start("source", "ingest", "My Plex", "--concurrency", "1")
            assert arrived.wait(60)
            assert statuses() == ["ingested", "running"]
            process.kill()
            process.communicate()
        while statuses() == ["ingested", "running"]:
            pass  # the server has yet to notice
        assert statuses() == ["ingested", "interrupted"]
        assert "TV Shows    interrupted" in run_cli("ingest", "log").out


class TestFilters:
    @pytest.mark.usefixtures("ready")
    def test_status_and_time(self, run_cli: Cli) -> None:
        def names(*options: str) -> list[str]:
            return [entry["collection"]["name"] for entry in run_cli.ok("ingest", "log", *options)["entries"]]

        done = run_cli("ingest", "show", "latest", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "run_not_found")
        run_cli.ok("source", "ingest", "My Plex")
        [entry, _] = run_cli.ok("ingest", "log")["entries"]
        assert names("--status", "ingested") == ["Movies", "TV Shows"]
        assert names("--status", "failed") == names("--status", "running") == []
        assert run_cli("ingest", "log", "--status", "failed").out == "No ingest matches.\n"
        assert names("--since", "2000-01-01", "--until", "2999-01-01T00:00+02:00") == ["Movies", "TV Shows"]
        assert names("--since", "2999-01-01") == names("--until", "2000-01-01") == []
        assert (
            run_cli.ok("ingest", "log", "--until", entry["started_at"], "--collection", entry["collection"]["id"])[
                "total"
            ]
            == 0
        )
        assert names("--since", entry["started_at"], "--collection", entry["collection"]["id"]) == ["Movies"]
        assert run_cli.ok("ingest", "show", "latest") == run_cli.ok("ingest", "show", entry["run_id"])
        done = run_cli("ingest", "show", "last", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "run_not_found")


class TestShow:
    @pytest.fixture
    def run(self, run_cli: Cli, serve: Serve, media: Path) -> str:
        """A run that rejected more than a summary lists, and failed in another collection."""
        without = [movie(number, f"Lost {number}", Media=[]) for number in range(2, 152)]
        films = ListSection("1", "Movies", "movie", [movie(1, "One"), *without], locations=["/data/movies"])
        broken = ListSection("2", "Broken\x1b[31m", "movie", [movie(900)], locations=["/data/movies"])
        plex = SimulatedPlex([films, broken], token=TOKEN)
        plex.faults.add(Fault(faults.lie_about_total(1), path=SHOWS))
        with serve(plex) as url:
            add(run_cli, url, "My Plex")
            for key in ("1", "2"):
                run_cli.ok(
                    "collection", "update", key, "--map", f"/data/movies={media}", "--no-check-files", "--enable"
                )
            document: Any = run_cli("source", "ingest", "My Plex", "--json").document
        assert document["status"] == "partial"
        return str(document["run_id"])

    def test_everything(self, run_cli: Cli, run: str) -> None:
        document = run_cli.ok("ingest", "show", run)
        assert list(document)[:5] == ["status", "run_id", "source", "trigger", "scope"]
        assert (document["run_id"], document["trigger"]) == (run, "source")
        failed, ingested = document["collections"]
        assert list(failed) == list(ingested)
        assert (ingested["status"], ingested["created"], ingested["rejected"]) == ("ingested", 1, 150)
        assert [item["title"] for item in ingested["rejected_items"]] == [f"Lost {number}" for number in range(2, 152)]
        assert {item["code"] for item in ingested["rejected_items"]} == {"no_media"}
        assert list(ingested["durations"]) == [
            "total",
            "waiting_for_source",
            "reading",
            "enriching",
            "staging",
            "merging",
        ]
        assert ingested["ended_at"] > ingested["started_at"]
        assert (failed["status"], failed["code"]) == ("failed", "incomplete_enumeration")
        assert failed["hint"]
        assert "Traceback" in failed["traceback"]

        printed = run_cli("ingest", "show", run).out
        assert f"Run {run}\n" in printed
        assert "\n  Rejected (150):\n    Lost 2: The item has no media.\n" in printed
        assert "    Lost 151: The item has no media.\n" in printed
        assert f"\n  {failed['message']} [incomplete_enumeration]\n  {failed['hint']}\n" in printed
        assert "Durations: total " in printed
        assert "\nBroken\\x1b[31m: failed\n  Started 2" in printed
        assert "\x1b" not in printed
        assert "Traceback" not in printed
        printed = run_cli("ingest", "show", run, "--traceback").out
        assert "  Traceback:\n    Traceback (most recent call last):\n" in printed

    def test_one_collection(self, run_cli: Cli, run: str, serve: Serve) -> None:
        document = run_cli.ok("ingest", "show", run, "--collection", "Movies")
        assert [collection["collection"]["name"] for collection in document["collections"]] == ["Movies"]
        printed = run_cli("ingest", "show", run, "--collection", "2").out
        assert "Movies" not in printed
        other = SimulatedPlex([ListSection("1", "Movies", "movie", [])], token=TOKEN, machine_identifier="2" * 40)
        with serve(other) as url:
            add(run_cli, url, "Other")
        # Another source's collection of that name makes no difference: the run is of one source.
        assert run_cli.ok("ingest", "show", run, "--collection", "Movies") == document
        done = run_cli("ingest", "show", run, "--collection", "Nothing", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "collection_not_found")

    @pytest.mark.usefixtures("ready")
    def test_a_collection_that_was_not_part_of_it(self, run_cli: Cli) -> None:
        run = run_cli.ok("collection", "ingest", "Movies")["run_id"]
        done = run_cli("ingest", "show", run, "--collection", "TV Shows", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "collection_not_in_run")
