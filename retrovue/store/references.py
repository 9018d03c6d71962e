"""Look-up of sources, collections and enrichers by a reference: a UUID, an external id or an exact name."""

import secrets
import uuid
from typing import Any, Literal

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.errors import Ambiguous, NotFound

Noun = Literal["source", "collection", "enricher"]
"""What can be looked up: the word of messages and codes, and the table's name."""


def new_external_id(type_name: str) -> str:
    """Make an external id for a source or an enricher: its type and eight random hexadecimal digits."""
    return f"{type_name}-{secrets.token_hex(4)}"


def as_uuid(reference: str) -> uuid.UUID | None:
    """Return a reference as a UUID; None if it isn't one."""
    try:
        return uuid.UUID(reference)
    except ValueError:
        return None


async def look_up(
    session: AsyncSession,
    noun: Noun,
    columns: str,
    reference: str,
    *,
    hint: str,
    source: uuid.UUID | None = None,
    within: str = "",
) -> Row[Any]:
    """Return the row that a reference names.

    An exact UUID goes before all else, and the external id of a source or an enricher before a name. That of a
    collection is the word of its source, such as ``1`` or ``Movies``: it goes before no other collection's name.
    ``columns`` includes the id, the external id and, of a collection, a ``label`` that names its source. ``source``
    restricts collections to one source, which ``within`` names in the message. ``hint`` says how to choose between
    candidates.
    Raises NotFound, or Ambiguous with the candidates.
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
    candidates = by_id or rows
    if not candidates:
        discover = "; `retrovue source discover` finds new ones" if noun == "collection" else ""
        raise NotFound(
            f"There is no {noun} {reference!r}{within}.",
            code=f"{noun}_not_found",
            hint=f"`retrovue {noun} list` shows the {noun}s and their ids{discover}.",
            context={noun: reference},
        )
    if len(candidates) > 1:
        ids = [str(row.id) if noun == "collection" else row.external_id for row in candidates]
        labels = [row.label for row in candidates] if noun == "collection" else ids
        raise Ambiguous(
            f"{len(candidates)} {noun}s fit {reference!r}: {', '.join(labels)}.",
            code=f"ambiguous_{noun}",
            hint=hint,
            context={noun: reference, "candidates": ids},
        )
    return candidates[0]
