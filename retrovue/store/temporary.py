"""The temporary tables of a run, which stay with its connection."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

TABLES = (
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged (
        seq integer NOT NULL, source_hash bytea NOT NULL, canonical_hash bytea NOT NULL, source_uri text NOT NULL,
        canonical_uri text NOT NULL, canonical_key text NOT NULL, part_count integer NOT NULL, parts jsonb,
        size_bytes bigint, type text NOT NULL, title text NOT NULL, show_title text, season_number integer,
        episode_number integer, year integer, originally_aired date, runtime_ms bigint, edition text, studio text,
        content_rating text, rating real, container text, video_codec text, audio_codec text, audio_channels integer,
        video_resolution text, width integer, height integer, bitrate_kbps integer, provider_ids jsonb NOT NULL,
        tags jsonb NOT NULL, chapters jsonb, markers jsonb, show_key text, show_year integer, show_provider_ids jsonb,
        artist text, album text, disc_number integer, track_number integer, stamp bytea NOT NULL, file_stamp text,
        difference integer NOT NULL, fields jsonb
    )
    """,
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_rejection (
        position integer NOT NULL, code text NOT NULL, reason text NOT NULL, source_uri text, title text
    )
    """,
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS plan (
        seq integer NOT NULL, verdict text NOT NULL, own uuid, asset_uuid uuid, first_seq integer, rule text
    )
    """,
    # What happens to assets, written down before it does: the feed of changes needs the values before.
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS following (
        seq integer NOT NULL, asset_uuid uuid NOT NULL, title text NOT NULL, what text NOT NULL,
        replaced boolean NOT NULL, moved boolean NOT NULL, withdrawn boolean NOT NULL, kept jsonb, fields jsonb NOT NULL
    )
    """,
)
SYNC_TABLES = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS listed (kind text NOT NULL, packed bytea NOT NULL)",
    "CREATE TEMPORARY TABLE IF NOT EXISTS staged_key (seq integer NOT NULL, rule integer NOT NULL, key bytea NOT NULL)",
    "CREATE TEMPORARY TABLE IF NOT EXISTS lost_asset (uuid uuid NOT NULL, trashed boolean NOT NULL)",
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS removal (
        asset_uuid uuid NOT NULL, title text NOT NULL, source_uri text NOT NULL, was text NOT NULL,
        becomes text NOT NULL, reason text NOT NULL
    )
    """,
)
REFINEMENTS = """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_refinement (seq integer NOT NULL, provenance jsonb, failures jsonb)
    """


async def make_tables(session: AsyncSession, *, refinements: bool, syncing: bool) -> None:
    """Make the tables that the session's connection doesn't have yet."""
    about_connection = (await session.connection()).info
    wanted: dict[str, tuple[str, ...]] = {"staging": TABLES}
    if refinements:
        wanted["refinements"] = (REFINEMENTS,)
    if syncing:
        wanted["syncing"] = SYNC_TABLES
    for name, statements in wanted.items():
        if not about_connection.get(name):
            for statement in statements:
                await session.execute(text(statement))
            about_connection[name] = True


async def empty_tables(
    session: AsyncSession, *, staged: bool, rejected: bool, refinements: bool, keys: bool, listed: bool, lost: bool
) -> None:
    """Empty the tables that may have rows. To empty one writes to the log of the server, small as it is."""
    tables = ["staged", "plan", "following"] if staged else []
    if staged and refinements:
        tables.append("staged_refinement")
    if rejected:
        tables.append("staged_rejection")
    if keys:
        tables.append("staged_key")
    if listed:
        tables.append("listed")
    if lost:
        tables += ["lost_asset", "removal"]
    if tables:
        await session.execute(text(f"TRUNCATE {', '.join(tables)}"))
