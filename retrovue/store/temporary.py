"""The temporary tables of a run, which stay with its connection."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from retrovue.store.changes import KEPT_COLUMNS
from retrovue.store.statements import Session, text

TABLES = {
    "staged": """
        seq integer NOT NULL, source_hash bytea NOT NULL, canonical_hash bytea NOT NULL, source_uri text NOT NULL,
        canonical_uri text NOT NULL, canonical_key text NOT NULL, part_count integer NOT NULL, parts jsonb,
        size_bytes bigint, type text NOT NULL, title text NOT NULL, show_title text, season_number integer,
        episode_number integer, year integer, originally_aired date, runtime_ms bigint, edition text, studio text,
        content_rating text, rating real, container text, video_codec text, audio_codec text, audio_channels integer,
        video_resolution text, width integer, height integer, bitrate_kbps integer, provider_ids jsonb NOT NULL,
        tags jsonb NOT NULL, chapters jsonb, markers jsonb, show_key text, show_year integer, show_provider_ids jsonb,
        artist text, album text, disc_number integer, track_number integer, stamp bytea NOT NULL, file_stamp text,
        sidecar_stamp text, difference integer NOT NULL, fields jsonb, again jsonb
    """,
    "staged_rejection": """
        position integer NOT NULL, code text NOT NULL, reason text NOT NULL, source_uri text, title text
    """,
    "plan": """
        seq integer NOT NULL, verdict text NOT NULL, own uuid, asset_uuid uuid, first_seq integer, rule text
    """,
    # The changes of assets, stored before they are made: the feed of changes needs the values before.
    "following": """
        seq integer NOT NULL, asset_uuid uuid NOT NULL, title text NOT NULL, what text NOT NULL,
        replaced boolean NOT NULL, moved boolean NOT NULL, withdrawn boolean NOT NULL, kept jsonb, fields jsonb NOT NULL
    """,
}
"""The columns of the tables of every run, by name."""
SYNC_TABLES = {
    "listed": "kind text NOT NULL, packed bytea NOT NULL",
    "staged_key": "seq integer NOT NULL, rule integer NOT NULL, key bytea NOT NULL",
    "lost_asset": "uuid uuid NOT NULL, trashed boolean NOT NULL",
    "removal": """
        asset_uuid uuid NOT NULL, title text NOT NULL, source_uri text NOT NULL, was text NOT NULL,
        becomes text NOT NULL, reason text NOT NULL
    """,
}
PAGE_TABLES = {
    "staged_page": "fingerprint bytea NOT NULL, position integer NOT NULL, items bytea, digest bytea, content bytea",
}
"""How pages that become known, or their items, are recognised later. An ingest makes the table when it is needed, as
most small collections don't.
"""
_UNCOMPRESSED = {"staged_page": ("items", "content")}
"""Hashes and ids, of which compressing takes longer than writing."""
_ROWS_OF_A_PAGE = 250
"""As many deleted rows as a deleted row of `PAGE_TABLES` counts as."""
ENRICHER_TABLES = {
    "staged_refinement": "seq integer NOT NULL, provenance jsonb, failures jsonb",
    "touched_asset": "uuid uuid NOT NULL",
}
SHARED_TABLES = {"kept_change": KEPT_COLUMNS}
"""The tables of a transaction that merges several collections."""
_OF_PAGES = frozenset(
    {"staged", "staged_rejection", "listed", "staged_key", "staged_page", "staged_refinement", "touched_asset"}
)
"""The tables that pages are copied to; the others belong to a merge."""

MOST_DEAD = 5_000
"""The most rows that are deleted from the tables of a connection before they are truncated.

