"""What an interrupted run has kept, as commands show it and drop it."""

from collections.abc import Iterator
from typing import Any

import pytest

from retrovue.importers.http.library import HttpLibrary
from retrovue.simulator import faults
from retrovue.store import kept
from tests.support.world import MOVIES, World, named


@pytest.fixture
def interrupted(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The films were read up to the fourth of five, then the server failed."""
    monkeypatch.setattr(HttpLibrary, "bookmarks_from", 1)
    monkeypatch.setattr(kept, "BUFFERED_BYTES", 1)
    world.catalogue.rows("UPDATE source SET config = config || '{\"page_size\": 2}'")
    world.enable("TV Shows", enabled=False)
    world.fault(
        faults.status(503), lambda request: request.path == MOVIES and ("X-Plex-Container-Start", "3") in request.params
    )
    world.document(status=3)
    world.plex.faults.clear()
    world.plex.reset_counters()
    yield world
    world.catalogue.rows("DELETE FROM kept_listing")
    assert tables(world) == 0


def tables(world: World) -> int:
    """How many tables of pages there are."""
    return int(world.catalogue.value("SELECT count(*) FROM pg_class WHERE relname ~ '^kept_page_[0-9]+$'"))


def findings(world: World) -> list[dict[str, Any]]:
    """What the doctor finds of it."""
    found = world.cli("doctor", "--json").document["findings"]
    return [one for one in found if "interrupted run" in one["message"]]


def test_the_next_run_says_what_it_read(interrupted: World) -> None:
    done = interrupted.ingest()
    assert done.status == 0
    assert "Movies: 4 items had been read by an interrupted run, 1 were read now\n" in done.out
    assert tables(interrupted) == 0


def test_documents_and_the_audit_trail_count_it(interrupted: World) -> None:
    document = interrupted.document()
    assert (named(document)["Movies"]["resumed"], document["total_resumed"]) == (4, 4)
    shown = interrupted.cli.ok("ingest", "show", document["run_id"])["collections"]
    assert [one["resumed"] for one in shown] == [4]
    # Its first and its last kept window again, the rest, and one row beyond a full last page.
    assert [request.start for request in interrupted.asked(MOVIES)] == [0, 2, 3, 5]


def test_the_doctor_tells_of_it(interrupted: World) -> None:
    (found,) = findings(interrupted)
    assert (found["verdict"], found["subject"]) == ("ok", "Movies of My Plex")
    assert "it goes on: `retrovue source ingest 'My Plex'`" in found["hint"]
    interrupted.catalogue.rows("UPDATE kept_listing SET began_at = began_at - interval '25 hours'")
    (found,) = findings(interrupted)
    assert found["verdict"] == "warning"
    interrupted.document()
    assert findings(interrupted) == []


@pytest.mark.parametrize(
    ("age", "span", "pruned"), [("0 hours", "90d", 0), ("0 hours", "0d", 1), ("25 hours", "90d", 1)]
)
def test_prune_drops_it(interrupted: World, age: str, span: str, pruned: int) -> None:
    interrupted.catalogue.rows(f"UPDATE kept_listing SET began_at = began_at - interval '{age}'")
    prune = ("ingest", "prune", "--older-than", span)
    assert interrupted.cli.ok(*prune, "--dry-run")["kept_listings"] == pruned
    assert tables(interrupted) == 1
    done = interrupted.cli(*prune, "--yes")
    assert done.status == 0
    assert ("  the kept listings of 1 collections\n" in done.out) == bool(pruned)
    assert tables(interrupted) == 1 - pruned


@pytest.mark.parametrize("words", [("collection", "wipe", "Movies"), ("source", "delete", "My Plex")], ids=" ".join)
def test_it_goes_with_its_collection(interrupted: World, words: tuple[str, ...]) -> None:
    assert tables(interrupted) == 1
    assert interrupted.cli(*words, "--yes").status == 0
    assert tables(interrupted) == 0


def test_it_goes_when_all_collections_are_truncated(interrupted: World) -> None:
    interrupted.catalogue.rows("TRUNCATE source CASCADE")
    assert tables(interrupted) == 0
