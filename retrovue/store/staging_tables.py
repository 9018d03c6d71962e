"""The staging tables: temporary tables of a session, and how drafts, refinements and rejections are copied to them."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from msgspec.structs import astuple
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.errors import StoreError
from retrovue.core.model import AssetDraft, Rejection
from retrovue.core.text import storable
from retrovue.store.drafts import ItemKey, MappedDraft

_PLAIN = AssetDraft.__struct_fields__[: AssetDraft.__struct_fields__.index("parts")]
"""The fields of a draft that are staged as they are: all before its parts, which need a closer look."""
_COLUMNS = (
    "seq", "source_hash", "canonical_hash", "canonical_uri", "canonical_key", "part_count", "parts", "size_bytes",
    "provider_ids", "tags", "chapters", "markers", *_PLAIN,
)  # fmt: skip
CARRIED = tuple(column for column in _COLUMNS if column not in {"seq", "parts"})
"""The columns that an asset takes over from its staged row as they are."""

_LARGEST = 2**63 - 1
"""What a bigint holds: parts that claim to be larger together have no total that could be true."""

TEMPORARY_TABLES = (
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged (
        seq integer NOT NULL, source_hash bytea NOT NULL, canonical_hash bytea NOT NULL, source_uri text NOT NULL,
        canonical_uri text NOT NULL, canonical_key text NOT NULL, part_count integer NOT NULL, parts jsonb,
        size_bytes bigint, type text NOT NULL, title text NOT NULL, show_title text, season_number integer,
        episode_number integer, year integer, originally_aired date, runtime_ms bigint, edition text, studio text,
        content_rating text, rating real, container text, video_codec text, audio_codec text, audio_channels integer,
        video_resolution text, width integer, height integer, bitrate_kbps integer, provider_ids jsonb NOT NULL,
        tags jsonb NOT NULL, chapters jsonb, markers jsonb
    )
    """,
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_rejection (
        position integer NOT NULL, code text NOT NULL, reason text NOT NULL, source_uri text, title text
    )
    """,
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS plan (
        seq integer NOT NULL, verdict text NOT NULL, asset_uuid uuid, first_seq integer
    )
    """,
)

STAGED_REFINEMENT = """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_refinement (seq integer NOT NULL, provenance jsonb, failures jsonb)
    """


async def make_tables(session: AsyncSession, *, refinements: bool) -> None:
    """Make the staging tables, unless the session's connection has them."""
    about_connection = (await session.connection()).info
    if not about_connection.get("staging"):
        for statement in TEMPORARY_TABLES:
            await session.execute(text(statement))
    if refinements:
        await session.execute(text(STAGED_REFINEMENT))
    about_connection["staging"] = True


async def copy_page(
    session: AsyncSession,
    drafts: Iterable[tuple[MappedDraft, ItemKey]],
    rejections: Sequence[Rejection],
    *,
    first: int,
    first_rejection: int,
) -> int:
    """Copy the drafts and rejections of a page, numbered on from the numbers given; return how many drafts."""
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    rows: list[tuple[object, ...]] = []
    refinements: list[tuple[int, str, str | None]] = []
    try:
        for seq, (mapped, key) in enumerate(drafts, start=first):
            rows.append(_row(seq, mapped, key))
            if (refinement := mapped.refinement) is not None:
                failures = _json(refinement.failures) if refinement.failures else None
                refinements.append((seq, _json(refinement.provenance), failures))
        if rows:
            await driver.copy_records_to_table("staged", records=rows, columns=_COLUMNS)
    except (UnicodeError, TypeError, ValueError, OverflowError) as exc:
        raise StoreError(
            "The importer gave a value that the catalogue can't hold.",
            code="bad_value",
            hint="This is a bug of the importer; the traceback is in the audit trail.",
        ) from exc
    if refinements:
        await driver.copy_records_to_table("staged_refinement", records=refinements)
    if rejections:
        records = [
            (position, *map(storable, (rejection.code, rejection.reason, rejection.source_uri, rejection.title)))
            for position, rejection in enumerate(rejections, start=first_rejection)
        ]
        await driver.copy_records_to_table("staged_rejection", records=records)
    return len(rows)


def _row(seq: int, mapped: MappedDraft, key: ItemKey) -> tuple[object, ...]:
    draft = mapped.draft
    parts = draft.parts
    if len(parts) == 1:
        files = None
        size = parts[0].size_bytes
    else:
        files = _json(
            [
                {"local_path": path, "size_bytes": part.size_bytes, "duration_ms": part.duration_ms}
                for path, part in zip(mapped.local_paths, parts, strict=True)
            ]
        )
        sizes = [part.size_bytes for part in parts if part.size_bytes is not None]
        total = sum(sizes)
        size = total if len(sizes) == len(parts) and total <= _LARGEST else None
    return (
        seq, key.source_hash, key.canonical_hash, mapped.local_paths[0], key.canonical_key, len(parts), files, size,
        _json(draft.provider_ids), _json(draft.tags),
        None if draft.chapters is None else _json(draft.chapters),
        None if draft.markers is None else _json(draft.markers),
        *astuple(draft)[: len(_PLAIN)],
    )  # fmt: skip


def _json(value: object) -> str:
    # asyncpg's jsonb codec, as SQLAlchemy sets it, takes text.
    return orjson.dumps(value).decode()
