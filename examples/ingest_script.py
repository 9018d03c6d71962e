"""Ingest a source and print the outcome of each collection.

    python examples/ingest_script.py "My Plex Server"

RETROVUE_DATABASE_URL names the database; without it the embedded server is used.
"""

import asyncio
import sys

from retrovue import CollectionFinished, Failed, Ingested, Progress, RetrovueError, Settings, ingest_source, open_store


async def main(source: str) -> int:
    """Ingest all enabled collections of a source; returns the exit status."""
    async with open_store(Settings.from_environment()) as store, ingest_source(store, source) as run:
        async for event in run.events():
            match event:
                case Progress():
                    print(f"{event.collection.name}: {event.discovered} read, {event.rate:.0f}/s")
                case CollectionFinished(outcome=Ingested(collection=collection, counts=counts)):
                    print(f"{collection.name}: {counts.created} created, {counts.skipped} known")
                case CollectionFinished(outcome=Failed(collection=collection, message=message)):
                    print(f"{collection.name}: {message}")
                case _:
                    pass
    print(f"Run {run.id}: {run.summary.status}")
    return 0 if run.summary.status == "ok" else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1])))
    except RetrovueError as error:
        sys.exit(f"{error.message} {error.hint or ''}")
