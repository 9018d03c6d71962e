"""Lets the simulated server of a benchmark answer as the harness says, line by line.

The standard input takes one JSON object a line: how to answer from now on. Each is answered, on the standard
output, when it holds, with what has been served since the one before. The server ends with its input.
"""

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

import anyio
import orjson

from retrovue.simulator import Changes, Fault
from retrovue.simulator.faults import some, status
from retrovue.simulator.serving import SimulatedServer


async def serve(server: SimulatedServer, change: Callable[[Changes], None]) -> None:
    """Serve until the input ends; ``change`` makes the libraries what they have become."""
    async with server.serve() as url:
        _say({"url": url})
        faults, spent, changes = 0, time.process_time(), Changes()
        async for line in anyio.wrap_file(sys.stdin):
            cpu = time.process_time() - spent
            served: dict[str, Any] = {"requests": server.request_count, "bytes": server.bytes_sent, "cpu": cpu}
            served |= {"in_flight": server.max_concurrency, "faults": server.faults.injected - faults}
            order = orjson.loads(line)
            after = Changes(**order.pop("changes"))
            if after != changes:
                change(after)
                gc.freeze()
                changes = after
            _answer_like(server, **order)
            _say(served)
            faults, spent = server.faults.injected, time.process_time()


def _answer_like(server: SimulatedServer, latency_ms: float, us_per_offset: float, fail_percent: float) -> None:
    server.latency = latency_ms / 1000
    server.latency_per_row = us_per_offset / 1_000_000
    server.faults.clear()
    if fail_percent:
        unlucky = some(fail_percent)
        server.faults.add(Fault(status(503), path=lambda request: bool(request.size) and unlucky(request), attempt=1))
    server.reset_counters()


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()
