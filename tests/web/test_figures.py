"""The counts of the overview: counted once for all who look, and kept for a while."""

import anyio
import pytest

from retrovue.store.session import Store
from retrovue.web import figures
from retrovue.web.figures import Counting
from tests.support.library import Library, draft, page

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("scripted")
async def test_they_are_counted_once_and_anew_when_something_was_changed(shared_store: Store) -> None:
    library = await Library.make(shared_store, "Movies")
    async with anyio.create_task_group() as group:
        counting = Counting(shared_store, group)
        assert await counting.figures(0) is None
        first = await counting.figures(60)
        assert first is not None
        assert first.states == {"new": 0, "enriching": 0, "ready": 0, "retired": 0}
        await library.ingest_one(page(draft("A"), draft("B")))
        assert await counting.figures(60) is first
        counting.forget()
        second = await counting.figures(60)
        assert second is not None
        assert (second.states["new"], second.sources[0].assets_count) == (2, 2)


async def test_however_many_look_at_once_one_counting_is_enough(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = 0

    async def count(*_: object) -> list[object]:
        nonlocal counted
        counted += 1
        return []

    monkeypatch.setattr(figures, "list_sources", count)
    async with anyio.create_task_group() as group:
        counting = Counting(shared_store, group)
        async with anyio.create_task_group() as looking:
            for _ in range(20):
                looking.start_soon(counting.figures, 60)
    assert counted == 1
