"""docs/contract/transcripts.md: each exit status and each error as an operator sees it, from real runs.

``python -m tests.contracts.transcripts`` rewrites it.
"""

import re
import shlex
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.from_thread
import orjson
from anyio.from_thread import BlockingPortal

from retrovue.cli.errors import FAILED, UNREACHABLE
from retrovue.simulator import Fault, faults, movie
from retrovue.store.embedded import embedded_server
from tests.cli.conftest import Done
from tests.conftest import Databases
from tests.contracts.rules import ROOT
from tests.support.plex import series
from tests.support.world import MOVIES, NAME, SHOWS, Catalogue, Commands, World, bare_environment, opened

DOCUMENT = ROOT / "docs" / "contract" / "transcripts.md"

INGEST = ("source", "ingest", NAME)
DISCOVER = ("source", "discover", NAME)
BY_HAND = ("collection", "ingest")


@dataclass(frozen=True)
class Scene:
    """A command, and how things stand when it is run."""

    title: str
    command: Sequence[str]
    before: Callable[[World], object] = lambda _: None


def _disable(world: World) -> None:
    for name in ("Movies", "TV Shows"):
        world.enable(name, enabled=False)


def _no_collections(world: World) -> None:
    world.catalogue.rows("DELETE FROM collection")


def _nothing_at_all(world: World) -> None:
    _no_collections(world)
    world.plex.sections.clear()


def _lose_all(world: World) -> None:
    world.lose("Movies")
    world.lose("TV Shows")


def _twins(world: World) -> None:
    columns = "name, type, config, credentials"
    for number in (1, 2):
        world.catalogue.rows(
            f"INSERT INTO source (id, external_id, {columns})"
            f" SELECT gen_random_uuid(), 'plex-0000000{number}', 'Twins', type, config, credentials FROM source LIMIT 1"
        )


def _twin_collections(world: World) -> None:
    world.catalogue.rows("UPDATE collection SET name = 'Movies' WHERE name = 'Home Videos'")


def _other_type(world: World) -> None:
    world.catalogue.rows("UPDATE source SET type = 'vhs', external_id = 'vhs-00000000'")


def _dies_in_the_middle(world: World) -> None:
    world.when(SHOWS, lambda: world.plex.faults.add(Fault(faults.disconnect())))


def _unusable(world: World) -> None:
    world.section("Movies").clear()
    world.section("Movies").add(*(movie(number, Media=None) for number in (1, 2)))


def _emptied(world: World) -> None:
    world.document()
    world.section("Movies").clear()


def _failed_once(world: World) -> None:
    world.break_listing(SHOWS)
    world.document(status=2)
    world.plex.faults.clear()


def _test_database(url: str) -> Callable[[World], None]:
    def set_up(world: World) -> None:
        world.cli.environment["RETROVUE_TEST_DATABASE_URL"] = url or world.catalogue.url

    return set_up


SCENES = (
    Scene("All collections were ingested: 0", INGEST),
    Scene("A dry-run: 0", (*INGEST, "--dry-run")),
    Scene("An enabled collection can't be ingested now: 0", INGEST, lambda world: world.lose("TV Shows")),
    Scene("The same with `--strict`: 2", (*INGEST, "--strict"), lambda world: world.lose("TV Shows")),
    Scene("Some failed: 2", INGEST, lambda world: world.break_listing(SHOWS)),
    Scene("What failed is retried: 0", (*INGEST, "--retry-failed"), _failed_once),
    Scene("Nothing to retry: 0", (*INGEST, "--retry-failed"), World.document),
    Scene("All failed: 1", INGEST, lambda world: world.break_listing(SHOWS, MOVIES)),
    Scene("The source can't be reached: 3", INGEST, lambda world: world.fault(faults.disconnect())),
    Scene("The source dies in the middle: 2", (*INGEST, "--concurrency", "1"), _dies_in_the_middle),
    Scene("The token is refused: 1", INGEST, lambda world: world.fault(faults.status(401), "/library/sections")),
    Scene("Another server answers: 1", INGEST, lambda world: setattr(world.plex, "machine_identifier", "a-stranger")),
    Scene("A library that was not empty is: 2", INGEST, _emptied),
    Scene("Nothing of a library can be used: 2", INGEST, _unusable),
    Scene("A library is gone: 2", INGEST, lambda world: world.fault(faults.status(404), SHOWS)),
    Scene("Narrowing flags: 1", (*INGEST, "--title", "The Big Bang Theory")),
    Scene("No such source: 1", ("source", "ingest", "Your Plex")),
    Scene("A name that fits several sources: 1", ("source", "ingest", "Twins"), _twins),
    Scene("No importer of that type: 1", INGEST, _other_type),
    Scene("No collections: 1", INGEST, _no_collections),
    Scene("None enabled: 1", INGEST, _disable),
    Scene("None ingestible: 1", INGEST, _lose_all),
    Scene("A usage error: 1", ("source", "ingest")),
    Scene("`--test-db` without a test database: 1", (*INGEST, "--test-db")),
    Scene("`--test-db` that is the production database: 1", (*INGEST, "--test-db"), _test_database("")),
    Scene("One title: 0", (*BY_HAND, "TV Shows", "--title", "Firefly")),
    Scene("A scope that doesn't exist: 2", (*BY_HAND, "TV Shows", "--title", "Firefly", "--season", "3")),
    Scene(
        "A title that fits several: 1",
        (*BY_HAND, "TV Shows", "--title", "Firefly"),
        lambda world: world.section("TV Shows").add(*series(3000, "Firefly", 1, 1, year=2030)),
    ),
    Scene("A collection that is not enabled: 1", (*BY_HAND, "Home Videos")),
    Scene("A collection that is not ingestible: 1", (*BY_HAND, "Movies"), lambda world: world.lose("Movies")),
    Scene("No such collection: 1", (*BY_HAND, "Films")),
    Scene("A name that fits several collections: 1", (*BY_HAND, "Movies"), _twin_collections),
    Scene("Discovery: 0", DISCOVER),
    Scene("Discovery without collections: 0", DISCOVER, _nothing_at_all),
    Scene("Discovery that fails: 3", DISCOVER, lambda world: world.fault(faults.disconnect())),
)  # fmt: skip

