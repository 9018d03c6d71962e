"""The source's identity is checked while the last page is staged, which counts only if nothing is asked after it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import anyio
import pytest

from retrovue.core.answers import SourceIdentity
from retrovue.core.errors import StoreUnavailable, WrongIdentity
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest.identity import IdentityCheck
from retrovue.store.session import Store
from tests.support.syncing import PlexSource, Synced

pytestmark = pytest.mark.anyio


class Importer:
    """Answers, or fails, when it is allowed to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self.is_asked, self.may_answer = anyio.Event(), anyio.Event()
        self.cancelled = False
        self.error = error

    async def check_reachable(self) -> SourceIdentity:
        self.asked += 1
        self.is_asked.set()
        try:
            await self.may_answer.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return SourceIdentity("one")


def check_of(importer: Importer) -> IdentityCheck:
    return IdentityCheck(cast("GuardedImporter", importer))


def staging(importer: Importer, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
    """Return work that ends, or fails, once the check is under way."""

    async def work() -> None:
        await importer.is_asked.wait()
        if error is not None:
            raise error
        importer.may_answer.set()

    return work


async def test_it_is_made_once_and_meanwhile() -> None:
    importer = Importer()
    check = check_of(importer)
    await check.during(staging(importer), last=True)
    await check.passed()
    assert importer.asked == 1


async def test_what_it_has_raised_is_raised_before_the_merge() -> None:
    importer = Importer(WrongIdentity("Another server answers."))
    check = check_of(importer)
    await check.during(staging(importer), last=True)
    for _ in range(2):
        with pytest.raises(WrongIdentity):
            await check.passed()
    assert importer.asked == 1


async def test_it_proves_nothing_of_what_is_asked_later() -> None:
    importer = Importer()
    check = check_of(importer)
    await check.during(staging(importer), last=True)
    another_page = list[str]()

    async def stage() -> None:
        another_page.append("staged")

    await check.during(stage, last=False)
    assert (importer.asked, another_page) == (1, ["staged"])
    await check.passed()
    assert importer.asked == 2


async def test_it_is_made_before_the_merge_otherwise() -> None:
    importer = Importer()
    importer.may_answer.set()
    await check_of(importer).passed()
    assert importer.asked == 1


async def test_it_ends_with_the_work_that_fails() -> None:
    importer = Importer()
    check = check_of(importer)
    error = StoreUnavailable("The disk is full.")
    with pytest.raises(StoreUnavailable) as raised:
        await check.during(staging(importer, error), last=True)
    assert raised.value is error
    assert importer.cancelled
    importer.may_answer.set()
    await check.passed()
    assert importer.asked == 2


@pytest.mark.parametrize("atomic", [False, True])
async def test_a_unit_of_work_is_checked_once(shared_store: Store, tmp_path: Path, atomic: bool) -> None:
    """The one check before its merge is behind the last request of all collections."""
    changing = PlexSource(tmp_path)
    for number in range(3):
        changing.add(number)
    async with changing.serve():
        synced = await Synced.make(shared_store, changing)
        await synced.ingest(atomic=atomic)
        asked = [request.path for request in changing.plex.requests]
    listed = max(number for number, path in enumerate(asked) if path.endswith("/all"))
    assert asked[listed + 1 :].count("/identity") == 1


async def test_a_cancellation_ends_both() -> None:
    importer = Importer()
    with anyio.CancelScope() as scope:

        async def work() -> None:
            await importer.is_asked.wait()
            scope.cancel()
            await anyio.sleep_forever()

        await check_of(importer).during(work, last=True)
    assert scope.cancelled_caught
    assert importer.cancelled
