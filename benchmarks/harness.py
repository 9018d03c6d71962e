"""Runs scenarios: serves the libraries, lets the contenders take turns, and takes the measurements."""

import os
import pstats
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Self

import anyio
import orjson
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from benchmarks.database import SOURCE, Databases
from benchmarks.scenarios import PRODUCT, UNCHANGED, WRITES, Contender, Layout, Scenario
from benchmarks.tree import trees

TOKEN = "benchmark-token"
ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 900.0
"""For one run of one contender; beyond it something hangs."""


class BenchmarkFailed(Exception):
    """A contender failed, or did not do what it was measured for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one contender; times in seconds."""

    wall: float
    """From the start of the process to its end."""
    client_cpu: float
    peak_mb: float
    """The client's peak resident memory, MiB."""
    work: float | None = None
    """The client's own count: without the start of its process."""
    postgres_cpu: float | None = None
    plex_cpu: float | None = None
    requests: int | None = None
    faults: int | None = None
    in_flight: int | None = None
    """The most requests at a time."""
    sent_mb: float | None = None
    items: int | None = None
    created: int | None = None
    from_plex: float | None = None
    """Waiting for the next page, decoding and mapping included, also where the source is a directory; added up over
    collections, as the next two are."""
    staging: float | None = None
    merging: float | None = None
    wal_mb: float | None = None
    """What PostgreSQL has written to its log, 1,000,000 bytes."""
    assets_written: int | None = None
    """Rows of assets, new ones and new versions."""

    @property
    def cpu(self) -> float:
        """Seconds of CPU of the client and of PostgreSQL."""
        return self.client_cpu + (self.postgres_cpu or 0.0)


Results = dict[tuple[str, str], list[Sample]]
"""Scenario and contender → one sample a round."""


class ServerProcess:
    """The simulated server of one layout."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        self._input = process.stdin
        self._output = TextReceiveStream(process.stdout)
        self._unread = ""
        self.url = ""

    async def ready(self) -> Self:
        """Wait until it listens."""
        self.url = (await self._line())["url"]
        return self

    async def turn(self, contender: Contender | None = None) -> dict[str, Any]:
        """Answer from now on as this contender wants; return what was served since the last turn."""
        like = contender or Contender("", None)
        order = {name: getattr(like, name) for name in ("latency_ms", "us_per_offset", "fail_percent")}
        order["changes"] = asdict(like.changes)
        await self._input.send(orjson.dumps(order) + b"\n")
        return await self._line()

    async def _line(self) -> dict[str, Any]:
        while "\n" not in self._unread:
            try:
                self._unread += await self._output.receive()
            except anyio.EndOfStream as exc:
                raise BenchmarkFailed("The simulated server has ended.") from exc
        line, _, self._unread = self._unread.partition("\n")
        answer: dict[str, Any] = orjson.loads(line)
        return answer


@asynccontextmanager
async def served(layout: Layout) -> AsyncIterator[ServerProcess]:
    """Serve a layout until the block ends."""
    sizes = [str(size) for size in layout.sizes]
    command = [sys.executable, "-m", f"benchmarks.{layout.server}", layout.kind, *sizes, "--token", TOKEN]
    async with await anyio.open_process(command, stderr=None, cwd=ROOT) as process:
        try:
            yield await ServerProcess(process).ready()
        finally:
            # It keeps nothing that would have to be put in order.
            process.kill()


def retrovue(python: Path) -> list[str]:
    """Return the command that operators type, of this interpreter's environment."""
    script = python.with_name("retrovue")
    return [str(script)] if script.is_file() else [str(python), "-m", "retrovue"]


