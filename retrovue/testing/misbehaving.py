"""Importers that misbehave, each in one way, to try out what a run makes of them.

Each offers three collections: one that is fine and comes first, ``Broken``, in whose enumeration it misbehaves, and
one that is fine and comes last. They are made like any importer, or installed by an entry point such as
``hanging = "retrovue.testing.misbehaving:Hanging"``. Once they are let go by ``retrovue.testing.let_go``, they
behave.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, cast

import anyio
import anyio.lowlevel

from retrovue.core.model import (
    AssetDraft,
    Collection,
    ConfigField,
    DiscoveredCollection,
    Ingestibility,
    Outline,
    Page,
    PartDraft,
    Scope,
    SourceIdentity,
)
from retrovue.importers.base import BaseImporter
from retrovue.testing.holding import LET_GO

FIRST = "A first one"
BROKEN = "Broken"
LAST = "Last"
DIRECTORY = "/media"
HUGE = 1_000_000


def _page(name: str) -> Page:
    parts = (PartDraft(f"{DIRECTORY}/{name}.mkv"),)
    return Page([AssetDraft(source_uri=f"sample:{name}", type="movie", title=name, parts=parts)], [], 1)


class MisbehavingImporter(BaseImporter):
    """Behaves well, but for what ``misbehave`` does before the second page of the collection ``Broken``."""

    type_name: ClassVar[str] = "misbehaving"
    paths_are_local: ClassVar[bool] = True

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """It needs none."""
        return ()

    async def check_reachable(self) -> SourceIdentity:
        """Answer."""
        return SourceIdentity(self.type_name)

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the three."""
        return [DiscoveredCollection(name, name, "movie", (DIRECTORY,)) for name in (FIRST, BROKEN, LAST)]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:  # noqa: ARG002 - all of them
        """Say yes."""
        return Ingestibility(ingestible=True)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:  # noqa: ARG002
        """Give one page of each collection, and misbehave."""
        yield _page(collection.name)
        if collection.name == BROKEN and not LET_GO.is_set():
            found = await self.misbehave()
            if found is not None:
                yield cast("Page", found)

    async def misbehave(self) -> object:
        """Do what the subclass is named for; what it returns is given as a page."""
        raise NotImplementedError


class Hanging(MisbehavingImporter):
    """Never answers, but can be cancelled."""

    async def misbehave(self) -> None:
        """Wait for ever."""
        await anyio.sleep_forever()


class Raising(MisbehavingImporter):
    """Raises what no importer should."""

    async def misbehave(self) -> object:
        """Raise."""
        raise ZeroDivisionError


class Interrupting(MisbehavingImporter):
    """Raises what means that the operator interrupts the program."""

    async def misbehave(self) -> object:
        """Raise."""
        raise KeyboardInterrupt


class WrongTypes(MisbehavingImporter):
    """Gives what isn't a page."""

    async def misbehave(self) -> object:
        """Give a dictionary."""
        return {"drafts": [], "rejected": []}


class SwallowingCancellation(MisbehavingImporter):
    """Never answers, and goes on when it is cancelled."""

    async def misbehave(self) -> object:
        """Wait, whatever happens."""
        while not LET_GO.is_set():
            try:
                await asyncio.sleep(0.01)
            except BaseException:  # noqa: BLE001, S112 - that is the point
                continue
        return None


class BlockingLoop(MisbehavingImporter):
    """Blocks the event loop that it runs in."""

    async def misbehave(self) -> object:
        """Wait without awaiting."""
        LET_GO.wait()
        return None


class Exiting(MisbehavingImporter):
    """Means to end the process."""

    async def misbehave(self) -> object:
        """Exit."""
        raise SystemExit(0)


class ExitingInBackground(MisbehavingImporter):
    """Means to end the process from a task that nobody awaits, which ends the event loop."""

    async def misbehave(self) -> None:
        """Exit, in a callback of the loop."""

        def leave() -> None:
            raise SystemExit(0)

        asyncio.get_running_loop().call_soon(leave)
        await anyio.sleep_forever()


class StrayCancellation(MisbehavingImporter):
    """Raises a cancellation that nobody asked for, which a task group takes for a good end."""

    async def misbehave(self) -> object:
        """Raise it."""
        raise asyncio.CancelledError


class HugePage(MisbehavingImporter):
    """Gives a million drafts in one page."""

    async def misbehave(self) -> object:
        """Give them."""
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
"""Each of them, and the code with which its collection fails."""
