"""Look up an object by a reference: a UUID, an external id, an exact name, or the unique beginning of an id."""

import re
import secrets
import unicodedata
import uuid
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from retrovue.core.errors import Ambiguous, NotFound, RequestError
from retrovue.core.text import quoted
from retrovue.store.drafts import identity_hash
from retrovue.store.statements import Row, Session, text

Noun = Literal["source", "collection", "enricher"]
"""The kinds of objects that can be looked up: the word in messages and codes, and the name of the table."""


def new_external_id(type_name: str) -> str:
    """Return an external id for a source or an enricher: its type and eight random hexadecimal digits."""
    return f"{type_name}-{secrets.token_hex(4)}"


SHORTEST = 4
"""The least number of digits in the beginning of an id."""
_SHOWN = 8
"""The least number of digits in a shortened id."""
_CANDIDATES = 10
"""How many candidates an error about an ambiguous beginning names."""


_SUGGESTED = 3
"""The most names that an error suggests for a mistyped reference."""
_READ = 200
"""The number of characters of the reference that are compared with names."""


class IdRange(NamedTuple):
    """The range of UUIDs that begin with given digits."""

    low: uuid.UUID
    high: uuid.UUID


def id_range(reference: str) -> IdRange | None:
    """Return the range of UUIDs that begin with a reference, with or without dashes; None if no UUID does."""
    digits = reference.lower().replace("-", "")
    if not SHORTEST <= len(digits) <= 32 or not re.fullmatch("[0-9a-f]+", digits):
        return None
    low, high = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    return IdRange(low, high) if digits == reference.lower() or str(low).startswith(reference.lower()) else None


def as_uuid(reference: str) -> uuid.UUID | None:
    """Return a reference as a UUID; None if it isn't one."""
    try:
        return uuid.UUID(reference)
    except ValueError:
        return None


async def look_up(
    session: Session,
    noun: Noun,
    columns: str,
    reference: str,
    *,
    hint: str,
    source: uuid.UUID | None = None,
    within: str = "",
) -> Row:
    """Return the row that a reference names.

    An exact UUID takes precedence over everything else, and the external id of a source or an enricher over a name. The
    external id of a collection is given by its source, such as ``1`` or ``Movies``, so it doesn't take precedence over
    another collection's name. If nothing matches exactly, the reference may be the unique beginning of an id.
    ``columns`` includes the id, the external id and, for a collection, a ``label`` that names its source. ``source``
    limits collections to one source, which ``within`` names in the message. ``hint`` says how to choose between
    candidates. Raises NotFound, or Ambiguous with the candidates.
    """
    own_id = as_uuid(reference)
    within_source = "" if source is None else "AND source_id = :source"
    result = await session.execute(
        text(
            f"SELECT {columns} FROM {noun} WHERE ({noun}.id = :id OR {noun}.external_id = :reference"
            f" OR {noun}.name = :reference) {within_source} ORDER BY {noun}.name, {noun}.external_id, {noun}.id"
        ),
        {"id": own_id, "reference": reference} | ({} if source is None else {"source": source}),
    )
    rows = result.all()
    by_id = [row for row in rows if row.id == own_id]
    if not by_id and noun != "collection":
        by_id = [row for row in rows if row.external_id == reference]
    candidates = by_id or rows or await _beginning_with(session, noun, columns, reference, source)
    if not candidates:
        similar = await _similar(session, noun, reference, source)
        discover = "; `retrovue source discover` finds new ones" if noun == "collection" else ""
        raise NotFound(
            f"There is no {noun} {quoted(reference)}{within}.",
            code=f"{noun}_not_found",
            hint=f"{similar}`retrovue {noun} list` shows the {noun}s and their ids{discover}.",
            context={noun: reference},
        )
    if len(candidates) > 1:
        ids = [str(row.id) if noun == "collection" else row.external_id for row in candidates]
        labels = [row.label for row in candidates] if noun == "collection" else ids
        raise Ambiguous(
            f"{len(candidates)} {noun}s match {quoted(reference)}: {', '.join(labels)}.",
            code=f"ambiguous_{noun}",
            hint=hint,
            context={noun: reference, "candidates": ids},
        )
    return candidates[0]


async def _named(session: Session, noun: Noun, source: uuid.UUID | None = None) -> Sequence[Row]:
    """Return id, external id and name of sources, of collections (of one source) or of enrichers, by name."""
    within_source = "" if source is None else "WHERE source_id = :source"
    result = await session.execute(
        text(f"SELECT id, external_id, name FROM {noun} {within_source} ORDER BY name, external_id, id"),
        {} if source is None else {"source": source},
    )
    return result.all()


async def require_free_name(
    session: Session, noun: Literal["source", "enricher"], name: str, own_id: uuid.UUID | None = None
) -> None:
    """Raise RequestError if another source or enricher has this name, or a name that people would mistake for it."""
    for other in await _named(session, noun):
        if _alike(other.name) == _alike(name) and other.id != own_id:
            raise RequestError(
                f"There is {'an' if noun == 'enricher' else 'a'} {noun} {quoted(other.name)} already:"
                f" {other.external_id}.",
                code="name_taken",
                hint="Choose another name.",
                context={noun: other.external_id},
            )


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


async def _similar(session: Session, noun: Noun, reference: str, source: uuid.UUID | None) -> str:
    """Return a question that suggests names similar to a mistyped reference; empty if there are none."""
    names = {row.name.casefold(): row.name for row in await _named(session, noun, source)}
    close = [names[found] for found in get_close_matches(reference[:_READ].casefold(), names, _SUGGESTED)]
    return f"Did you mean {' or '.join(map(quoted, close))}? " if close else ""


