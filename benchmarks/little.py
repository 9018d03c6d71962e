"""What a sync reads of a library in which little has changed, beside a re-ingest and the start of a process."""

from dataclasses import replace

from benchmarks.scenarios import Contender, Layout, Scenario
from benchmarks.targets import Median, Target
from retrovue.simulator import Changes

CHANGED = 100
"""Items that were edited just now."""
_FAR = (("50 ms", 50.0), ("2 s", 2000.0))
"""Times of each answer."""


def little(items: int) -> Scenario:
    """Syncs of one library: nothing has changed, 100 items have, all is swept; also of servers at some distance."""
    layout = Layout("movie", (items,))
    known = Contender("re-ingest", layout, after="first")
    unchanged = replace(known, name="unchanged", command="sync", read="unchanged")
    changed = replace(known, name="100 changed", command="sync", read="changes", changes=Changes(recent=CHANGED))
    return Scenario(
        "little",
        "Syncs in which little has changed",
        (
            Contender("first", layout),
            known,
            replace(known, name="source show", client="show"),
            replace(known, name="sweep", command="sync", read="sweep", more=("--sweep-every", "0")),
            unchanged,
            *(replace(unchanged, name=f"unchanged, {name}", latency_ms=ms) for name, ms in _FAR),
            changed,
            *(
                replace(
                    changed,
                    name=f"100 changed, {name}",
                    latency_ms=ms,
                    changes=Changes(recent=CHANGED, edition=number),
                )
                for number, (name, ms) in enumerate(_FAR, start=2)
            ),
        ),
    )


def little_million(items: int) -> Scenario:
    """A library ten times as large, in which nothing has changed."""
    layout = Layout("movie", (items * 10,))
    shown = Contender("source show", layout, "show", after="first")
    return Scenario(
        "little-million",
        "A sync in which nothing has changed, ten times as many",
        (
            Contender("first", layout),
            shown,
            replace(shown, name="unchanged", client="cli", command="sync", read="unchanged"),
        ),
        rounds=1,
    )


def _ratio(scenario: str, over: str, under: str, name: str, *, at_most: float, field: str = "wall") -> Target:
    def measure(of: Median) -> float:
        return of(scenario, over, field) / of(scenario, under, field)

    return Target(name, measure, at_most=at_most)


def _requests(scenario: str, contender: str, *, at_most: int) -> Target:
    def measure(of: Median) -> float:
        return of(scenario, contender, "requests")

    return Target(f"Requests of a sync, {contender} ({scenario})", measure, at_most=at_most, unit="")


TARGETS = (
    _ratio("little", "unchanged", "source show", "Sync, unchanged ÷ source show", at_most=1.5),
    _ratio("little-million", "unchanged", "source show", "… ten times as many items", at_most=1.5),
    Target(
        "… peak memory, ten times as many items",
        lambda of: of("little-million", "unchanged", "peak_mb") / of("little", "unchanged", "peak_mb"),
        at_most=1.1,
    ),
    _ratio("little", "100 changed", "re-ingest", "Sync, 100 changed ÷ re-ingest", at_most=0.3),
    _ratio("little", "100 changed", "re-ingest", "… CPU of client and PostgreSQL", at_most=0.3, field="cpu"),
    _ratio("little", "100 changed", "re-ingest", "… without the start of either process", at_most=0.3, field="work"),
    _ratio("little", "sweep", "re-ingest", "Sync, sweep ÷ re-ingest", at_most=1.0),
    _ratio("little", "sweep", "re-ingest", "… CPU of client and PostgreSQL", at_most=1.0, field="cpu"),
    *(_requests("little", f"unchanged{far}", at_most=2) for far in ("", ", 50 ms", ", 2 s")),
    _requests("little-million", "unchanged", at_most=2),
    *(_requests("little", f"100 changed{far}", at_most=10) for far in ("", ", 50 ms", ", 2 s")),
)
