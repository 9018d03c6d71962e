"""The floor: the least that an ingest has to do, in one bare script.

It fetches pages of 1,000 rows, a few in flight; decodes the fields that are used; maps them to rows; copies each
page to a temporary table, and merges that into the catalogue's own asset table (same columns, indexes and
constraints) in one statement a collection. It does not prove that the listing is complete, retries nothing, keeps
no audit trail, takes no locks, counts no reasons. Its HTTP is a socket and a Content-Length, since a client library
would add to the floor what is not needed. The collector is off: nothing here makes cycles.

    python -m benchmarks.floor URL MEDIA_DIRECTORY [--concurrency N] [--fetch-only | --decode-only]

RETROVUE_TOKEN and RETROVUE_DATABASE_URL say the rest. It prints one JSON object.
"""

# ruff: noqa: D101, D102
import argparse
import asyncio
import datetime as dt
import gc
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import msgspec
import orjson

PAGE = 1000
LEAN = "&excludeElements=Actor,Country,Director,Mood,Producer,Role,Similar,Writer&excludeFields=summary,tagline"
IN_FLIGHT = 4
TYPES = {"movie": "1", "show": "4"}
# Every column that the product fills, in the order of the records below.
COLUMNS = (
    "source_hash, canonical_hash, source_uri, canonical_uri, canonical_key, part_count, size_bytes, type, title,"
    " show_title, season_number, episode_number, year, originally_aired, runtime_ms, edition, studio, content_rating,"
    " rating, container, video_codec, audio_codec, audio_channels, video_resolution, width, height, bitrate_kbps,"
    " provider_ids, tags, chapters, markers"
)
STAGED = f"CREATE TEMPORARY TABLE staged AS SELECT {COLUMNS}, NULL::jsonb AS parts FROM asset LIMIT 0"
MERGE = f"""
    INSERT INTO asset (collection_uuid, {COLUMNS}) SELECT $1, {COLUMNS} FROM staged
    ON CONFLICT (collection_uuid, source_hash) DO NOTHING
"""
MERGE_PARTS = """
    INSERT INTO asset_part SELECT uuid, file.position, file.local_path, file.size_bytes, file.duration_ms
    FROM staged JOIN asset USING (source_hash), ROWS FROM (
        jsonb_to_recordset(staged.parts) AS (local_path text, size_bytes bigint, duration_ms bigint)
    ) WITH ORDINALITY AS file (local_path, size_bytes, duration_ms, position)
    WHERE staged.part_count > 1 AND asset.collection_uuid = $1 ON CONFLICT DO NOTHING
"""


class Tag(msgspec.Struct, gc=False):
    tag: str


class Guid(msgspec.Struct, gc=False):
    id: str


class Part(msgspec.Struct, gc=False):
    file: str
    size: int | None = None
    duration: int | None = None


class Media(msgspec.Struct, gc=False, rename="camel"):
    id: int
    duration: int | None = None
    bitrate: int | None = None
    width: int | None = None
    height: int | None = None
    audio_channels: int | None = None
    audio_codec: str | None = None
    video_codec: str | None = None
    video_resolution: str | None = None
    container: str | None = None
    parts: list[Part] = msgspec.field(default=[], name="Part")


class Row(msgspec.Struct, gc=False, rename="camel"):
    rating_key: str
    type: str
    title: str
    guid: str = ""
    studio: str | None = None
    content_rating: str | None = None
    edition_title: str | None = None
    year: int | None = None
    originally_available_at: str | None = None
    duration: int | None = None
    rating: float | None = None
    audience_rating: float | None = None
    index: int | None = None
    parent_index: int | None = None
    grandparent_title: str | None = None
    grandparent_rating_key: str | None = None
    media: list[Media] = msgspec.field(default=[], name="Media")
    guids: list[Guid] = msgspec.field(default=[], name="Guid")
    genres: list[Tag] = msgspec.field(default=[], name="Genre")
    labels: list[Tag] = msgspec.field(default=[], name="Label")
    collections: list[Tag] = msgspec.field(default=[], name="Collection")
    chapters: msgspec.Raw | None = msgspec.field(default=None, name="Chapter")
    markers: msgspec.Raw | None = msgspec.field(default=None, name="Marker")


