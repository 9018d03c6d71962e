"""Answers of a Plex server that must not change a row: the whole database is compared before and after."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from retrovue.simulator import faults
from tests.support.world import AUDIT, MOVIES, World, fates

SECTIONS = "/library/sections"
IDENTITY = "/identity"


@dataclass(frozen=True)
class Shape:
    """An answer, where it comes, and what is said of the movies."""

    name: str
    action: faults.Action | Callable[[World], object]
    code: str
    path: str = MOVIES
    marks: bool = False
    """Whether the collection's own row says afterwards that it can't be ingested now."""


def _without_movies(container: dict[str, Any]) -> dict[str, Any]:
    """What a token gets that may not see the movies."""
    rows = [row for row in container["Directory"] if row["title"] != "Movies"]
    return container | {"Directory": rows, "size": len(rows)}


def _json(body: bytes) -> faults.Action:
    return faults.status(200, body, {"Content-Type": "application/json"})


SHAPES = [
    Shape("empty", faults.empty(), "suspicious_empty"),
    Shape("empty body", faults.transform(lambda _: b""), "truncated_answer"),
    Shape("null", _json(b"null"), "truncated_answer"),
    Shape("no container", faults.no_container(), "no_container"),
    Shape("empty container", faults.no_container({"MediaContainer": {}}), "no_container"),
    Shape("container of a wrong type", faults.no_container({"MediaContainer": []}), "no_container"),
    Shape(
        "rows of a wrong type", faults.no_container({"MediaContainer": {"size": 1, "Metadata": "x"}}), "no_container"
    ),
    Shape("no rows, but a size", faults.no_container({"MediaContainer": {"size": 5}}), "incomplete_enumeration"),
    Shape("web page", faults.html_page(), "not_plex"),
    Shape("XML", faults.status(200, b'<?xml version="1.0"?><MediaContainer size="0"/>'), "malformed_answer"),
    Shape("cut off", faults.truncate(300), "source_unreachable"),
    Shape("cut off without length", faults.truncate(300, framing="close"), "truncated_answer"),
    Shape("cut off gzip", faults.truncated_gzip(), "truncated_answer"),
    Shape("broken off inside", faults.invalid_json(), "truncated_answer"),
    Shape("no JSON", faults.transform(lambda body: body.replace(b":", b";", 5)), "bad_json"),
    Shape("shrunk, with the old total", faults.short_page(2), "incomplete_enumeration"),
    Shape("a total too large", faults.lie_about_total(1), "incomplete_enumeration"),
    Shape("a total too small", faults.lie_about_total(-1), "incomplete_enumeration"),
    Shape("one item twice", faults.duplicate_rows(), "incomplete_enumeration"),
    Shape("rows many times over", faults.giant_page(3), "incomplete_enumeration"),
    Shape("gone", faults.status(404), "gone_from_source"),
    Shape("refused", faults.status(401), "auth"),
    Shape("server error", faults.status(500), "source_unreachable"),
    Shape("maintenance", faults.maintenance(), "source_unreachable"),
    Shape(
        "another server", lambda world: setattr(world.plex, "machine_identifier", "f" * 40), "wrong_identity", IDENTITY
    ),
    Shape("deep nesting", _json(b'{"MediaContainer":{"size":1,"x":' + b"[" * 5000 + b"}"), "bad_json"),
    # The last one, as the next run would write that the movies can be ingested again.
    Shape(
        "restricted token", faults.Action(label="restricted", alter=_without_movies), "gone_from_source", SECTIONS, True
    ),
]


def _stored(world: World) -> dict[str, Any]:
    """All rows of all tables to the byte, but what says that and how it failed."""
    found = world.catalogue.bytes()
    return {name: rows for name, rows in found.items() if name not in AUDIT}


@contextmanager
def _giving(world: World, shape: Shape) -> Iterator[None]:
    """Let the server answer so until the block ends."""
    identifier = world.plex.machine_identifier
    if isinstance(shape.action, faults.Action):
        world.fault(shape.action, shape.path)
    else:
        shape.action(world)
    yield
    world.plex.faults.clear()
    world.plex.machine_identifier = identifier


@pytest.mark.fault(1, 2, 4, 5, 7, 12, 14, 21, 22, 23)
@pytest.mark.long
def test_no_row_changes(world: World) -> None:
    """One after the other, on the same catalogue: what none of them may change."""
    world.document()
    world.enable("TV Shows", enabled=False)
    for shape in SHAPES:
        before = _stored(world)
        with _giving(world, shape):
            done = world.ingest("--json")
        assert done.status in {1, 3}, (shape.name, done)
        document = done.document
        said = {error["code"] for error in document["errors"]} | set(fates(document).values())
        assert shape.code in said or shape.code in done.out, (shape.name, done)
        assert (shape.name, document["total_created_assets"]) == (shape.name, 0)
        after = _stored(world)
        if shape.marks:
            assert world.catalogue.value("SELECT ingestible FROM collection WHERE name = 'Movies'") is False
            del after["collection"]
        changed = {name: rows for name, rows in after.items() if rows != before[name]}
        assert (shape.name, changed) == (shape.name, {})
    again = world.document()
    assert (again["status"], again["total_created_assets"], again["total_skipped_assets"]) == ("ok", 0, 3)


def test_there_are_twenty() -> None:
    assert len({shape.name for shape in SHAPES}) >= 20
