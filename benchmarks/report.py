"""Prints what was measured: a table for each scenario, and one of the targets; the same as one JSON document."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from statistics import median
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.choice import TARGETS
from benchmarks.harness import Results, Sample
from benchmarks.scenarios import Contender, Scenario

_METRICS = [field.name for field in fields(Sample)]
_LEFT: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "caption_justify": "left"}
_COLUMNS = (
    ("client", "client_cpu", "{:.2f}"),
    ("postgres", "postgres_cpu", "{:.2f}"),
    ("plex", "plex_cpu", "{:.2f}"),
    ("MiB", "peak_mb", "{:.0f}"),
    ("requests", "requests", "{:.0f}"),
    ("at once", "in_flight", "{:.0f}"),
    ("faults", "faults", "{:.0f}"),
    ("source", "from_plex", "{:.2f}"),
    ("stage", "staging", "{:.2f}"),
    ("merge", "merging", "{:.2f}"),
    ("log MB", "wal_mb", "{:.2f}"),
    ("assets written", "assets_written", "{:,.0f}"),
)
"""Heading, field of Sample, format. A column in which nothing is but 0 is left out."""
KEY = """\
wall: seconds of the whole process. client, postgres, plex: seconds of CPU. MiB: the client's peak memory. at once: the
most requests that Plex had at a time. source, stage, merge: seconds that collections waited for their next page (with
its decoding and mapping), for it to be copied to the staging table, and for the merge; added up over collections. log:
what PostgreSQL has written to its write-ahead log."""


def document(scenarios: Sequence[Scenario], results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was measured."""
    return {
        **about,
        "scenarios": [
            {
                "name": scenario.name,
                "title": scenario.title,
                "contenders": [_contender(scenario, one, results) for one in scenario.contenders],
            }
            for scenario in scenarios
        ],
        "targets": [target.evaluate(results) for target in TARGETS],
    }


def _contender(scenario: Scenario, contender: Contender, results: Results) -> dict[str, Any]:
    samples = results[scenario.name, contender.name]
    return {
        **asdict(contender),
        "layout": None if contender.layout is None else str(contender.layout),
        "medians": {name: _median(samples, name) for name in _METRICS},
        "samples": [asdict(sample) for sample in samples],
    }


def _median(samples: Sequence[Sample], name: str) -> float | None:
    values = [value for sample in samples if (value := getattr(sample, name)) is not None]
    return round(median(values), 3) if values else None


def show_scenario(console: Console, scenario: Scenario, results: Results) -> None:
    """Print a scenario's table: medians, and the range of the wall time."""
    layouts = dict.fromkeys(str(one.layout) for one in scenario.contenders if one.layout is not None)
    rows = [(one, results[scenario.name, one.name]) for one in scenario.contenders]
    medians = {one.name: {name: _median(samples, name) for name in _METRICS} for one, samples in rows}
    columns = [column for column in _COLUMNS if any(found[column[1]] for found in medians.values())]
    table = Table(title=scenario.title, caption="\n".join(layouts), box=SIMPLE, padding=(0, 1, 0, 0), **_LEFT)
    table.add_column("", no_wrap=True)
    for heading in ("by", "wall", "min–max", "items/s", *(heading for heading, _, _ in columns)):
        table.add_column(heading, justify="left" if heading == "by" else "right", no_wrap=True)
    for contender, samples in rows:
        found = medians[contender.name]
        walls = [sample.wall for sample in samples]
        rate = "" if samples[0].items is None else f"{samples[0].items / median(walls):,.0f}"
        cells = [contender.client, f"{median(walls):.2f}", f"{min(walls):.2f}–{max(walls):.2f}", rate]
        cells += ["" if (value := found[name]) is None else shape.format(value) for _, name, shape in columns]
        table.add_row(contender.name, *cells)
    console.print(table)


def show_targets(console: Console, results: Results) -> None:
    """Print the table of the targets."""
    table = Table(title="Targets", box=SIMPLE, padding=(0, 1, 0, 0), **_LEFT)
    table.add_column("")
    for heading in ("measured", "target", "moonshot", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for target in TARGETS:
        found = target.evaluate(results)
        sign = "≥" if found["at_least"] is not None else "≤"
        bound = found["at_least"] if found["at_least"] is not None else found["at_most"]
        table.add_row(
            found["name"],
            "not measured" if found["value"] is None else f"{found['value']:.2f} {found['unit']}".strip(),
            "" if bound is None else f"{sign} {bound:g}",
            "" if found["moonshot"] is None else f"{sign} {found['moonshot']:g}",
            _verdict(found),
        )
    console.print(table)


def _verdict(found: dict[str, Any]) -> str:
    if found["moonshot_met"]:
        return "moonshot"
    return {True: "met", False: "MISSED", None: ""}[found["met"]]