To truncate a table gives it new files, and takes ten times as long as to delete the rows of a small collection. But
deleted rows are read again by each statement.
"""
_DEAD = "deleted rows"


def create(name: str, columns: str) -> str:
    """Return the SQL that creates a table unless the connection has it."""
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({columns})"


class StagingTables(Struct, frozen=True):
    """The tables of one collection, on the connection of its staging. Call `make()`, later `empty()`.

    Collections that share a connection have their own tables for their pages, with ``suffix`` in the name. The
    statements of the merge use the names without it: the merge takes place between `rename()` and `drop()`, in one
    transaction.
    """

    refinements: bool
    """Whether the collection has enrichers."""
    syncing: bool
    """Whether the whole collection is read in a sync."""
    suffix: str = ""

    def name(self, table: str) -> str:
        """Return the name of one of the tables that pages are copied to."""
        return table + self.suffix

    def are_made(self, session: Session) -> bool:
        """Return whether the connection has the tables."""
        return all(session.made.get((*group, self.suffix)) for group in self._groups())

    async def make(self, session: Session) -> None:
        """Create the tables that the connection doesn't have yet."""
        for group in self._groups():
            await self._make(session, group)

    async def make_pages(self, session: Session) -> None:
        """Create the table of pages unless the connection has it."""
        await self._make(session, PAGE_TABLES)

    async def _make(self, session: Session, group: Mapping[str, str]) -> None:
        made = (*group, self.suffix)
        if session.made.get(made):
            return
        names = {table: self.name(table) if table in _OF_PAGES else table for table in group}
        # The driver's own method sends all statements at once.
        statements = [create(names[table], columns) for table, columns in group.items()]
        statements += [
            f"ALTER TABLE {names[table]} ALTER {column} SET STORAGE EXTERNAL"
            for table in group
            for column in _UNCOMPRESSED.get(table, ())
        ]
        await session.driver.execute("; ".join(statements))
        session.made[made] = True

    async def rename(self, session: Session) -> None:
        """Give the tables of the pages their plain names, in the caller's transaction."""
        for table in self._of_pages() if self.suffix else ():
            await session.execute(text(f"ALTER TABLE {self.name(table)} RENAME TO {table}"))

    async def drop(self, session: Session) -> None:
        """Drop the renamed tables, so that those of the next collection can have their names."""
        if self.suffix:
            await session.execute(text(f"DROP TABLE {', '.join(self._of_pages())}"))

    async def empty(
        self,
        session: Session,
        *,
        staged: int,
        rejected: int,
        keys: bool,
        listed: bool,
        lost: bool,
        touched: bool,
        pages: int,
    ) -> None:
        """Empty the tables that may have rows.

        ``staged`` drafts, ``rejected`` items and ``pages`` are numbers of rows; the others have any number.
        """
        tables = self._of_drafts() if staged else []
        filled = {"staged_rejection": rejected > 0, "staged_key": keys, "listed": listed, "touched_asset": touched}
        filled["staged_page"] = pages > 0
        tables += [self.name(table) for table, is_filled in filled.items() if is_filled]
        if lost:
            tables += ["lost_asset", "removal"]
        if not tables:
            return
        dead = session.made.get(_DEAD, 0) + staged + rejected + pages * _ROWS_OF_A_PAGE
        if dead <= MOST_DEAD and not (keys or listed or lost or touched):
            # The driver's own method sends all statements at once.
            await session.driver.execute("; ".join(f"DELETE FROM {table}" for table in tables))
        else:
            if session.made.get(_DEAD):
                # Those with deleted rows.
                names = [*self._of_drafts(), self.name("staged_rejection")]
                names += [self.name(table) for table in PAGE_TABLES if session.made.get((*PAGE_TABLES, self.suffix))]
                tables = list(dict.fromkeys([*tables, *names]))
            await session.execute(text(f"TRUNCATE {', '.join(tables)}"))
            dead = 0
        session.made[_DEAD] = dead

    def _of_drafts(self) -> list[str]:
        refinements = [self.name("staged_refinement")] if self.refinements else []
        return [self.name("staged"), "plan", "following", *refinements]

    def _groups(self) -> Iterator[Mapping[str, str]]:
        yield TABLES
        if self.refinements:
            yield ENRICHER_TABLES
        if self.syncing:
            yield SYNC_TABLES
        if self.suffix:
            yield SHARED_TABLES
        if self.suffix or self.syncing:
            yield PAGE_TABLES

    def _of_pages(self) -> list[str]:
        return [table for group in self._groups() for table in group if table in _OF_PAGES]
