"""Sync: what an asset was last written from, whether its source lists it, and the feed of changes.

Revision: 0005
Follows: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Every default is a constant, so that the table isn't written anew. The checks read it once.
    """
    ALTER TABLE asset
        ADD COLUMN stamp bytea CHECK (octet_length(stamp) = 16),
        ADD COLUMN file_stamp text,
        ADD COLUMN availability text NOT NULL DEFAULT 'present'
            CHECK (availability IN ('present', 'missing', 'gone')),
        ADD COLUMN unavailable_since timestamptz,
        ADD COLUMN unavailable_run uuid,
        ADD COLUMN unavailable_reason text CHECK (unavailable_reason IN ('not_listed', 'trashed')),
        ADD CONSTRAINT asset_unavailable_since CHECK (
            (availability = 'present') = (unavailable_since IS NULL)
            AND (availability = 'present') = (unavailable_reason IS NULL)
        )
    """,
    # Nothing is in it as long as the source lists every asset.
    "CREATE INDEX asset_unavailable ON asset (collection_uuid, uuid) WHERE availability <> 'present'",
    # A page with an asset that isn't present can't be a known one: its next listing restores the asset.
    "DROP TRIGGER changed_asset_forgets_listing ON asset",
    """
    CREATE TRIGGER changed_asset_forgets_listing AFTER UPDATE ON asset
    FOR EACH ROW WHEN (
        current_setting('retrovue.merging', true) IS DISTINCT FROM 'on'
        AND (OLD.collection_uuid, OLD.source_hash, OLD.canonical_hash, OLD.deleted_at, OLD.availability)
        IS DISTINCT FROM (NEW.collection_uuid, NEW.source_hash, NEW.canonical_hash, NEW.deleted_at, NEW.availability)
    ) EXECUTE FUNCTION forget_listing_of_changed_asset()
    """,
    # The source identities that an asset had before it was relinked; several assets may have had the same one.
    """
    CREATE TABLE asset_identity (
        asset_uuid uuid NOT NULL REFERENCES asset (uuid) ON DELETE CASCADE,
        collection_uuid uuid NOT NULL,
        source_hash bytea NOT NULL CHECK (octet_length(source_hash) = 16),
        source_uri text NOT NULL,
        until timestamptz NOT NULL DEFAULT now(),
        run_id uuid NOT NULL,
        rule text NOT NULL,
        PRIMARY KEY (asset_uuid, source_hash)
    )
    """,
    "CREATE INDEX asset_identity_source ON asset_identity (source_hash)",
    # The feed outlives what it tells of: it has no foreign keys, and names the asset.
    """
    CREATE TABLE asset_change (
        position bigint PRIMARY KEY,
        asset_uuid uuid NOT NULL,
        collection_uuid uuid NOT NULL,
        title text NOT NULL,
        what text NOT NULL CHECK (what IN (
            'refreshed', 'replaced', 'relocated', 'relinked', 'restored', 'missing', 'gone',
            'approved', 'retired', 'unretired', 'withdrawn', 'purged'
        )),
        run_id uuid,
        by text,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        fields jsonb NOT NULL DEFAULT '{}'
    )
    """,
    "CREATE INDEX asset_change_asset ON asset_change (asset_uuid, position)",
    # Numbers are drawn under a lock that lasts to the commit: store/changes.py.
    "CREATE SEQUENCE asset_change_position OWNED BY asset_change.position",
    """
    CREATE TABLE asset_change_pruned (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        position bigint NOT NULL
    )
    """,
    # What schedulers read. The columns are named: an asset's other columns may change, these may not.
    """
    CREATE VIEW schedulable_asset AS
        SELECT uuid, collection_uuid, type, title, show_title, season_number, episode_number, year, originally_aired,
            runtime_ms, edition, studio, content_rating, rating, source_uri, canonical_uri, part_count, size_bytes,
            container, video_codec, audio_codec, audio_channels, video_resolution, width, height, bitrate_kbps,
            provider_ids, tags, chapters, markers, streams, provenance, created_at, updated_at
        FROM asset
        WHERE state = 'ready' AND approved_for_broadcast AND deleted_at IS NULL AND availability = 'present'
    """,
    "ALTER TABLE source ADD COLUMN grace_s integer NOT NULL DEFAULT 86400 CHECK (grace_s >= 0)",
    "ALTER TABLE collection ADD COLUMN keep_approval boolean NOT NULL DEFAULT false",
    "ALTER TABLE ingest_start ADD COLUMN mode text NOT NULL DEFAULT 'ingest' CHECK (mode IN ('ingest', 'sync'))",
    """
    ALTER TABLE ingest_outcome
        ADD COLUMN refreshed bigint NOT NULL DEFAULT 0,
        ADD COLUMN replaced bigint NOT NULL DEFAULT 0,
        ADD COLUMN restored bigint NOT NULL DEFAULT 0,
        ADD COLUMN relinked bigint NOT NULL DEFAULT 0,
        ADD COLUMN changed bigint NOT NULL DEFAULT 0,
        ADD COLUMN absent bigint NOT NULL DEFAULT 0,
        ADD COLUMN missing bigint NOT NULL DEFAULT 0,
        ADD COLUMN gone bigint NOT NULL DEFAULT 0,
        ADD COLUMN removals_held_back bigint NOT NULL DEFAULT 0,
        ADD COLUMN read text CHECK (read IN ('full', 'scoped', 'delta', 'unchanged'))
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
