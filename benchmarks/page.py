"""python -m benchmarks.page RESULT.json…: writes what was measured into docs/performance.md, between its two marks.

Several results may be given, of scenarios that were run apart; of a scenario or target that is in more than one, the
last one counts. What stands around the marks is written by hand.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

_MORE = "… "
"""What the name of a target begins with that says more of the one before."""
_COLUMNS = (
    ("wall s", "wall", "{:.2f}"),
    ("items/s", "rate", "{:,.0f}"),
    ("client CPU s", "client_cpu", "{:.2f}"),
    ("PostgreSQL CPU s", "postgres_cpu", "{:.2f}"),
    ("Plex CPU s", "plex_cpu", "{:.2f}"),
    ("client MiB", "peak_mb", "{:.0f}"),
    ("requests", "requests", "{:.0f}"),
    ("log MB", "wal_mb", "{:.1f}"),
    ("assets written", "assets_written", "{:,.0f}"),
)


def main(arguments: Sequence[str]) -> int:
    """Write the page anew."""
    if not arguments:
        sys.stderr.write("Which results? python -m benchmarks.page benchmarks/results/….json\n")
        return 1
    results = [orjson.loads(Path(name).read_bytes()) for name in arguments]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{measured(results)}\n{END}{after}", encoding="utf-8")
    return 0


def measured(results: Sequence[dict[str, Any]]) -> str:
    """Return the part of the page between the marks."""
    return "\n".join(_lines(results))


def _lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from dict.fromkeys(map(_where, results))
    yield ""
    yield "| Target | measured | wanted | |"
    yield "|---|---|---|---|"
    for name, target in _targets(results):
        sign, bound = ("≥", target["at_least"]) if target["at_least"] is not None else ("≤", target["at_most"])
        verdict = {True: "met", False: "**missed**", None: ""}[target["met"]]
        wanted = "" if bound is None else f"{sign} {bound:g}"
        yield f"| {name} | {target['value']:.2f} {target['unit']} | {wanted} | {verdict} |"
    for scenario in {one["name"]: one for result in results for one in result["scenarios"]}.values():
        yield ""
        rounds = len(scenario["contenders"][0]["samples"])
        taken = "one round" if rounds == 1 else f"medians of {rounds} rounds"
        yield f"**{scenario['title']}** (`{scenario['name']}`, {taken})"
        yield ""
        yield from _table(scenario["contenders"])


def _targets(results: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the targets that were measured, in their order, with names that don't depend on one that wasn't."""
    targets = dict[tuple[str, str, int], dict[str, Any]]()
    for result in results:
        subject, seen = "", Counter[tuple[str, str]]()
        for target in result["targets"]:
            subject = subject if target["name"].startswith(_MORE) else target["name"]
            key = subject, target["name"]
            seen[key] += 1
            if target["value"] is not None or (*key, seen[key]) not in targets:
                targets[*key, seen[key]] = target
    named = ""
    for (subject, name, _), target in targets.items():
        if target["value"] is not None:
            is_more = name.startswith(_MORE) and subject != named
            yield f"{subject}: {name.removeprefix(_MORE)}" if is_more else name, target
            named = subject


def _where(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["machine"]["postgresql"]
    return (
        f"Measured on {result['began'][:10]}: {machine['cores']} cores ({machine['processor']}),"
        f" {machine['memory_gb']:.0f} GB, {machine['system'].partition(' ')[0]}, {machine['python']}, PostgreSQL"
        f" {settings['server_version']} with `fsync` {settings['fsync']}; {result['items']:,} items in the main job."
    )


def _table(contenders: Sequence[dict[str, Any]]) -> Iterator[str]:
    rows = []
    for contender in contenders:
        medians = dict(contender["medians"])
        if medians.get("items"):
            medians["rate"] = medians["items"] / medians["wall"]
        rows.append((f"{contender['name']} ({contender['client']})", medians))
    columns = [column for column in _COLUMNS if any(medians.get(column[1]) for _, medians in rows)]
    yield f"| | {' | '.join(heading for heading, _, _ in columns)} |"
    yield f"|---{'|---:' * len(columns)}|"
    for name, medians in rows:
        cells = ["" if (value := medians.get(key)) is None else shape.format(value) for _, key, shape in columns]
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
