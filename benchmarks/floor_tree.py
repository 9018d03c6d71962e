"""The floor of a tree: the least that an ingest of directories has to do, in one bare script.

It lists each directory, asks for the size of each file, reads title and year in its name, copies a thousand rows at a
time to a temporary table, and merges that into the catalogue's own asset table in one statement a collection. It
looks neither for what has to be left out nor for whether a directory changes meanwhile.

    python -m benchmarks.floor_tree ROOT [--fetch-only]

With --fetch-only it lists and asks for sizes, and nothing else. RETROVUE_DATABASE_URL says the rest. It prints one
JSON object.
"""

import argparse
import asyncio
import gc
import os
import re
import time
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import asyncpg

from benchmarks.floor import COLUMNS, MERGE, STAGED, report

BATCH = 1000
_NAME = re.compile(r"(?P<title>.+) \((?P<year>[0-9]{4})\)\.(?P<container>[a-z0-9]+)")
_NAMES = [name.strip() for name in COLUMNS.split(",")]


def files(directory: str) -> Iterator[tuple[str, str, int]]:
    """Yield the path, the name and the size of each file below a directory."""
    waiting = [directory]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.path, entry.name, entry.stat(follow_symlinks=False).st_size


def to_record(path: str, name: str, size: int) -> tuple[Any, ...]:
    """Make the row of a film."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise SystemExit(f"{name} isn't the name of a film with its year")
    uri = "file://" + quote(path)
    values = dict.fromkeys(_NAMES) | {
        "source_hash": blake2b(uri.encode(), digest_size=16).digest(),
        "canonical_hash": blake2b(path.encode(), digest_size=16).digest(),
        "source_uri": uri, "canonical_uri": path, "canonical_key": path, "part_count": 1, "size_bytes": size,
        "type": "movie", "title": match["title"], "year": int(match["year"]), "container": match["container"],
        "provider_ids": "{}", "tags": "{}",
    }  # fmt: skip
    return (*values.values(), None)


async def main(root: str, *, only_list: bool) -> None:
    began = time.perf_counter()
    items = created = 0
    if only_list:
        items = sum(1 for _ in files(root))
    else:
        database = await asyncpg.connect(os.environ["RETROVUE_DATABASE_URL"].replace("+asyncpg", ""))
        await database.execute(STAGED)
        for name in sorted(os.listdir(root)):  # noqa: PTH208 - one collection each
            records: list[tuple[Any, ...]] = []
            for path, file, size in files(f"{root}/{name}"):
                records.append(to_record(path, file, size))
                if len(records) == BATCH:
                    await database.copy_records_to_table("staged", records=records)
                    items += len(records)
                    records.clear()
            await database.copy_records_to_table("staged", records=records)
            items += len(records)
            async with database.transaction():
                collection = await database.fetchval("SELECT id FROM collection WHERE external_id = $1", name)
                created += int((await database.execute(MERGE, collection)).rpartition(" ")[2])
                await database.execute("TRUNCATE staged")
        await database.close()
    report(began, items, created)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The least that an ingest of directories has to do.")
    parser.add_argument("root")
    parser.add_argument("--fetch-only", action="store_true", help="list all directories and ask for sizes")
    options = parser.parse_args()
    gc.disable()
    asyncio.run(main(options.root, only_list=options.fetch_only))