class Container(msgspec.Struct, gc=False):
    rows: list[Row] = msgspec.field(default=[], name="Metadata")


class Answer(msgspec.Struct, gc=False):
    container: Container = msgspec.field(name="MediaContainer")


decode = msgspec.json.Decoder(Answer).decode

LibraryT = TypeVar("LibraryT")


class Server:
    """A media server, asked over connections that are kept; ``headers`` are the lines of each request."""

    def __init__(self, url: str, headers: str) -> None:
        self.place = urlsplit(url)
        self.headers = headers
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str) -> tuple[bytes, dict[str, str]]:
        host, port = self.place.hostname, self.place.port
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(host, port, limit=1 << 22)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{self.headers}\r\n\r\n".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.idle.append((reader, writer))
        if " 200 " not in lines[0]:
            raise SystemExit(f"{path} was answered with {lines[0]}")
        return body, headers


async def ingest_all(
    libraries: Sequence[LibraryT], ingest: Callable[[LibraryT], Awaitable[tuple[int, int]]], concurrency: int
) -> tuple[int, int]:
    """Ingest libraries, a few at a time; returns the sums of their items and of the created assets."""
    at_once = asyncio.Semaphore(concurrency)

    async def ingest_one(library: LibraryT) -> tuple[int, int]:
        async with at_once:
            return await ingest(library)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ingest_one(library)) for library in libraries]
    results = [task.result() for task in tasks]
    return sum(items for items, _ in results), sum(created for _, created in results)


def report(started: float, items: int, created: int) -> None:
    """Print the JSON object of a floor; ``started`` is a time of `time.perf_counter`."""
    seconds = time.perf_counter() - started
    document = {"duration_seconds": seconds, "total_source_items": items, "total_created_assets": created}
    sys.stdout.write(orjson.dumps(document).decode() + "\n")


class Plex(Server):
    def __init__(self, url: str, wishes: str) -> None:
        super().__init__(url, f"Accept: application/json\r\nX-Plex-Token: {os.environ['RETROVUE_TOKEN']}")
        self.wishes = wishes

    async def pages(self, section: str, kind: str) -> Any:
        path = f"/library/sections/{section}/all?type={kind}&includeGuids=1&sort=id&X-Plex-Container-Size={PAGE}"
        path += self.wishes
        body, headers = await self.get(f"{path}&X-Plex-Container-Start=0")
        total = int(headers.get("x-plex-container-total-size", 0))
        starts = iter(range(PAGE, total, PAGE))
        ahead: deque[asyncio.Task[tuple[bytes, dict[str, str]]]] = deque()
        for left in range(total, 0, -PAGE):
            while len(ahead) < IN_FLIGHT and (start := next(starts, None)) is not None:
                ahead.append(asyncio.ensure_future(self.get(f"{path}&X-Plex-Container-Start={start}")))
            yield body, min(left, PAGE)
            if ahead:
                body = (await ahead.popleft())[0]


