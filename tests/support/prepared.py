"""The rows of a source that one test has prepared, which others begin with: to insert them costs a tenth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio.from_thread import BlockingPortal
from msgspec.structs import replace

from retrovue.core.model import Source
from tests.support.observers import look

_TABLES = ("source", "collection", "path_mapping")  # triggers write what else there is


@dataclass(frozen=True)
class Prepared:
    """A source, and the rows that it has in a catalogue in which there is nothing else."""

    source: Source
    here: Sequence[str]
    """The address of the server and the directory of media, as they stand in the rows."""
    rows: Sequence[tuple[str, str]]
    """By table, as JSON."""

    @classmethod
    def of(cls, portal: BlockingPortal, url: str, source: Source, *here: str) -> "Prepared":
        """Take the rows of a catalogue."""
        return cls(source, here, look(portal, url, _read))

    def again(self, portal: BlockingPortal, url: str, *here: str) -> Source:
        """Insert the rows into another catalogue, with the address and the directory of its test."""
        rows = []
        for table, text in self.rows:
            for old, new in zip(self.here, here, strict=True):
                text = text.replace(old, new)  # noqa: PLW2901 - one after the other
            rows.append((table, text))
        look(portal, url, partial(_insert, rows=rows))
        return replace(self.source, config={**self.source.config, "base_url": here[0]})


async def _read(connection: Any) -> list[tuple[str, str]]:
    found = [(table, await connection.fetchval(f"SELECT jsonb_agg(t)::text FROM {table} t")) for table in _TABLES]
    return [(table, rows) for table, rows in found if rows is not None]


async def _insert(connection: Any, *, rows: Sequence[tuple[str, str]]) -> None:
    for table, text in rows:
        records = f"jsonb_populate_recordset(NULL::{table}, $1::text::jsonb)"
        await connection.execute(f"INSERT INTO {table} SELECT * FROM {records}", text)