async def _beginning_with(
    session: Session, noun: Noun, columns: str, reference: str, source: uuid.UUID | None
) -> Sequence[Row]:
    """Return the rows whose id begins with a reference.

    The type alone isn't accepted as the beginning of an external id.
    """
    ids = id_range(reference)
    external = noun != "collection" and re.search(r"-[0-9a-f]+$", reference) is not None
    conditions = [f"{noun}.id BETWEEN :low AND :high"] if ids is not None else []
    conditions += [f"starts_with({noun}.external_id, :reference)"] if external else []
    if not conditions:
        return ()
    within = "" if source is None else "AND source_id = :source"
    bind: dict[str, Any] = {} if ids is None else ids._asdict()
    bind |= {"reference": reference} if external else {}
    bind |= {} if source is None else {"source": source}
    result = await session.execute(
        text(
            f"SELECT {columns} FROM {noun} WHERE ({' OR '.join(conditions)}) {within}"
            f" ORDER BY {noun}.name, {noun}.external_id, {noun}.id"
        ),
        bind,
    )
    return result.all()


# The current address of an asset takes precedence over a former address of another. If a person relinked an asset,
# another asset has its former item, and is found by that address only if the item is listed again.
_BY_ADDRESS = text(
    "SELECT uuid FROM ("
    " SELECT asset.uuid, CASE asset.availability WHEN 'present' THEN 1 ELSE 3 END AS rank FROM collection JOIN asset"
    "  ON asset.collection_uuid = collection.id AND asset.source_hash = :hash"
    " UNION ALL SELECT asset.uuid, CASE WHEN asset_identity.run_id IS NULL AND asset.availability = 'present'"
    "  THEN 2 ELSE 4 END FROM asset_identity JOIN asset ON asset.uuid = asset_identity.asset_uuid"
    "  WHERE asset_identity.source_hash = :hash"
    ") AS found ORDER BY rank, uuid LIMIT 1"
)


async def find_asset(session: Session, reference: str) -> uuid.UUID:
    """Return the id of the asset that a reference names. Raises NotFound or Ambiguous.

    A reference is the beginning of its id, or its address at the source, now or before it was relinked.
    """
    if "://" in reference:
        found = await session.execute(_BY_ADDRESS, {"hash": identity_hash(reference)})
        if (known := found.scalar_one_or_none()) is not None:
            return uuid.UUID(str(known))
    return await _find_id(
        session,
        "asset",
        "SELECT uuid, concat_ws(' ', show_title, title) AS name FROM asset"
        " WHERE uuid BETWEEN :low AND :high ORDER BY uuid LIMIT :limit",
        reference,
        "`retrovue asset list` shows the assets and their ids.",
    )


async def find_run(session: Session, reference: str) -> uuid.UUID:
    """Return the id of the run whose id begins with a reference. Raises NotFound or Ambiguous."""
    return await _find_id(
        session,
        "run",
        "SELECT run_id, cast(min(started_at) AS text) AS name FROM ingest_start"
        " WHERE run_id BETWEEN :low AND :high GROUP BY run_id ORDER BY run_id LIMIT :limit",
        reference,
        "`retrovue ingest log` shows the latest runs.",
    )


async def _find_id(session: Session, noun: str, query: str, reference: str, hint: str) -> uuid.UUID:
    ids = id_range(reference)
    bind = None if ids is None else {**ids._asdict(), "limit": _CANDIDATES + 1}
    rows = [] if bind is None else (await session.execute(text(query), bind)).all()
    if not rows:
        raise NotFound(
            f"There is no {noun} {quoted(reference)}.",
            code=f"{noun}_not_found",
            hint=f"Give its id, or at least {SHORTEST} digits of its beginning. {hint}",
            context={noun: reference},
        )
    if len(rows) > 1:
        shown = [f"{row[0]} ({row.name})" for row in rows[:_CANDIDATES]]
        more = ["and more"] if len(rows) > _CANDIDATES else []
        raise Ambiguous(
            f"The ids of several {noun}s begin with {quoted(reference)}: {', '.join([*shown, *more])}.",
            code=f"ambiguous_{noun}",
            hint="Give more of the id.",
            context={noun: reference, "candidates": [str(row[0]) for row in rows[:_CANDIDATES]]},
        )
    found: uuid.UUID = rows[0][0]
    return found


async def short_ids(session: Session, uuids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return beginnings of assets' ids, at least 8 digits long, that are unique among all assets."""
    return await _shortened(session, uuids, "asset", "uuid")


async def short_run_ids(session: Session, runs: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return beginnings of runs' ids, at least 8 digits long, that are unique among all runs."""
    return await _shortened(session, runs, "ingest_start", "run_id")


async def _shortened(session: Session, uuids: Sequence[uuid.UUID], table: str, column: str) -> dict[uuid.UUID, str]:
    result = await session.execute(
        text(
            f"SELECT given, (SELECT {column} FROM {table} WHERE {column} < given ORDER BY {column} DESC LIMIT 1)"
            f" AS before, (SELECT {column} FROM {table} WHERE {column} > given ORDER BY {column} LIMIT 1) AS after"
            " FROM unnest(cast(string_to_array(:uuids, ',') AS uuid[])) AS given"
        ),
        {"uuids": ",".join(map(str, uuids))},
    )
    return {
        row.given: str(row.given)[: max(_SHOWN, *(_unlike(row.given, other) for other in (row.before, row.after)))]
        for row in result
    }


def _unlike(one: uuid.UUID, other: uuid.UUID | None) -> int:
    """Return how many characters of an id are needed to distinguish it from another one."""
    if other is None:
        return 0
    return next(place for place, pair in enumerate(zip(str(one), str(other), strict=True), 1) if pair[0] != pair[1])
