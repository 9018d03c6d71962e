"""The temporary tables of a connection: few rows are deleted, and many are truncated."""

from itertools import pairwise

import pytest

from retrovue.store import temporary
from retrovue.store.session import Store
from retrovue.store.statements import Session, text
from retrovue.store.temporary import StagingTables

pytestmark = pytest.mark.anyio

_FORTY = text("INSERT INTO plan SELECT number, 'created' FROM generate_series(1, 40) AS number")

_BYTES_OF_PLAN = text("SELECT pg_relation_size('plan')")


async def test_deleted_rows_are_bounded(shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "MOST_DEAD", 100)
    tables = StagingTables(refinements=False, syncing=False)
    files: list[int] = []
    async with shared_store.session() as session:
        for _ in range(6):
            async with shared_store.transaction(session):
                await tables.make(session)
                await session.execute(_FORTY)
                await _empty(tables, session, staged=40)
                assert (await session.execute(text("SELECT count(*) FROM plan"))).scalar_one() == 0
                found = await session.execute(text("SELECT cast(pg_relation_filenode('plan') AS bigint)"))
                files.append(found.scalar_one())
    # Every third time the tables get new files.
    assert [before == after for before, after in pairwise(files)] == [True, False, True, True, False]


async def test_a_truncation_of_other_tables_leaves_no_deleted_rows(shared_store: Store) -> None:
    tables = StagingTables(refinements=False, syncing=True)
    async with shared_store.session() as session, shared_store.transaction(session):
        await tables.make(session)
        await session.execute(_FORTY)
        await _empty(tables, session, staged=40)
        assert (await session.execute(_BYTES_OF_PLAN)).scalar_one() > 0
        await _empty(tables, session, staged=0, listed=True)
        assert (await session.execute(_BYTES_OF_PLAN)).scalar_one() == 0


async def _empty(tables: StagingTables, session: Session, *, staged: int, listed: bool = False) -> None:
    others = dict.fromkeys(("keys", "lost", "touched", "pages"), False)
    await tables.empty(session, staged=staged, rejected=0, listed=listed, **others)
