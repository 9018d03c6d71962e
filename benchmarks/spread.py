"""python -m benchmarks.spread: enriches generated files with one worker on one core, then with two on two cores.

Each worker is a process of `retrovue worker`, bound to a core of its own; PostgreSQL may use all cores. Before each
round the results of the one before are forgotten. What compares is the ratio of one run: the machine must be idle.
Where others are at work, the workers' processor time still says how much of it the spreading itself costs.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import orjson

from benchmarks.machine import describe
from benchmarks.probe import make_files
from retrovue.store.addresses import database_url
from retrovue.store.embedded import embedded_server
from retrovue.store.session import Store

_FORGET = (
    "DELETE FROM asset_enrichment",
    "UPDATE asset SET state = 'enriching'",
)
WANTED = 1.6


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spread", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000, metavar="N", help="files (default: 20,000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that each is measured (default: 3)")
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    if find_spec("av") is None or len(cores) < 2:
        sys.stderr.write("It takes PyAV (pip install 'retrovue[probe]') and two cores.\n")
        return 1
    return anyio.run(_measure, max(1, options.files), max(1, options.rounds), cores)


async def _measure(files: int, rounds: int, cores: Sequence[int]) -> int:
    with tempfile.TemporaryDirectory(prefix="retrovue-spread-") as scratch:
        media = Path(scratch) / "media" / "Films"
        media.mkdir(parents=True)
        make_files(media, files)
        async with embedded_server(Path(scratch) / "home") as server:
            await server.ensure_database("spread")
            environment = {**os.environ, "RETROVUE_DATABASE_URL": server.url("spread"), "RETROVUE_HOME": scratch}
            _run(environment, "db", "upgrade")
            _run(environment, "source", "add", "--type", "filesystem", "--name", "Files", "--path", str(media.parent),
                 "--discover")  # fmt: skip
            _run(environment, "collection", "update", "Films", "--enable")
            _run(environment, "source", "ingest", "Files")
            _run(environment, "enricher", "add", "--type", "probe", "--name", "probe")
            _run(environment, "collection", "attach-enricher", "Films", "probe")
            seconds: dict[int, list[float]] = {1: [], 2: []}
            spent: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(rounds):
                for workers, taken in seconds.items():
                    await _forget(server.url("spread"))
                    before = _cpu()
                    taken.append(_enrich(environment, cores[:workers], files))
                    spent[workers].append(_cpu() - before)
    one, two = (median(seconds[workers]) for workers in (1, 2))
    cpu_of_one, cpu_of_two = (median(spent[workers]) for workers in (1, 2))
    machine = describe()
    print(f"{files:,} files, medians of {rounds} rounds, {machine['cores']} cores ({machine['processor']})")
    print(f"one worker on one core: {one:.1f} s; two on two cores: {two:.1f} s; ratio {one / two:.2f}, {WANTED} wanted")
    print(f"processor time without PostgreSQL's: {cpu_of_one:.1f} s and {cpu_of_two:.1f} s")
    return 0 if one / two >= WANTED else 1


def _run(environment: Mapping[str, str], *arguments: str) -> Any:
    command = [sys.executable, "-m", "retrovue", *arguments, "--json"]
    done = subprocess.run(command, env=dict(environment), capture_output=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(f"{' '.join(arguments)}: {done.stderr.decode()}")
        raise SystemExit(1)
    return orjson.loads(done.stdout)


def _enrich(environment: Mapping[str, str], cores: Sequence[int], files: int) -> float:
    """Return the seconds that workers take for all files, once they are there."""
    with ExitStack() as stack:
        for core in cores:
            stack.enter_context(_worker(environment, core))
        began = time.perf_counter()
        done = _run(environment, "collection", "enrich", "Films", "--enqueue", "--wait")
        taken = time.perf_counter() - began
    if (done["succeeded"], done["failed"]) != (files, 0):
        sys.stderr.write(f"{done['succeeded']} of {files} files were enriched.\n")
        raise SystemExit(1)
    return taken


@contextmanager
def _worker(environment: Mapping[str, str], core: int) -> Iterator[None]:
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "retrovue", "worker", "--name", f"core {core}"]
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or b"works jobs" not in process.stdout.readline():
                raise SystemExit(1)
            yield
        finally:
            process.terminate()
            process.wait()


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def _forget(url: str) -> None:
    async with Store(database_url(url)) as store, store.data.begin() as connection:
        for statement in _FORGET:
            await connection.exec_driver_sql(statement)


if __name__ == "__main__":
    sys.exit(main())
