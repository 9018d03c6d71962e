"""Assets whose item has moved to another collection: list and relink them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import asdict

from retrovue.cli.asking import confirm
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.operations import catalogue, relinking
from retrovue.operations.catalogue import Store
from retrovue.operations.relinking import Move, MoveEnd, Moves

_SHOWN = 20
"""How many pairs are listed for people; --json lists 100."""
_QUESTION = "Relink them?"


async def relink(
    call: Invocation,
    ids: Sequence[str],
    *,
    source: str | None,
    collection: str | None,
    other_sources: bool,
    everything: bool,
    yes: bool,
) -> int:
    """Relink two given assets, or all unambiguous pairs; else list the pairs."""
    narrowed = source is not None or collection is not None or other_sources or everything
    if len(ids) not in {0, 2} or (ids and narrowed):
        raise InputError(
            "It isn't clear which assets are meant.",
            hint="Name an asset that is missing or gone and the one that has its item now; or name none, to list such"
            " pairs, and give --all to relink them.",
        )
    async with opened(call, read_only=not ids and not everything) as store:
        names = {found.id: found.name for found in await catalogue.list_collections(store)}
        if ids:
            moves = await _relink_two(call, store, ids, names, yes=yes)
            return await _report(call, store, moves, names, relinked=1)
        if not everything:
            moves = await relinking.list_moves(store, source=source, collection=collection, other_sources=other_sources)
            return await _report(call, store, moves, names, relinked=0)

        def confirm_all(found: Moves) -> None:
            lines = [*_lines(found.moves, names), *_more(found.total)]
            confirm(call, lines, _QUESTION, _concern(found.total), yes=yes, context={"assets": found.total})

        moves = await relinking.relink_moves(
            store,
            source=source,
            collection=collection,
            other_sources=other_sources,
            confirm=confirm_all,
            dry_run=call.dry_run,
        )
        return await _report(call, store, moves, names, relinked=moves.total)


async def _relink_two(
    call: Invocation, store: Store, ids: Sequence[str], names: Mapping[UUID, str], *, yes: bool
) -> Moves:
    lost, listed = [await catalogue.find_asset(store, reference) for reference in ids]

    def confirm_two(move: Move) -> None:
        confirm(call, list(_lines([move], names)), _QUESTION, _concern(1), yes=yes, context={"assets": 1})

    move = await relinking.relink_assets(store, lost, listed, confirm=confirm_two, dry_run=call.dry_run)
    return Moves(1, (move,), 0, ())


def _concern(number: int) -> str:
    return f"This relinks {number:,} {'asset' if number == 1 else 'assets'}"


async def _report(call: Invocation, store: Store, moves: Moves, names: Mapping[UUID, str], *, relinked: int) -> int:
    if call.output.as_json:
        document: dict[str, Any] = {
            "dry_run": call.dry_run,
            "relinked_assets": relinked,
            "total": moves.total,
            "moves": [_document(move) for move in moves.moves],
            "left_out": moves.total - len(moves.moves),
            "ambiguous_total": moves.ambiguous_total,
            "ambiguous": [_document(move) for move in moves.ambiguous],
        }
        return call.answer(document, [])
    ids = await catalogue.short_ids(
        store, [end.uuid for move in (*moves.moves, *moves.ambiguous) for end in (move.lost, move.listed)]
    )
    lines = [*_lines(moves.moves, names, ids), *_more(moves.total)]
    if moves.ambiguous:
        lines += ["", f"Ambiguous, left alone: {moves.ambiguous_total:,}", *_lines(moves.ambiguous, names, ids)]
        lines += _more(moves.ambiguous_total)
    if relinked:
        head = "Dry run: nothing was written. Would be relinked" if call.dry_run else "Relinked"
        lines.append(f"{head}: {relinked:,}")
    else:
        lines.append(f"{moves.total:,} missing or gone assets have their item in another collection.")
        if moves.total:
            lines.append("`retrovue asset relink --all` relinks them; `retrovue asset relink OLD NEW` a single one.")
        elif moves.ambiguous:
            lines.append("`retrovue asset relink OLD NEW` relinks the two that belong together.")
    call.output.lines(lines)
    return 0


def _document(move: Move) -> dict[str, Any]:
    return {
        "lost": _end_document(move.lost),
        "listed": _end_document(move.listed),
        "rule": move.rule,
        "same_file": move.same_file,
    }


def _end_document(end: MoveEnd) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(end).items() if name != "collection_uuid"}
    return {**fields, "collection": {"id": end.collection_uuid}}


def _lines(moves: Sequence[Move], names: Mapping[UUID, str], ids: Mapping[UUID, str] | None = None) -> Iterator[str]:
    for move in moves[:_SHOWN]:
        yield f"{move.lost.title} (same {move.rule}{'' if move.same_file else ', another file'})"
        for end in (move.lost, move.listed):
            identifier = end.uuid if ids is None else ids[end.uuid]
            where = names.get(end.collection_uuid, end.collection_uuid)
            yield f"  {identifier}  {end.availability} in {where}, {end.state}  {end.source_uri}"


def _more(total: int) -> list[str]:
    return [f"... and {total - _SHOWN:,} more"] if total > _SHOWN else []
