"""The floor of a Jellyfin server: the least that an ingest of its films has to do, in one bare script.

As `benchmarks.floor` does for Plex, it fetches the same pages as RetroVue, a few in flight, decodes the fields that
are used, copies each page to a temporary table, and merges that into the catalogue's own asset table.

    python -m benchmarks.floor_jellyfin URL MEDIA_DIRECTORY [--concurrency N] [--fetch-only]

RETROVUE_TOKEN and RETROVUE_DATABASE_URL say the rest. It prints one JSON object.
"""

# ruff: noqa: D101, D102
import argparse
import asyncio
import datetime as dt
import gc
import os
import time
from collections import deque
from collections.abc import AsyncIterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import asyncpg
import msgspec
import orjson

from benchmarks.floor import COLUMNS, IN_FLIGHT, MERGE, STAGED, Server, ingest_all, report

PAGE = 500
STEP = PAGE - 1
"""Each page begins with the last row of the one before, as RetroVue asks for them."""
ASKED = (
    "Recursive=true&SortBy=DateCreated,SortName&SortOrder=Ascending&EnableTotalRecordCount=true"
    "&CollapseBoxSetItems=false&EnableImages=false&EnableUserData=false&IncludeItemTypes=Movie"
    "&Fields=Path,MediaSources,ProviderIds,Genres,Tags,Studios,Chapters"
)
_NAMES = [name.strip() for name in COLUMNS.split(",")]
_TICKS = 10_000


class Stream(msgspec.Struct, gc=False, rename="pascal"):
    type: str
    index: int | None = None
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    channels: int | None = None


class Source(msgspec.Struct, gc=False, rename="pascal"):
    id: str
    path: str
    container: str | None = None
    size: int | None = None
    run_time_ticks: int | None = None
    bitrate: int | None = None
    default_audio_stream_index: int | None = None
    media_streams: list[Stream] = []


class Named(msgspec.Struct, gc=False, rename="pascal"):
    name: str


class Chapter(msgspec.Struct, gc=False, rename="pascal"):
    start_position_ticks: int
    name: str | None = None


class Row(msgspec.Struct, gc=False, rename="pascal"):
    id: str
    name: str
    official_rating: str | None = None
    community_rating: float | None = None
    production_year: int | None = None
    premiere_date: str | None = None
    genres: list[str] = []
    studios: list[Named] = []
    provider_ids: dict[str, str] = {}
    media_sources: list[Source] = []
    chapters: list[Chapter] = []


class Answer(msgspec.Struct, gc=False, rename="pascal"):
    items: list[Row]
    total_record_count: int


class Library(msgspec.Struct, gc=False, rename="pascal"):
    item_id: str
    locations: list[str]


decode = msgspec.json.Decoder(Answer).decode


class Jellyfin(Server):
    def __init__(self, url: str) -> None:
        super().__init__(url, f'Authorization: MediaBrowser Client="Floor", Token="{os.environ["RETROVUE_TOKEN"]}"')

    async def pages(self, library: str) -> AsyncIterator[bytes]:
        path = f"/Items?ParentId={library}&{ASKED}&Limit={PAGE}"
        body, _ = await self.get(f"{path}&StartIndex=0")
        # What is behind the rows tells the total: decoding it costs nothing.
        total = orjson.loads(body[body.rindex(b',"TotalRecordCount"') + 1 :].join((b"{", b"")))["TotalRecordCount"]
        starts = iter(range(STEP, total - 1, STEP))
        ahead: deque[asyncio.Task[tuple[bytes, dict[str, str]]]] = deque()
        while True:
            while len(ahead) < IN_FLIGHT and (start := next(starts, None)) is not None:
                ahead.append(asyncio.ensure_future(self.get(f"{path}&StartIndex={start}")))
            yield body
            if not ahead:
                return
            body, _ = await ahead.popleft()


def to_record(row: Row, source: Source, prefix: str, cut: int, local: str) -> tuple[Any, ...]:
    uri, path = f"{prefix}{row.id}?media={source.id}", local + source.path[cut:]
    video = next(stream for stream in source.media_streams if stream.type == "Video")
    audio = next(one for one in source.media_streams if one.index == source.default_audio_stream_index)
    spans = [
        {"title": one.name, "start_ms": one.start_position_ticks // _TICKS, "end_ms": None} for one in row.chapters
    ]
    for span, following in pairwise(spans):
        span["end_ms"] = following["start_ms"]
    values = dict.fromkeys(_NAMES) | {
        "source_hash": blake2b(uri.encode(), digest_size=16).digest(),
        "canonical_hash": blake2b(path.encode(), digest_size=16).digest(),
        "source_uri": uri, "canonical_uri": path, "canonical_key": path, "part_count": 1, "size_bytes": source.size,
        "type": "movie", "title": row.name, "year": row.production_year, "rating": row.community_rating,
        "originally_aired": dt.date.fromisoformat(row.premiere_date[:10]) if row.premiere_date else None,
        "runtime_ms": source.run_time_ticks and source.run_time_ticks // _TICKS,
        "studio": row.studios[0].name if row.studios else None, "content_rating": row.official_rating,
        "container": source.container, "video_codec": video.codec, "audio_codec": audio.codec,
        "audio_channels": audio.channels, "video_resolution": "1080" if video.width == 1920 else None,
        "width": video.width, "height": video.height, "bitrate_kbps": source.bitrate and source.bitrate // 1000,
        "provider_ids": orjson.dumps({name.lower(): text for name, text in row.provider_ids.items()}).decode(),
        "tags": orjson.dumps({"genre": row.genres} if row.genres else {}).decode(),
        "chapters": orjson.dumps(spans).decode(),
    }  # fmt: skip
    return (*values.values(), None)


async def ingest(jellyfin: Jellyfin, library: Library, server: str, options: argparse.Namespace) -> tuple[int, int]:
    items, first = 0, True
    if options.fetch_only:
        # The total is known of the last page as of any other.
        async for body in jellyfin.pages(library.item_id):
            items = decode(body).total_record_count if first else items
            first = False
        return items, 0
    database = await asyncpg.connect(os.environ["RETROVUE_DATABASE_URL"].replace("+asyncpg", ""))
    collection = await database.fetchval("SELECT id FROM collection WHERE external_id = $1", library.item_id)
    await database.execute(STAGED)
    prefix, cut = f"jellyfin://{server}/items/", len(library.locations[0])
    async for body in jellyfin.pages(library.item_id):
        rows = decode(body).items[0 if first else 1 :]
        first = False
        items += len(rows)
        records = [to_record(row, one, prefix, cut, options.media) for row in rows for one in row.media_sources]
        await database.copy_records_to_table("staged", records=records)
    async with database.transaction():
        done = await database.execute(MERGE, collection)
    await database.close()
    return items, int(done.rpartition(" ")[2])


async def main(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    jellyfin = Jellyfin(options.url)
    server = orjson.loads((await jellyfin.get("/System/Info/Public"))[0])["Id"]
    libraries = msgspec.json.decode((await jellyfin.get("/Library/VirtualFolders"))[0], type=list[Library])
    items, created = await ingest_all(
        libraries, lambda library: ingest(jellyfin, library, server, options), options.concurrency
    )
    report(started, items, created)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The least that an ingest of films of Jellyfin has to do.")
    parser.add_argument("url")
    parser.add_argument("media", help="the local directory that stands for each library's folder")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--fetch-only", action="store_true", help="fetch all pages and drop them")
    gc.disable()
    asyncio.run(main(parser.parse_args()))
