"""Decisions about assets: approve them, retire them, undo retiring."""

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from retrovue.cli.asking import confirm, interruptible
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import table
from retrovue.operations import catalogue, decisions
from retrovue.operations.catalogue import AssetFilters, Store
from retrovue.operations.decisions import Decided, Decision, StateChange

_STDIN = "-"
_ID = re.compile("[0-9a-fA-F][0-9a-fA-F-]*(,|$)")
"""What a line begins with that has the id of an asset, or the beginning of one."""
_VERBS = {"approved": "Approve", "retired": "Retire", "unretired": "Undo the retirement of"}


async def decide(
    call: Invocation,
    decision: Decision,
    ids: Sequence[str],
    *,
    everything: bool,
    yes: bool,
    despite_enrichment: bool = False,
    **options: Any,
) -> int:
    """Decide on assets: by ids on all of them or none, else on the assets that match the filters.

    Of the matching assets, only those in a suitable state are changed.
    """
    filters: AssetFilters = {name: value for name, value in options.items() if value is not None}  # type: ignore[assignment]
    if bool(ids) + bool(filters) + everything != 1:
        raise InputError(
            "It isn't clear which assets are meant.",
            hint="Give ids (- reads them from the standard input), or filters such as --collection, or --all.",
        )
    given = list(_read_ids(call)) if _STDIN in ids else []
    given += [reference for reference in ids if reference != _STDIN]
    async with opened(call) as store:
        if not ids:
            decided = await _by_filters(call, store, decision, filters, yes=yes, despite_enrichment=despite_enrichment)
            return await _report(call, store, decision, decided, decided.changes)
        uuids = [await catalogue.find_asset(store, reference) for reference in given]
        if _STDIN in ids:
            decided = await decisions.decide_by_ids(
                store, decision, uuids, despite_enrichment=despite_enrichment, dry_run=call.dry_run
            )
            return await _report(call, store, decision, decided, decided.changes)
        changes = await _by_ids(call, store, decision, uuids, despite_enrichment=despite_enrichment)
        changed = sum(change.before != change.after for change in changes)
        return await _report(call, store, decision, Decided(len(changes), changed, {}, ()), changes)


async def _by_ids(
    call: Invocation, store: Store, decision: Decision, uuids: Sequence[UUID], *, despite_enrichment: bool
) -> list[StateChange]:
    match decision:
        case "approved":
            return await decisions.approve_assets(
                store, *uuids, despite_enrichment=despite_enrichment, dry_run=call.dry_run
            )
        case "retired":
            return await decisions.retire_assets(store, *uuids, dry_run=call.dry_run)
        case "unretired":
            return await decisions.unretire_assets(store, *uuids, dry_run=call.dry_run)


async def _by_filters(
    call: Invocation,
    store: Store,
    decision: Decision,
    filters: AssetFilters,
    *,
    yes: bool,
    despite_enrichment: bool,
) -> Decided:
    expected: int | None = None
    if call.dry_run or not yes:
        looked = await decisions.decide_matching(
            store, decision, filters, despite_enrichment=despite_enrichment, dry_run=True
        )
        if call.dry_run or not looked.changed:
            return looked
        expected = looked.changed
        states = ", ".join(f"{number:,} {state}" for state, number in sorted(looked.states.items()))
        confirm(
            call,
            [f"{_VERBS[decision]} {expected:,} assets. {looked.total:,} match: {states}."],
            "Do it?",
            f"This concerns {expected:,} assets",
            yes=yes,
            context={"total": looked.total, "changed": expected},
        )
    return await decisions.decide_matching(
        store, decision, filters, despite_enrichment=despite_enrichment, expected=expected
    )


def _read_ids(call: Invocation) -> Iterator[str]:
    """Read ids from standard input: one on each line, or the lines of ``asset export`` or ``--csv``."""
    number = 0
    try:
        with interruptible(call):
            for number, line in enumerate(sys.stdin or (), 1):
                word = line.strip()
                if word and (number > 1 or word.partition(",")[0] != "uuid"):
                    yield _id_in(word)
    except (ValueError, KeyError) as exc:
        raise InputError(
            f"Line {number + isinstance(exc, UnicodeDecodeError)} of the standard input has no id of an asset.",
            hint="Give an id on each line, or what `retrovue asset list --columns uuid --csv` prints.",
        ) from exc


def _id_in(line: str) -> str:
    """Return the id of an asset, its beginning or its address that a line has. Raises ValueError or KeyError."""
    if line.startswith("{"):
        return str(orjson.loads(line)["uuid"])
    if _ID.match(line):
        return line.partition(",")[0]
    if "://" not in line:
        raise ValueError(line)
    return line


async def _report(
    call: Invocation, store: Store, decision: Decision, decided: Decided, changes: Sequence[StateChange]
) -> int:
    total, changed = decided.total, decided.changed
    if call.output.as_json:
        assets = [
            {"uuid": change.uuid, "title": change.title, "state_before": change.before, "state": change.after}
            for change in changes
        ]
        document = {"status": "ok", "dry_run": call.dry_run, "total": total, "changed": changed, "assets": assets}
        call.output.document({**document, "left_out": max(0, changed - len(changes))})
        return 0
    ids = await catalogue.short_ids(store, [change.uuid for change in changes])
    rows = [(change.title, change.before, change.after, ids[change.uuid]) for change in changes]
    lines = table(("Title", "Was", "Is", "Id"), rows) if rows else []
    if changed > len(changes):
        lines.append(f"... and {changed - len(changes):,} more")
    head = "Dry run: nothing was written. Would be" if call.dry_run else "Assets"
    call.output.lines([*lines, f"{head} {decision}: {changed:,} of {total:,}"])
    return 0