class Harness:
    """Runs scenarios one after the other."""

    def __init__(
        self, databases: Databases, scratch: Path, rounds: int, say: Callable[[str], None], *, python: Path
    ) -> None:
        self._databases = databases
        self._python = python
        self._scratch = scratch
        self._media = scratch / "media"
        self._media.mkdir()
        self._profile = scratch / "client.prof"
        self._rounds = rounds
        self._say = say
        self.results: Results = {}

    async def run(self, scenario: Scenario) -> None:
        """Run all rounds of a scenario, every contender once a round."""
        rounds = scenario.rounds or self._rounds
        self._say(f"{scenario.title} ({scenario.name})")
        layouts = {one.layout: None for one in scenario.contenders if one.layout is not None}
        async with (
            _all_served([layout for layout in layouts if layout.disk is None]) as servers,
            trees([layout for layout in layouts if layout.disk is not None], self._scratch) as roots,
        ):
            templates = {
                layout: await self._databases.make(server.url, TOKEN, self._media, layout.server)
                for layout, server in servers.items()
            }
            templates |= {layout: await self._databases.make_of_tree(root) for layout, root in roots.items()}
            for number in range(1, rounds + 1):
                catalogues: dict[str, str] = {}
                for contender in scenario.contenders:
                    sample = await self._one(contender, servers, roots, templates, catalogues)
                    self.results.setdefault((scenario.name, contender.name), []).append(sample)
                    self._say(f"  {number}/{rounds} {contender.name}: {sample.wall:.2f} s")
                    if contender.client == "profiled":
                        self._say(_spent_most(self._profile))
                self._compare(scenario)
                for name in catalogues.values():
                    await self._databases.drop(name)
            for name in templates.values():
                await self._databases.drop(name)

    async def _one(
        self,
        contender: Contender,
        servers: dict[Layout, ServerProcess],
        roots: dict[Layout, Path],
        templates: dict[Layout, str],
        catalogues: dict[str, str],
    ) -> Sample:
        layout = contender.layout
        if layout is None:
            spent, _ = await self._measured([*retrovue(self._python), "--help"], {})
            return Sample(wall=spent["wall"], client_cpu=spent["cpu"], peak_mb=spent["peak_mb"])
        plex = servers.get(layout)
        if contender.after is None:
            config = None if contender.page_size is None else {"page_size": contender.page_size}
            catalogues[contender.name] = await self._databases.clone(templates[layout], config)
        name = catalogues[contender.after or contender.name]
        if contender.after is not None:
            # Else the server does it by itself, sooner or later, and one contender or another pays.
            await self._databases.vacuum(name)
        before = await self._databases.assets(name)
        rows = self._scratch / "rows.copy"
        if contender.client == "copy":
            await self._databases.unload(name, rows)
        await self._databases.settle()
        if plex is not None:
            await plex.turn(contender)
        began = await self._databases.written(name)
        postgres = self._databases.cpu()
        environment = {"RETROVUE_DATABASE_URL": self._databases.url(name), "RETROVUE_TOKEN": TOKEN}
        place = rows if contender.client == "copy" else roots.get(layout)
        command = self._command(contender, str(place or "") if plex is None or place else plex.url)
        spent, report = await self._measured(command, environment)
        if contender.client in {"list", "show"}:
            return Sample(wall=spent["wall"], client_cpu=spent["cpu"], peak_mb=spent["peak_mb"])
        await self._databases.quiet(name)
        postgres = self._databases.cpu() - postgres
        ended = await self._databases.written(name)
        assets_written = await self._databases.assets_written(name, began)
        served_now = {} if plex is None else await plex.turn()
        created = await self._databases.assets(name) - before
        if contender.client != "copy":
            self._check(contender, layout, report, created=created, written=assets_written)
        elif report["total_source_items"] != before:
            raise BenchmarkFailed(f"{contender.name}: {report['total_source_items']} rows were copied, not {before}.")
        durations = [one.get("durations", {}) for one in report.get("collection_results", [])]

        def total(*phases: str) -> float | None:
            return sum(one.get(phase, 0.0) for one in durations for phase in phases) if durations else None

        return Sample(
            wall=spent["wall"],
            client_cpu=spent["cpu"],
            peak_mb=spent["peak_mb"],
            work=report["duration_seconds"],
            postgres_cpu=postgres,
            plex_cpu=served_now.get("cpu"),
            requests=served_now.get("requests"),
            faults=served_now.get("faults"),
            in_flight=served_now.get("in_flight"),
            sent_mb=served_now["bytes"] / 1_000_000 if served_now else None,
            items=report["total_source_items"],
            created=report["total_created_assets"],
            from_plex=total("waiting_for_source", "reading"),
            staging=total("staging"),
            merging=total("merging"),
            wal_mb=(ended.log - began.log) / 1_000_000,
            assets_written=assets_written,
        )

    def _command(self, contender: Contender, place: str) -> list[str]:
        """Return the command of a contender; ``place`` is the address of the server, or a path."""
        options = contender.options()
        if contender.client in {"list", "show"}:
            name = () if contender.client == "list" else (SOURCE,)
            return [*retrovue(self._python), "source", contender.client, *name, "--json"]
        if contender.client == "script":
            # It needs plexapi, which the product's environment doesn't have.
            return [sys.executable, "-m", "benchmarks.script", place, str(self._media)]
        if contender.client == "cli":
            return [*retrovue(self._python), "source", contender.command, SOURCE, "--json", *options]
        if contender.client in PRODUCT:
            more = ["--profile", str(self._profile)] if contender.client == "profiled" else []
            more += ["--sync"] if contender.command == "sync" else []
            return [str(self._python), "-m", "benchmarks.library", SOURCE, *options, *more]
        return [str(self._python), "-m", *self._bare(contender, place)]

    def _bare(self, contender: Contender, place: str) -> list[str]:
        if contender.client == "copy":
            return ["benchmarks.bare_copy", place]
        part = {"fetch": ["--fetch-only"], "decode": ["--decode-only"], "lean floor": ["--lean"]}.get(
            contender.client, []
        )
        layout = contender.layout
        if layout is not None and layout.disk is not None:
            return ["benchmarks.floor_tree", place, *part]
        module = "floor" if layout is None or layout.server == "plex" else f"floor_{layout.server}"
        return [f"benchmarks.{module}", place, str(self._media), *contender.options(), *part]

    async def _measured(
        self, command: Sequence[str], environment: dict[str, str]
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """Run a command by the meter; return what it took, and the JSON object that it printed."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RETROVUE_")}
        report = anyio.Path(self._scratch / "meter.json")
        metered = [sys.executable, str(ROOT / "benchmarks" / "meter.py"), str(report), *command]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = await anyio.open_process(
                metered,
                stdin=None,
                stdout=output,
                stderr=errors,
                cwd=ROOT,
                env=inherited | {"RETROVUE_HOME": str(self._scratch)} | environment,
                start_new_session=True,
            )
            try:
                with anyio.move_on_after(DEADLINE_S):
                    await process.wait()
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, 9)
            if process.returncode != 0:
                errors.seek(0)
                output.seek(0)
                what = "timed out" if process.returncode is None else f"ended with {process.returncode}"
                output_text = errors.read().decode(errors="replace") + output.read().decode(errors="replace")
                raise BenchmarkFailed(f"{' '.join(command[1:4])} … {what}:\n{output_text}")
            output.seek(0)
            text = output.read()
        spent: dict[str, float] = orjson.loads(await report.read_bytes())
        return spent, orjson.loads(text) if text.startswith(b"{") else {}

    def _check(
        self, contender: Contender, layout: Layout, report: dict[str, Any], *, created: int, written: int
    ) -> None:
        """Refuse a run that did not do what it was measured for."""
        problems = []
        if contender.client in PRODUCT and report["status"] != "ok":
            problems.append(f"its status is {report['status']}: {report['errors']}")
        listed = layout.items - contender.changes.removed * len(layout.sizes)
        few = {"unchanged": 0, "changes": contender.changes.recent * len(layout.sizes)}
        to_read = listed if contender.read is None else few.get(contender.read, listed)
        if report["total_source_items"] != to_read:
            problems.append(f"it read {report['total_source_items']} items of {to_read}")
        if contender.read is not None:
            problems += [
                f"it read {one['read']} of {one['name']}: {one['reading']['reason']}"
                for one in report["collection_results"]
                if one["read"] != contender.read
            ]
        expected = 0 if contender.dry_run else report["total_created_assets"]
        if created != expected:
            problems.append(f"{created} assets were created, not {expected}")
        if contender.after is not None and created:
            problems.append("a re-ingest has created assets")
        if contender.command == "sync":
            # Changes say nothing of what is gone, and what was gone before is told once.
            removed = 0 if contender.read == "changes" or contender.found_before else layout.items - listed
            # An item may have several versions, which are assets of their own.
            changed = contender.changes != UNCHANGED and not contender.found_before
            if report["total_missing"] < removed or bool(written) != changed:
                problems.append(f"it marked {report['total_missing']} assets of {removed}, and wrote {written}")
        if contender.client in WRITES and not contender.after and not report["total_created_assets"]:
            problems.append("nothing was created")
        if problems:
            raise BenchmarkFailed(f"{contender.name}: {'; '.join(problems)}.")

    def _compare(self, scenario: Scenario) -> None:
        """Refuse a floor that does less than the product, or more."""
        created: dict[Layout, dict[str, int | None]] = {}
        for contender in scenario.contenders:
            if contender.layout and contender.client in WRITES and not contender.after:
                sample = self.results[scenario.name, contender.name][-1]
                created.setdefault(contender.layout, {})[contender.name] = sample.created
        for found in created.values():
            if len(set(found.values())) > 1:
                raise BenchmarkFailed(f"Not all have created the same number of assets: {found}.")


def _spent_most(profile: Path) -> str:
    text = StringIO()
    pstats.Stats(str(profile), stream=text).strip_dirs().sort_stats("tottime").print_stats(30)
    return text.getvalue()


@asynccontextmanager
async def _all_served(layouts: Sequence[Layout]) -> AsyncIterator[dict[Layout, ServerProcess]]:
    """Serve several layouts, each in a process of its own."""
    if not layouts:
        yield {}
        return
    async with served(layouts[0]) as first, _all_served(layouts[1:]) as others:
        yield {layouts[0]: first} | others
