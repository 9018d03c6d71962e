"""The ratios that are promised, worked out from the medians."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.harness import Results

Median = Callable[[str, str, str], float]
"""Scenario, contender, field of Sample → the median; raises KeyError if it was not measured."""


@dataclass(frozen=True, slots=True)
class Target:
    """One ratio, or one figure, and what it should be."""

    name: str
    measure: Callable[[Median], float]
    at_most: float | None = None
    at_least: float | None = None
    moonshot: float | None = None
    unit: str = "×"

    def evaluate(self, results: Results) -> dict[str, Any]:
        """Return the measured value and whether it is good enough; None for what was not measured."""

        def the_median(scenario: str, contender: str, field: str) -> float:
            return float(median([getattr(sample, field) for sample in results[scenario, contender]]))

        try:
            value = self.measure(the_median)
        except KeyError:
            return {"name": self.name, "value": None} | self._wanted() | {"met": None, "moonshot_met": None}
        return {
            "name": self.name,
            "value": round(value, 3),
            **self._wanted(),
            "met": None if self.at_most is None and self.at_least is None else self._reaches(value, self._bound),
            "moonshot_met": None if self.moonshot is None else self._reaches(value, self.moonshot),
        }

    def _wanted(self) -> dict[str, Any]:
        return {"unit": self.unit, "at_most": self.at_most, "at_least": self.at_least, "moonshot": self.moonshot}

    @property
    def _bound(self) -> float:
        bound = self.at_most if self.at_least is None else self.at_least
        return 0.0 if bound is None else bound

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least is not None else value <= bound


def _wall(over: tuple[str, str], under: tuple[str, str], field: str = "wall") -> Callable[[Median], float]:
    return lambda of: of(*over, field) / of(*under, field)


def _rate(of: Median, scenario: str, contender: str) -> float:
    return of(scenario, contender, "items") / of(scenario, contender, "wall")


def _ratios(name: str, scenario: str, contender: str, *, at_most: float | None = None) -> tuple[Target, Target]:
    over, under = (scenario, contender), (scenario, "re-ingest")
    return (
        Target(f"{name}, wall time", _wall(over, under), at_most=at_most),
        Target(f"{name}, CPU of client and PostgreSQL", _wall(over, under, "cpu"), at_most=at_most),
    )


def _beside_floor(
    name: str, over: tuple[str, str], under: tuple[str, str], *, at_most: float, moonshot: float | None = None
) -> tuple[Target, Target]:
    return (
        Target(name, _wall(over, under), at_most=at_most, moonshot=moonshot),
        Target("… CPU of client and PostgreSQL", _wall(over, under, "cpu")),
    )


_SYNCS = ("nothing changed, all read", "1 % changed, all read", "10 % removed")
_FIRST, _FLOOR, _MILLION = ("main", "first"), ("main", "floor"), ("million", "first")
_TREE = ("tree", "ten times as many")
_ONE_TREE, _JELLYFIN, _ROWS, _SHAPES = "one-tree", "jellyfin", "rows", "shapes"
_ALONE, _TOGETHER = ("small", "concurrency 1"), ("small", "concurrency 8")

TARGETS = (
    Target("First ingest, wall time ÷ floor", _wall(_FIRST, _FLOOR), at_most=1.25, moonshot=1.0),
    Target("First ingest through the library ÷ floor", _wall(("main", "library"), _FLOOR), at_most=1.25, moonshot=1.0),
    Target("First ingest ÷ floor with requests as lean as ours", _wall(_FIRST, ("main", "floor, lean requests"))),
    Target("First ingest ÷ floor, without the start of either process", _wall(_FIRST, _FLOOR, "work")),
    Target("Re-ingest ÷ first ingest", _wall(("main", "re-ingest"), _FIRST), at_most=0.25, moonshot=0.15),
    Target("Dry-run, empty catalogue ÷ first ingest", _wall(("main", "dry-run"), _FIRST), at_most=0.5, moonshot=0.35),
    Target("Dry-run, nothing new ÷ first ingest", _wall(("main", "dry-run, nothing new"), _FIRST), at_most=0.5),
    *_ratios("Sync, nothing changed ÷ re-ingest", "sync", "nothing changed", at_most=1.2),
    *_ratios("Sync, nothing changed, all read ÷ re-ingest", "sync", "nothing changed, all read", at_most=1.2),
    *_ratios("Sync, 1 % changed ÷ re-ingest", "sync", "1 % changed", at_most=1.5),
    *_ratios("Sync, 1 % changed, all read for the first time ÷ re-ingest", "sync", "1 % changed, all read"),
    *_ratios("Sync, another 1 % changed, all read ÷ re-ingest", "sync", "another 1 % changed, all read", at_most=1.5),
    *_ratios("Sync, all read after changes ÷ re-ingest", "sync", "all read after changes", at_most=1.2),
    *_ratios("Sync, 10 % removed ÷ re-ingest", "sync", "10 % removed", at_most=2),
    Target(
        "Rows of assets written by a sync that finds nothing",
        lambda of: of("sync", "nothing changed", "assets_written"),
        at_most=0,
        unit="",
    ),
    Target(
        "PostgreSQL's log of a sync that finds nothing, in MB",
        lambda of: of("sync", "nothing changed", "wal_mb"),
        unit="MB",
    ),
    *(
        Target(
            f"Peak memory of a sync, {name}, ten times as many items",
            _wall(("sync-million", name), ("sync", name), "peak_mb"),
            at_most=1.1,
        )
        for name in _SYNCS
    ),
    Target(
        "… the most of these, in MiB",
        lambda of: max(of("sync-million", name, "peak_mb") for name in _SYNCS),
        at_most=200,
        unit="MiB",
    ),
    Target("Peak memory, ten times as many items", _wall(_MILLION, _FIRST, "peak_mb"), at_most=1.1),
    Target("… in MiB", lambda of: of(*_MILLION, "peak_mb"), at_most=120, unit="MiB"),
    Target("… of a dry-run, in MiB", lambda of: of("million", "dry-run", "peak_mb"), at_most=130, unit="MiB"),
    Target(
        "Items a second, ten times as many items",
        lambda of: _rate(of, *_MILLION) / _rate(of, *_FIRST),
        at_least=0.95,
    ),
    Target("Peak memory of a tree, ten times as many files", _wall(_TREE, ("tree", "first"), "peak_mb"), at_most=1.1),
    Target("Peak memory of a tree, in MiB", lambda of: of(*_TREE, "peak_mb"), at_most=200, unit="MiB"),
    Target(
        "Peak memory, all files in one directory ÷ each in its own",
        _wall(("tree", "in one directory"), _TREE, "peak_mb"),
    ),
    Target(
        "Files a second, ten times as many",
        lambda of: _rate(of, *_TREE) / _rate(of, "tree", "first"),
        at_least=0.85,
    ),
    Target("First ingest with --atomic ÷ without", _wall(("unit", "--atomic"), ("unit", "apart")), at_most=1.3),
    Target("… a re-ingest", _wall(("unit", "--atomic, again"), ("unit", "apart, again")), at_most=1.3),
    Target(
        "… peak memory, ten times as many items",
        _wall(("unit-million", "--atomic"), ("unit", "--atomic"), "peak_mb"),
        at_most=1.1,
    ),
    Target("50 ms a request ÷ none", _wall(("latency", "50 ms"), ("latency", "0 ms")), at_most=1.2, moonshot=1.05),
    Target("64 collections of one page, concurrency 1 ÷ 8", _wall(_ALONE, _TOGETHER), at_least=5, moonshot=7),
    Target("64 collections, without the start of either process", _wall(_ALONE, _TOGETHER, "work")),
    Target(
        "64 collections of one full page, concurrency 1 ÷ 8",
        _wall(("small-full", "concurrency 1"), ("small-full", "concurrency 8")),
    ),
    Target(
        "Requests per 100,000 items",
        lambda of: of(*_FIRST, "requests") / of(*_FIRST, "items") * 100_000,
        at_most=110,
        unit="",
    ),
    Target(
        "Start of the command line",
        lambda of: of("start", "retrovue --help", "wall"),
        at_most=0.35,
        moonshot=0.15,
        unit="s",
    ),
    Target(
        "Start of a command that opens the catalogue, in seconds of CPU",
        lambda of: of("start", "retrovue source list", "client_cpu"),
        at_most=0.35,
        moonshot=0.25,
        unit="s",
    ),
    Target(
        "200 tiny collections ÷ floor", _wall((_SHAPES, "many tiny first"), (_SHAPES, "many tiny floor")), at_most=1.5
    ),
    *_beside_floor("First ingest of a tree ÷ its floor", (_ONE_TREE, "first"), (_ONE_TREE, "floor"), at_most=1.5),
    *_beside_floor(
        "… unchanged, again ÷ scandir and stat",
        (_ONE_TREE, "again"),
        (_ONE_TREE, "scandir and stat"),
        at_most=3,
        moonshot=1.5,
    ),
    *_beside_floor("First ingest of Jellyfin ÷ its floor", (_JELLYFIN, "first"), (_JELLYFIN, "floor"), at_most=1.5),
    Target("… re-ingest ÷ first ingest", _wall((_JELLYFIN, "re-ingest"), (_JELLYFIN, "first"))),
    Target(
        "PostgreSQL's CPU for new assets ÷ COPY of their bytes into a bare table",
        _wall((_ROWS, "first"), (_ROWS, "bare copy"), "postgres_cpu"),
        at_most=2.5,
    ),
    Target("A script on plexapi and SQLAlchemy ÷ first ingest", _wall(("script", "script"), ("script", "first"))),
    Target("… again, nothing new ÷ re-ingest", _wall(("script", "script, again"), ("script", "re-ingest"))),
    # A tenth of a second of starting Python would hide what fetching takes.
    Target("Floor ÷ fetch only, without start", _wall(_FLOOR, ("main", "fetch only"), "work")),
    Target("Floor ÷ fetch and decode, without start", _wall(_FLOOR, ("main", "fetch and decode"), "work")),
)