def to_records(row: Row, prefix: str, cut: int, local: str, seen: set[bytes], shows: dict[str, Row]) -> Any:
    show = shows.get(row.grandparent_rating_key or "", row)
    aired = row.originally_available_at
    known = (row.audience_rating, row.rating, show.audience_rating, show.rating)
    ratings = [value for value in known if value is not None and 0 <= value <= 10]
    tags = {}
    for name in ("genres", "labels", "collections"):
        if words := getattr(row, name) or getattr(show, name):
            tags[name[:-1]] = [word.tag for word in words]
    ids = dict(guid.id.split("://", 1) for guid in row.guids)
    if row.guid.startswith("plex://"):
        ids["plex"] = row.guid.rpartition("/")[2]
    for media in row.media:
        uri = f"{prefix}{row.rating_key}?media={media.id}"
        paths = [local + part.file[cut:] for part in media.parts]
        key = paths[0] if len(paths) == 1 else orjson.dumps(paths).decode()
        canonical_hash = blake2b(key.encode(), digest_size=16).digest()
        if canonical_hash in seen:
            continue
        seen.add(canonical_hash)
        files = None
        if len(paths) > 1:
            parts = zip(paths, media.parts, strict=True)
            files = [{"local_path": path, "size_bytes": p.size, "duration_ms": p.duration} for path, p in parts]
        yield (
            blake2b(uri.encode(), digest_size=16).digest(), canonical_hash, uri, paths[0], key, len(paths),
            sum(part.size or 0 for part in media.parts), row.type, row.title, row.grandparent_title, row.parent_index,
            row.index, row.year, dt.date.fromisoformat(aired[:10]) if aired else None,
            media.duration or row.duration, row.edition_title, row.studio or show.studio,
            row.content_rating or show.content_rating, ratings[0] if ratings else None, media.container,
            media.video_codec, media.audio_codec, media.audio_channels, media.video_resolution, media.width,
            media.height, media.bitrate, orjson.dumps(ids).decode(), orjson.dumps(tags).decode(),
            row.chapters and bytes(row.chapters).decode(), row.markers and bytes(row.markers).decode(),
            files and orjson.dumps(files).decode(),
        )  # fmt: skip


async def ingest(plex: Plex, section: dict[str, Any], machine: str, options: argparse.Namespace) -> tuple[int, int]:
    key, kind = section["key"], TYPES[section["type"]]
    cut = len(section["Location"][0]["path"])
    items, seen, shows = 0, set[bytes](), dict[str, Row]()
    if options.fetch_only or options.decode_only:
        async for body, size in plex.pages(key, kind):
            items += size if options.fetch_only else len(decode(body).container.rows)
        return items, 0
    if section["type"] == "show":
        async for body, _ in plex.pages(key, "2"):
            shows.update((row.rating_key, row) for row in decode(body).container.rows)
    database = await asyncpg.connect(os.environ["RETROVUE_DATABASE_URL"].replace("+asyncpg", ""))
    collection = await database.fetchval("SELECT id FROM collection WHERE external_id = $1", key)
    await database.execute(STAGED)
    async for body, _ in plex.pages(key, kind):
        rows = decode(body).container.rows
        items += len(rows)
        prefix = f"plex://{machine}/library/metadata/"
        records = [one for row in rows for one in to_records(row, prefix, cut, options.media, seen, shows)]
        await database.copy_records_to_table("staged", records=records)
    async with database.transaction():
        done = await database.execute(MERGE, collection)
        await database.execute(MERGE_PARTS, collection)
    await database.close()
    return items, int(done.rpartition(" ")[2])


async def main(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    plex = Plex(options.url, LEAN if options.lean else "")
    machine = orjson.loads((await plex.get("/identity"))[0])["MediaContainer"]["machineIdentifier"]
    sections = orjson.loads((await plex.get("/library/sections"))[0])["MediaContainer"]["Directory"]
    items, created = await ingest_all(
        sections, lambda section: ingest(plex, section, machine, options), options.concurrency
    )
    report(started, items, created)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The least that an ingest has to do.")
    parser.add_argument("url")
    parser.add_argument("media", help="the local directory that stands for each library's folder")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--fetch-only", action="store_true", help="fetch all pages and drop them")
    parser.add_argument(
        "--lean", action="store_true", help="ask for rows without what no asset holds, as the product does"
    )
    parser.add_argument("--decode-only", action="store_true", help="fetch and decode all pages and drop them")
    gc.disable()
    asyncio.run(main(parser.parse_args()))
