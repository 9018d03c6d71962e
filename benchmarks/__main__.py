"""python -m benchmarks: measures the product beside a bare floor, and prints ratios.

Starts a PostgreSQL and a simulated Plex server of its own; nothing of yours is touched. Figures differ from
machine to machine and from hour to hour: what compares are the ratios of one run.
"""

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio
import orjson
from rich.console import Console

from benchmarks.choice import FULL, USUAL
from benchmarks.database import private_server
from benchmarks.harness import BenchmarkFailed, Harness
from benchmarks.machine import describe
from benchmarks.report import KEY, document, show_scenario, show_targets
from benchmarks.scenarios import Scenario, profile, without_cli

_RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        anyio.run(_run, options, _chosen(options))
    except BenchmarkFailed as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=3, metavar="N", help="times that each contender runs (default: 3)")
    add("--items", type=int, default=100_000, metavar="N", help="items of the main job (default: 100,000)")
    add("--quick", action="store_true", help="one round of 2,000 items, to see that everything runs")
    add("--full", action="store_true", help="also ten times as many items")
    add("--only", action="append", metavar="SCENARIO", help=f"only this one; may be repeated: {', '.join(_names())}")
    add(
        "--profile",
        action="store_true",
        help="run the main job under Python's profiler, and say what took long",
    )
    add("--without-cli", action="store_true", help="let the library stand in for the command line")
    add(
        "--python",
        type=Path,
        default=Path(sys.executable),
        metavar="FILE",
        help="interpreter of the environment that is measured (default: this one)",
    )
    add(
        "--output", type=Path, default=_RESULTS, metavar="DIR", help="where the JSON goes (default: benchmarks/results)"
    )
    return parser


def _names() -> list[str]:
    return [make(100_000).name for make in FULL]


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    if options.quick:
        options.items, options.rounds = 2000, 1
    if options.items < 100 or options.rounds < 1:
        raise BenchmarkFailed("At least 100 items and 1 round are needed.")
    if options.profile:
        return [profile(options.items)]
    makers = FULL if options.full or options.only else USUAL
    scenarios = [make(options.items) for make in makers]
    unknown = sorted(set(options.only or ()) - {one.name for one in scenarios})
    if unknown:
        raise BenchmarkFailed(f"There is no scenario {', '.join(unknown)}; there are {', '.join(_names())}.")
    if options.only:
        scenarios = [one for one in scenarios if one.name in options.only]
    if options.without_cli:
        scenarios = [kept for one in scenarios if (kept := without_cli(one)) is not None]
    return scenarios


async def _run(options: argparse.Namespace, scenarios: list[Scenario]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    began = dt.datetime.now(dt.UTC)
    about = {"began": began.isoformat(timespec="seconds"), "items": options.items, "rounds": options.rounds}
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="retrovue-bench-") as scratch:
        async with private_server(Path(scratch)) as databases:
            machine["postgresql"] = await databases.settings()
            harness = Harness(
                databases,
                Path(scratch),
                options.rounds,
                lambda line: print(line, file=sys.stderr),
                # Not resolved: the interpreter of an environment is a link, and belongs to it by its place.
                python=options.python.absolute(),
            )
            for scenario in scenarios:
                await harness.run(scenario)
                show_scenario(console, scenario, harness.results)
    console.print(KEY, highlight=False)
    show_targets(console, harness.results)
    console.print(orjson.dumps(machine, option=orjson.OPT_INDENT_2).decode(), highlight=False)
    report = document(scenarios, harness.results, about | {"machine": machine})
    output = anyio.Path(options.output)
    await output.mkdir(parents=True, exist_ok=True)
    file = output / f"{began:%Y%m%d-%H%M%S}.json"
    await file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    console.print(f"Written to {file.name} in the directory of results.")


if __name__ == "__main__":
    sys.exit(main())
