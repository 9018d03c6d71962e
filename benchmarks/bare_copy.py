"""Copies the rows of a catalogue's assets into a bare table: the least that PostgreSQL has to do for their bytes.

    python -m benchmarks.bare_copy FILE

FILE has the rows as COPY writes them in binary. RETROVUE_DATABASE_URL says the rest. It prints one JSON object.
"""

import asyncio
import os
import sys
import time

import asyncpg
import orjson

TABLE = "bare_asset"


async def main(file: str) -> None:
    began = time.perf_counter()
    database = await asyncpg.connect(os.environ["RETROVUE_DATABASE_URL"].replace("+asyncpg", ""))
    # Without its indexes, constraints and triggers; columns that can't be null stay so.
    await database.execute(f"CREATE TABLE {TABLE} (LIKE asset)")
    copied = int((await database.copy_to_table(TABLE, source=file, format="binary")).rpartition(" ")[2])
    await database.close()
    report = {
        "duration_seconds": time.perf_counter() - began, "total_source_items": copied, "total_created_assets": 0
    }  # fmt: skip
    sys.stdout.write(orjson.dumps(report).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
