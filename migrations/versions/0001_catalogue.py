"""The catalogue: sources, collections, assets and the audit trail.

Revision: 0001
Follows: nothing
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Which database this is: --test-db refuses one that isn't marked as a test database, and the other way round.
    """
    CREATE TABLE catalogue_role (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        role text NOT NULL CHECK (role IN ('production', 'test'))
    )
    """,
    """
    CREATE TABLE source (
        id uuid PRIMARY KEY,
        external_id text NOT NULL CONSTRAINT source_external_id_key UNIQUE,
        name text NOT NULL CONSTRAINT source_name_not_blank CHECK (btrim(name) <> ''),
        type text NOT NULL,
        config jsonb NOT NULL,
        credentials jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT source_external_id_shape CHECK (external_id ~ ('^' || type || '-[0-9a-f]{8}$'))
    )
    """,
    """
    CREATE TABLE collection (
        id uuid PRIMARY KEY,
        source_id uuid NOT NULL REFERENCES source (id) ON DELETE CASCADE,
        external_id text NOT NULL,
        name text NOT NULL,
        kind text NOT NULL,
        sync_enabled boolean NOT NULL DEFAULT false,
        ingestible boolean,
        not_ingestible_reason text,
        ingestible_checked_at timestamptz,
        locations text[] NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT collection_external_id_key UNIQUE (source_id, external_id),
        CONSTRAINT collection_reason_iff_not_ingestible
            CHECK ((ingestible IS FALSE) = (not_ingestible_reason IS NOT NULL)),
        CONSTRAINT collection_checked_iff_known CHECK ((ingestible IS NULL) = (ingestible_checked_at IS NULL))
    )
    """,
    """
    CREATE TABLE path_mapping (
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        source_prefix text NOT NULL CHECK (source_prefix <> ''),
        local_path text NOT NULL CHECK (local_path LIKE '/%'),
        PRIMARY KEY (collection_id, source_prefix)
    )
    """,
    # Identities are compared by 16-byte hashes: a path or URI may be longer than a btree entry can be (2,704 bytes).
    # The canonical identity is checked at the end of each statement, so that files may swap their places in one.
    """
    CREATE TABLE asset (
        uuid uuid PRIMARY KEY DEFAULT new_asset_uuid(),
        collection_uuid uuid NOT NULL REFERENCES collection (id),
        source_hash bytea NOT NULL CHECK (octet_length(source_hash) = 16),
        canonical_hash bytea NOT NULL CHECK (octet_length(canonical_hash) = 16),
        type text NOT NULL CHECK (type IN ('movie', 'episode', 'clip', 'track')),
        title text NOT NULL CHECK (title <> ''),
        show_title text,
        season_number integer CHECK (season_number >= 0),
        episode_number integer CHECK (episode_number >= 0),
        year integer CHECK (year BETWEEN 1 AND 9999),
        originally_aired date,
        runtime_ms bigint CHECK (runtime_ms >= 0),
        edition text,
        studio text,
        content_rating text,
        rating real CHECK (rating BETWEEN 0 AND 10),
        source_uri text NOT NULL,
        canonical_uri text NOT NULL,
        canonical_key text NOT NULL,
        part_count integer NOT NULL DEFAULT 1 CHECK (part_count >= 1),
        size_bytes bigint CHECK (size_bytes >= 0),
        container text,
        video_codec text,
        audio_codec text,
        audio_channels integer,
        video_resolution text,
        width integer,
        height integer,
        bitrate_kbps integer,
        provider_ids jsonb NOT NULL DEFAULT '{}',
        tags jsonb NOT NULL DEFAULT '{}',
        chapters jsonb,
        markers jsonb,
        state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'enriching', 'ready', 'retired')),
        approved_for_broadcast boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        deleted_at timestamptz,
        CONSTRAINT asset_source_identity UNIQUE (collection_uuid, source_hash),
        CONSTRAINT asset_canonical_identity UNIQUE (collection_uuid, canonical_hash) DEFERRABLE INITIALLY IMMEDIATE,
        CONSTRAINT asset_ready_iff_approved CHECK ((state = 'ready') = approved_for_broadcast)
    )
    """,
    """
    CREATE FUNCTION refuse_asset_that_begins_approved() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'an asset begins its life as new or enriching, not as %', NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'asset_begins_new_or_enriching';
    END
    $$
    """,
    # The WHEN clause is evaluated without calling the function, so a bulk insert doesn't pay for it.
    """
    CREATE TRIGGER asset_begins_new_or_enriching BEFORE INSERT ON asset
    FOR EACH ROW WHEN (NEW.state NOT IN ('new', 'enriching')) EXECUTE FUNCTION refuse_asset_that_begins_approved()
    """,
    # Only versions of several files have rows here; the view below shows the files of every asset.
    """
    CREATE TABLE asset_part (
        asset_uuid uuid NOT NULL REFERENCES asset (uuid) ON DELETE CASCADE,
        position integer NOT NULL CHECK (position >= 1),
        local_path text NOT NULL,
        size_bytes bigint CHECK (size_bytes >= 0),
        duration_ms bigint CHECK (duration_ms >= 0),
        PRIMARY KEY (asset_uuid, position)
    )
    """,
    """
    CREATE VIEW asset_file AS
        SELECT uuid AS asset_uuid, 1 AS position, canonical_uri AS local_path, size_bytes, runtime_ms AS duration_ms
        FROM asset WHERE part_count = 1
        UNION ALL
        SELECT asset_uuid, position, local_path, size_bytes, duration_ms FROM asset_part
    """,
    """
    CREATE TABLE asset_alias (
        collection_uuid uuid NOT NULL REFERENCES collection (id),
        source_hash bytea NOT NULL CHECK (octet_length(source_hash) = 16),
        asset_uuid uuid NOT NULL REFERENCES asset (uuid) ON DELETE CASCADE,
        source_uri text NOT NULL,
        title text NOT NULL,
        season_number integer,
        episode_number integer,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (collection_uuid, source_hash)
    )
    """,
    "CREATE INDEX asset_alias_asset ON asset_alias (asset_uuid)",
    """
    CREATE TABLE ingest_start (
        run_id uuid NOT NULL,
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        trigger text NOT NULL CHECK (trigger IN ('source', 'collection')),
        scope jsonb NOT NULL,
        version text NOT NULL,
        started_by text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_id, collection_id)
    )
    """,
    "CREATE INDEX ingest_start_collection ON ingest_start (collection_id, started_at)",
    """
    CREATE TABLE ingest_outcome (
        run_id uuid NOT NULL,
        collection_id uuid NOT NULL,
        status text NOT NULL CHECK (status IN ('ingested', 'failed', 'interrupted', 'unknown')),
        code text,
        message text,
        hint text,
        source_items bigint NOT NULL DEFAULT 0,
        discovered bigint NOT NULL DEFAULT 0,
        created bigint NOT NULL DEFAULT 0,
        skipped bigint NOT NULL DEFAULT 0,
        duplicates bigint NOT NULL DEFAULT 0,
        rejected bigint NOT NULL DEFAULT 0,
        relocated bigint NOT NULL DEFAULT 0,
        soft_deleted bigint NOT NULL DEFAULT 0,
        warnings bigint NOT NULL DEFAULT 0,
        failed_enrichments bigint NOT NULL DEFAULT 0,
        details jsonb NOT NULL DEFAULT '{}',
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_id, collection_id),
        FOREIGN KEY (run_id, collection_id) REFERENCES ingest_start ON DELETE CASCADE,
        CONSTRAINT ingest_outcome_accounts_for_all CHECK (discovered = created + skipped + duplicates + rejected),
        CONSTRAINT ingest_outcome_code_iff_not_ingested CHECK ((status = 'ingested') = (code IS NULL))
    )
    """,
    """
    CREATE TABLE ingest_rejection (
        run_id uuid NOT NULL,
        collection_id uuid NOT NULL,
        position integer NOT NULL,
        code text NOT NULL,
        reason text NOT NULL,
        source_uri text,
        title text,
        PRIMARY KEY (run_id, collection_id, position),
        FOREIGN KEY (run_id, collection_id) REFERENCES ingest_start ON DELETE CASCADE
    )
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    # Version 7 UUIDs rise with time, so that a bulk insert appends to the primary key's index.
    major = int(execute("SHOW server_version_num").scalar_one()) // 10000
    uuid = "uuidv7()" if major >= 18 else "gen_random_uuid()"
    for statement in _STATEMENTS:
        execute(statement.replace("new_asset_uuid()", uuid))
