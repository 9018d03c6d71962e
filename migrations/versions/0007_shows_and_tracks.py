"""What identifies the show of an episode, and what a track says of itself. Films have none of it: these are null.

Revision: 0007
Follows: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Columns without a default change no row, so that a large catalogue is upgraded in the time of one scan.
    """
    ALTER TABLE asset
        ADD COLUMN show_key text,
        ADD COLUMN show_year integer CHECK (show_year BETWEEN 1 AND 9999),
        ADD COLUMN show_provider_ids jsonb,
        ADD COLUMN artist text,
        ADD COLUMN album text,
        ADD COLUMN disc_number integer CHECK (disc_number >= 0),
        ADD COLUMN track_number integer CHECK (track_number >= 0)
    """,
    # A view keeps its columns in their order; others can only follow.
    """
    CREATE OR REPLACE VIEW schedulable_asset AS
        SELECT uuid, collection_uuid, type, title, show_title, season_number, episode_number, year, originally_aired,
            runtime_ms, edition, studio, content_rating, rating, source_uri, canonical_uri, part_count, size_bytes,
            container, video_codec, audio_codec, audio_channels, video_resolution, width, height, bitrate_kbps,
            provider_ids, tags, chapters, markers, streams, provenance, created_at, updated_at, show_key, show_year,
            show_provider_ids, artist, album, disc_number, track_number
        FROM asset
        WHERE state = 'ready' AND approved_for_broadcast AND deleted_at IS NULL AND availability = 'present'
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
