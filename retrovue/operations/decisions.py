"""Decisions about assets: approve them for broadcast, retire them, undo retiring.

By ids, all assets are decided on or none. By filters, those matching assets are decided on that are in a suitable
state. Either way it is one transaction, and each changed asset has a row in the feed of changes, with who decided and
when.
"""

from collections.abc import Sequence
from typing import Unpack
from uuid import UUID

from retrovue.store import decisions
from retrovue.store.assets import LISTED
from retrovue.store.audit import started_by
from retrovue.store.decisions import Decided, Decision, StateChange
from retrovue.store.listing import AssetFilters, Selection, select
from retrovue.store.session import Store, retry_conflicts

__all__ = [
    "Decided",
    "Decision",
    "StateChange",
    "approve_assets",
    "approve_matching",
    "decide_by_ids",
    "decide_matching",
    "retire_assets",
    "retire_matching",
    "unretire_assets",
    "unretire_matching",
]


async def approve_assets(
    store: Store, *uuids: UUID, despite_enrichment: bool = False, dry_run: bool = False
) -> list[StateChange]:
    """Approve new assets for broadcast, all or none. Raises NotFound, and RequestError for an asset that isn't new.

    ``despite_enrichment`` also approves assets that are enriching: a file that no enricher can read stays enriching.
    """
    return await _all_or_none(store, "approved", uuids, despite_enrichment=despite_enrichment, dry_run=dry_run)


async def retire_assets(store: Store, *uuids: UUID, dry_run: bool = False) -> list[StateChange]:
    """Retire assets, all or none: they stay in the catalogue but aren't broadcast any more. Raises NotFound."""
    return await _all_or_none(store, "retired", uuids, dry_run=dry_run)


async def unretire_assets(store: Store, *uuids: UUID, dry_run: bool = False) -> list[StateChange]:
    """Undo the retirement of assets, all or none. Raises NotFound. Assets that aren't retired stay as they are.

    An asset that was approved is approved again, unless its file was replaced since. All others become new, or
    enriching if an enrichment is owed.
    """
    return await _all_or_none(store, "unretired", uuids, dry_run=dry_run)


async def approve_matching(
    store: Store,
    *,
    despite_enrichment: bool = False,
    expected: int | None = None,
    dry_run: bool = False,
    **filters: Unpack[AssetFilters],
) -> Decided:
    """Approve all new assets that match the filters; without filters, all new assets. Others stay unchanged.

    A million assets take about a minute. With ``expected``, raises RequestError and changes nothing if the number of
    assets differs from it. Raises NotFound, Ambiguous or RequestError for a filter, as ``list_assets`` does.
    """
    return await decide_matching(
        store, "approved", filters, despite_enrichment=despite_enrichment, expected=expected, dry_run=dry_run
    )


async def retire_matching(
    store: Store, *, expected: int | None = None, dry_run: bool = False, **filters: Unpack[AssetFilters]
) -> Decided:
    """Retire all assets that match the filters; otherwise as ``approve_matching``."""
    return await decide_matching(store, "retired", filters, expected=expected, dry_run=dry_run)


async def unretire_matching(
    store: Store, *, expected: int | None = None, dry_run: bool = False, **filters: Unpack[AssetFilters]
) -> Decided:
    """Undo the retirement of all assets that match the filters; otherwise as ``unretire_assets``."""
    return await decide_matching(store, "unretired", filters, expected=expected, dry_run=dry_run)


async def decide_matching(
    store: Store,
    decision: Decision,
    filters: AssetFilters,
    *,
    despite_enrichment: bool = False,
    expected: int | None = None,
    dry_run: bool = False,
) -> Decided:
    """Decide on the assets that match the filters."""
    async with store.reading() as session:
        chosen = await select(session, filters)
    return await _decide(
        store, decision, chosen, despite_enrichment=despite_enrichment, expected=expected, dry_run=dry_run
    )


async def decide_by_ids(
    store: Store,
    decision: Decision,
    uuids: Sequence[UUID],
    *,
    despite_enrichment: bool = False,
    listed: int = LISTED,
    dry_run: bool = False,
) -> Decided:
    """Decide on any number of assets by their ids, all or none. Raises what ``approve_assets`` raises."""
    chosen = decisions.by_ids(uuids)
    return await _decide(
        store, decision, chosen, uuids, despite_enrichment=despite_enrichment, listed=listed, dry_run=dry_run
    )


async def _decide(
    store: Store,
    decision: Decision,
    chosen: Selection,
    uuids: Sequence[UUID] | None = None,
    *,
    despite_enrichment: bool,
    expected: int | None = None,
    listed: int = LISTED,
    dry_run: bool,
) -> Decided:
    decided: Decided | None = None

    async def transact() -> None:
        nonlocal decided, expected
        async with store.transaction(long=True) as session:
            if uuids is not None:
                expected = await decisions.require_decidable(
                    session, decision, uuids, despite_enrichment=despite_enrichment
                )
            decided = await decisions.decide(
                session,
                decision,
                chosen,
                by=started_by(),
                despite_enrichment=despite_enrichment,
                expected=expected,
                listed=listed,
                dry_run=dry_run,
            )

    await retry_conflicts(transact)
    assert decided is not None  # noqa: S101 - otherwise an error was raised
    return decided


async def _all_or_none(
    store: Store, decision: Decision, uuids: Sequence[UUID], *, despite_enrichment: bool = False, dry_run: bool
) -> list[StateChange]:
    given = list(dict.fromkeys(uuids))
    decided = await decide_by_ids(
        store, decision, given, despite_enrichment=despite_enrichment, listed=len(given), dry_run=dry_run
    )
    changes = {change.uuid: change for change in decided.changes}
    async with store.reading() as session:
        unchanged = await decisions.states_of(session, [uuid for uuid in given if uuid not in changes])
    changes |= {uuid: StateChange(uuid, title, state, state) for uuid, (title, state) in unchanged.items()}
    return [changes[uuid] for uuid in given]
