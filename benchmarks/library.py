"""A service that embeds the library: one ingest or sync, told in the words of `retrovue source ingest --json`."""

import argparse
import cProfile
import datetime as dt
import gc
import sys
from contextlib import nullcontext

import anyio
import orjson
from msgspec.structs import asdict

from retrovue.core.config import Settings
from retrovue.core.results import IngestSummary
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.ingest.sync import sync_source
from retrovue.store.opening import open_store


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--sync", action="store_true", help="sync instead")
    parser.add_argument("--sweep-every", type=int, metavar="SECONDS", help="of a sync: read all after so long")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--profile", metavar="FILE", help="write where the time went, as cProfile does")
    options = parser.parse_args()
    # As docs/performance.md advises services whose process has nothing else to do meanwhile.
    gc.freeze()
    gc.set_threshold(250_000, 20, 100)
    with cProfile.Profile() if options.profile else nullcontext() as profile:
        summary = anyio.run(
            _ingest, options.source, options.concurrency, options.dry_run, options.sync, options.sweep_every
        )
    if profile is not None:
        profile.dump_stats(options.profile)
    sys.stdout.write(orjson.dumps(_document(summary), default=str).decode() + "\n")
    return 0 if summary.status == "ok" else 1


async def _ingest(
    source: str, concurrency: int, dry_run: bool, syncing: bool, sweep_every: int | None
) -> IngestSummary:
    settings = Settings.from_environment()
    sweep = None if sweep_every is None else dt.timedelta(seconds=sweep_every)
    options = IngestOptions(concurrency=concurrency, dry_run=dry_run, sweep_every=sweep)
    async with (
        open_store(settings, connections=concurrency, read_only=dry_run) as store,
        (sync_source if syncing else ingest_source)(store, source, options) as run,
    ):
        async for _ in run:
            pass
    return run.summary


def _document(summary: IngestSummary) -> dict[str, object]:
    return {
        "status": summary.status,
        "total_created_assets": summary.total("created"),
        "total_skipped_assets": summary.total("skipped"),
        "total_source_items": summary.total("source_items"),
        **{f"total_{name}": summary.total(name) for name in ("refreshed", "replaced", "missing")},
        "collection_results": [{"durations": asdict(one.durations)} for one in summary.ingested],
        "errors": [{"code": one.code, "message": one.message} for one in summary.failed],
        "duration_seconds": summary.duration,
    }


if __name__ == "__main__":
    sys.exit(main())
