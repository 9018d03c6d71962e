"""The simulated Plex server of a benchmark, in a process of its own, with its pages written beforehand.

The standard input takes one JSON object a line: how to answer from now on. Each is answered, on the standard
output, when it holds, with what has been served since the one before. The server ends with its input.
"""

import argparse
import gc
import sys
import time
from typing import Any

import anyio
import orjson

from retrovue.simulator import LEAN, Changes, Fault, GeneratedSection, SimulatedPlex, View
from retrovue.simulator.faults import some, status

_NAMES = {"movie": "Movies", "show": "TV Shows"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plex", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=list(_NAMES))
    parser.add_argument("sizes", type=int, nargs="+", metavar="ITEMS", help="items of each section")
    parser.add_argument("--token", required=True)
    anyio.run(_serve, parser.parse_args())


async def _serve(options: argparse.Namespace) -> None:
    sections = [
        GeneratedSection(str(number), f"{_NAMES[options.kind]} {number:03}", options.kind, size, number)
        for number, size in enumerate(options.sizes, start=1)
    ]
    for section in sections:
        section.prerender()
        if options.kind == "show":
            # The product lists shows without their ids at other providers.
            section.prerender(View(guids=False), LEAN._replace(guids=False))
    gc.freeze()
    plex = SimulatedPlex(sections, token=options.token, record_requests=False)
    async with plex.serve() as url:
        _say({"url": url})
        faults, spent, changes = 0, time.process_time(), Changes()
        async for line in anyio.wrap_file(sys.stdin):
            cpu = time.process_time() - spent
            served: dict[str, Any] = {"requests": plex.request_count, "bytes": plex.bytes_sent, "cpu": cpu}
            served |= {"in_flight": plex.max_concurrency, "faults": plex.faults.injected - faults}
            order = orjson.loads(line)
            after = Changes(**order.pop("changes"))
            if after != changes:
                for section in sections:
                    section.change(after)
                gc.freeze()
                changes = after
            _answer_like(plex, **order)
            _say(served)
            faults, spent = plex.faults.injected, time.process_time()


def _answer_like(plex: SimulatedPlex, latency_ms: float, us_per_offset: float, fail_percent: float) -> None:
    plex.latency = latency_ms / 1000
    plex.latency_per_row = us_per_offset / 1_000_000
    plex.faults.clear()
    if fail_percent:
        unlucky = some(fail_percent)
        plex.faults.add(Fault(status(503), path=lambda request: bool(request.size) and unlucky(request), attempt=1))
    plex.reset_counters()


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