_COUNTS = ("created", "skipped", "duplicates", "rejected")
_LEFT_OUT = ("run_id", "duration_seconds", "hint", "context", "run", "id")


def _brief(document: dict[str, Any]) -> str:
    """Write a document with a line for each key and each item of a list, and of an item what tells it apart."""
    lines = [
        f"  {_json(key)}: {_items(key, value) if isinstance(value, list) else _json(value)}"
        for key, value in document.items()
        if key not in _LEFT_OUT and value is not False and not (key.startswith("total_") and not value)
    ]
    return "{\n" + ",\n".join(lines) + "\n}"


def _items(key: str, items: list[Any]) -> str:
    lines = [f"    {_json(_shortened(key, item) if isinstance(item, dict) else item)}" for item in items]
    return "[\n" + ",\n".join(lines) + "\n  ]" if lines else "[]"


def _shortened(key: str, item: dict[str, Any]) -> dict[str, Any]:
    match key:
        case "errors":
            named = {"collection": item["collection"]["name"]} if "collection" in item else {}
            return {"code": item["code"], "message": item["message"], **named}
        case "collection_results":
            shown = ("name", "status", *(_COUNTS if item["status"] == "ingested" else ("code",)))
        case _:
            shown = ("external_id", "name", "kind", "sync_enabled", "ingestible")
    return {name: item[name] for name in shown}


def _json(value: object) -> str:
    return orjson.dumps(value).decode().replace('":', '": ').replace(',"', ', "')


def _neutral(text: str, media: Path) -> str:
    """Replace what differs between two runs, and every path of this machine."""
    text = text.replace(str(media), "/media")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", text)
    text = re.sub(r"\bplex-(?!0000)[0-9a-f]{8}\b", "plex-5063d926", text)
    text = re.sub(r"\b\d\.\d s\b", "0.0 s", text)
    return re.sub(r"127\.0\.0\.1:\d+", "plex.example:32400", text)


def _shown(scene: Scene, human: Done, machine: Done) -> Iterator[str]:
    command = shlex.join(["retrovue", *scene.command]).replace("'", '"')
    yield f"## {scene.title}"
    yield "```console"
    yield f"$ {command}\n{human.out}{human.err}$ echo $?\n{human.status}"
    yield "```"
    yield "```json"
    yield _brief(machine.document)
    yield "```"


def transcripts(portal: BlockingPortal, databases: Databases, directory: Path) -> str:
    """Play every scene twice, for people and for programs, in a new world where the first time has changed it."""
    lines = [
        "# What an operator sees",
        "",
        "Generated by `python -m tests.contracts.transcripts` from real runs; a test holds it up to date.",
        "Standard output comes before standard error. The JSON documents are shortened: totals of 0 and what is false",
        "are left out, and of collections and errors only what tells them apart is shown.",
    ]
    for scene in SCENES:
        done: list[Done] = []
        waiting: list[tuple[str, ...]] = [(), ("--json",)]
        while waiting:
            media = directory / uuid.uuid4().hex
            media.mkdir()
            url = databases.create()
            cli = Commands(bare_environment(directory / "no-home") | {"RETROVUE_DATABASE_URL": url})
            with opened(portal, cli, Catalogue(portal, url), media) as world:
                scene.before(world)
                while waiting:
                    result = cli(*scene.command, *waiting.pop(0))
                    done.append(Done(result.status, _neutral(result.out, media), _neutral(result.err, media)))
                    if result.status not in {FAILED, UNREACHABLE}:
                        break  # the world isn't what it was
            databases.drop(url)
        assert done[0].status == done[1].status == int(scene.title.rpartition(": ")[2]), (scene, done)
        lines += ["", *_shown(scene, *done)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as scratch,
        anyio.from_thread.start_blocking_portal() as own_portal,
        own_portal.wrap_async_context_manager(embedded_server(Path(scratch) / "postgres", durable=False)) as server,
        Databases(own_portal, server, "transcripts") as own,
    ):
        DOCUMENT.write_text(transcripts(own_portal, own, Path(scratch)), encoding="utf-8")
