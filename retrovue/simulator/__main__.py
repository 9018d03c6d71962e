"""python -m retrovue.simulator: a simulated Plex server in its own process."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from pathlib import Path

import anyio
import orjson

from retrovue.simulator.faults import Fault, lie_about_total, some, status
from retrovue.simulator.generated import Changes, GeneratedSection, Kind
from retrovue.simulator.server import SimulatedPlex
from retrovue.simulator.templates import Rates

_KINDS: tuple[Kind, ...] = ("movie", "show", "clip", "artist")
_NAMES = {"movie": "Movies", "show": "TV Shows", "clip": "Home Videos", "artist": "Music"}


def main(arguments: list[str] | None = None) -> None:
    """Serve generated libraries until SIGTERM or SIGINT, then say what was served."""
    anyio.run(_serve, _parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrovue.simulator",
        description="Serve generated Plex libraries on the loopback interface. One line of JSON on the standard output "
        "says where, another says at the end what was served.",
    )
    add = parser.add_argument
    add("--collections", type=int, default=1, metavar="N", help="number of sections (default: 1)")
    add("--items", type=int, default=1000, metavar="N", help="items in each section (default: 1000)")
    add("--kind", choices=[*_KINDS, "mixed"], default="movie", help="what the sections hold; mixed is movies and shows")
    add("--seed", type=int, default=1, metavar="N", help="the same seed makes the same library (default: 1)")
    add("--edited-percent", type=float, default=0.0, metavar="P", help="share of items with another title than before")
    add(
        "--replaced-percent",
        type=float,
        default=0.0,
        metavar="P",
        help="share of items with another file than at first",
    )
    add("--removed", type=int, default=0, metavar="N", help="items that each section has lost since")
    add("--windows-paths", action="store_true", help="paths on drives with backslashes")
    add("--port", type=int, default=0, metavar="N", help="port to listen on (default: any that is free)")
    add("--token", metavar="TOKEN", help="token to ask for (default: $RETROVUE_SIMULATOR_TOKEN, else a random one)")
    add("--latency-ms", type=float, default=0.0, metavar="MS", help="time added to each request")
    add(
        "--page-time-us-per-offset", type=float, default=0.0, metavar="US", help="time added for each row before a page"
    )
    add("--max-page-size", type=int, metavar="N", help="send no more rows at once, whatever is asked for")
    add("--refuse-sort-id", action="store_true", help="answer sort=id with 400")
    add("--fail-percent", type=float, default=0.0, metavar="P", help="share of pages that fail once with 503")
    add("--short-section", metavar="KEY", help="a section that lists one item less than it says it holds")
    add("--gzip", action="store_true", help="compress answers for clients that accept it")
    add(
        "--prerender",
        action="store_true",
        help="write all rows beforehand, in the order of their ids, so that serving them costs next to nothing",
    )
    add("--stats-file", type=Path, metavar="FILE", help="write the closing line to this file as well")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    # Sixteen random bytes stand in where nobody has chosen a token.
    token = options.token or os.environ.get("RETROVUE_SIMULATOR_TOKEN") or secrets.token_hex(16)
    sections = [_section(number, options) for number in range(1, options.collections + 1)]
    prerendered = 0
    if options.prerender:
        prerendered = sum(section.prerender() for section in sections)
    plex = SimulatedPlex(
        sections,
        token=token,
        latency=options.latency_ms / 1000,
        latency_per_row=options.page_time_us_per_offset / 1_000_000,
        max_page_size=options.max_page_size,
        refuse_sort_id=options.refuse_sort_id,
        gzip_replies=options.gzip,
        record_requests=False,
    )
    if options.fail_percent:
        unlucky = some(options.fail_percent, options.seed)
        plex.faults.add(Fault(status(503), path=lambda request: bool(request.size) and unlucky(request), attempt=1))
    if options.short_section:
        plex.faults.add(Fault(lie_about_total(1), path=f"/library/sections/{options.short_section}/all"))
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with plex.serve(port=options.port) as url:
            _say(
                {
                    "url": url,
                    "token": token,
                    "machineIdentifier": plex.machine_identifier,
                    "sections": [{"key": one.key, "title": one.title, "type": one.type} for one in sections],
                    "items": options.items * options.collections,
                    "prerenderedBytes": prerendered,
                }
            )
            before = time.process_time()
            async for _ in signals:
                break
            served = time.process_time() - before
    stats: dict[str, object] = {
        "requests": plex.request_count,
        "bytes": plex.bytes_sent,
        "maxConcurrency": plex.max_concurrency,
        "faults": plex.faults.injected,
        "cpuSeconds": time.process_time(),
        "servingCpuSeconds": served,
    }
    _say(stats)
    if options.stats_file is not None:
        await anyio.Path(options.stats_file).write_bytes(orjson.dumps(stats))


def _section(number: int, options: argparse.Namespace) -> GeneratedSection:
    kind: Kind = options.kind if options.kind != "mixed" else _KINDS[(number - 1) % 2]
    title = _NAMES[kind] if number == 1 else f"{_NAMES[kind]} {number}"
    rates = Rates(windows_paths=options.windows_paths)
    changes = Changes(options.edited_percent / 100, options.replaced_percent / 100, options.removed)
    return GeneratedSection(
        str(number), title, kind, options.items, options.seed + number, rates=rates, changes=changes
    )


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
