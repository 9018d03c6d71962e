"""Importers that misbehave, each in one way, to see how a run survives them.

Each offers three collections. It misbehaves while the second, ``Broken``, is enumerated; the others are fine. They are
made like any importer, or installed by an entry point such as ``hanging = "retrovue.testing.misbehaving:Hanging"``.
After ``retrovue.testing.let_go()`` they behave.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, cast

import anyio
import anyio.lowlevel

from retrovue.core.answers import DiscoveredCollection, Ingestibility, SourceIdentity
from retrovue.core.model import Collection, ConfigField
from retrovue.core.pages import AssetDraft, Outline, Page, PartDraft
from retrovue.core.runs import Scope
from retrovue.importers.base import BaseImporter

LET_GO = threading.Event()
"""Once it is set, all importers and enrichers that misbehave stop doing so; what hangs or blocks waits for it."""
FIRST = "A first one"
BROKEN = "Broken"
LAST = "Last"
DIRECTORY = "/media"
HUGE = 1_000_000


def let_go() -> None:
    """Release what hangs, blocks or refuses to be cancelled; importers and enrichers behave from now on."""
    LET_GO.set()


def hold_again() -> None:
    """Let importers and enrichers misbehave again."""
    LET_GO.clear()


async def hang(*_: object) -> None:
    """Never return, but accept a cancellation."""
    await anyio.sleep_forever()


async def fail(*_: object) -> None:
    """Raise what no plugin should raise."""
    raise ZeroDivisionError


async def interrupt(*_: object) -> None:
    """Raise what means that the operator interrupts the program."""
    raise KeyboardInterrupt


async def swallow_cancellation(*_: object) -> None:
    """Never return, and go on when cancelled."""
    while not LET_GO.is_set():
        try:
            await asyncio.sleep(0.01)
        except BaseException:  # noqa: BLE001, S112 - that is the point
            continue


async def block(*_: object) -> None:
    """Block the event loop."""
    LET_GO.wait()


async def leave(*_: object) -> None:
    """Try to end the process."""
    raise SystemExit(0)


async def leave_in_background(*_: object) -> None:
    """Try to end the process from a callback, which ends the event loop."""

    def leave() -> None:
        raise SystemExit(0)

    asyncio.get_running_loop().call_soon(leave)
    await anyio.sleep_forever()


async def cancel(*_: object) -> None:
    """Raise a cancellation that nobody asked for, which a task group takes for a normal end."""
    raise asyncio.CancelledError


def _page(name: str) -> Page:
    parts = (PartDraft(f"{DIRECTORY}/{name}.mkv"),)
    return Page([AssetDraft(source_uri=f"sample:{name}", type="movie", title=name, parts=parts)], [], 1)


class MisbehavingImporter(BaseImporter):
    """Calls ``misbehave`` before the second page of the collection ``Broken``, and behaves otherwise."""

    type_name: ClassVar[str] = "misbehaving"
    paths_are_local: ClassVar[bool] = True

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Take no settings."""
        return ()

    async def check_reachable(self) -> SourceIdentity:
        """Return the type as the identity."""
        return SourceIdentity(self.type_name)

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the three collections."""
        return [DiscoveredCollection(name, name, "movie", (DIRECTORY,)) for name in (FIRST, BROKEN, LAST)]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:  # noqa: ARG002 - all of them
        """Accept every collection."""
        return Ingestibility(ingestible=True)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:  # noqa: ARG002
        """Generate a page of each collection, and misbehave."""
        yield _page(collection.name)
        if collection.name == BROKEN and not LET_GO.is_set():
            answer = await self.misbehave()
            if answer is not None:
                yield cast("Page", answer)

    async def misbehave(self) -> object:
        """Misbehave as the subclass does; what is returned is given as a page, unless it is None."""
        raise NotImplementedError


class Hanging(MisbehavingImporter):
    """Never answers, but accepts a cancellation."""

    misbehave = hang


class Raising(MisbehavingImporter):
    """Raises what no importer should raise."""

    misbehave = fail


class Interrupting(MisbehavingImporter):
    """Raises KeyboardInterrupt."""

    misbehave = interrupt


class WrongTypes(MisbehavingImporter):
    """Gives a dictionary as a page."""

    async def misbehave(self) -> object:
        """Return it."""
        return {"drafts": [], "rejected": []}


class SwallowingCancellation(MisbehavingImporter):
    """Never answers, and goes on when cancelled."""

    misbehave = swallow_cancellation


class BlockingLoop(MisbehavingImporter):
    """Blocks its event loop."""

    misbehave = block


class Exiting(MisbehavingImporter):
    """Raises SystemExit."""

    misbehave = leave


class ExitingInBackground(MisbehavingImporter):
    """Raises SystemExit in a callback, which ends its event loop."""

    misbehave = leave_in_background


class StrayCancellation(MisbehavingImporter):
    """Raises a cancellation that nobody asked for."""

    misbehave = cancel


class HugePage(MisbehavingImporter):
    """Gives a million drafts in one page."""

    async def misbehave(self) -> object:
        """Return the page."""
        await anyio.lowlevel.checkpoint()
        return Page(_page("huge").drafts * HUGE, [], HUGE)


MISBEHAVING: dict[type[MisbehavingImporter], str] = {
    Hanging: "importer_timeout",
    Raising: "importer_failed",
    Interrupting: "importer_failed",
    WrongTypes: "importer_failed",
    SwallowingCancellation: "importer_timeout",
    BlockingLoop: "importer_blocks",
    Exiting: "importer_failed",
    ExitingInBackground: "importer_failed",
    StrayCancellation: "importer_failed",
    HugePage: "importer_failed",
}
"""Each of these importers, and the code with which its collection fails."""
