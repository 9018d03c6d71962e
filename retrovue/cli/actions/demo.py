"""The demo: starts a simulated Plex server, and runs the commands that ingest it, with their output."""

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import orjson
from anyio.abc import Process
from msgspec import Struct, field

from retrovue.cli.actions.serving import page_of
from retrovue.cli.errors import FAILED, OK, PARTIAL
from retrovue.cli.invocation import Invocation
from retrovue.cli.output import Output
from retrovue.core.config import DATABASE_URL, HOME, TEST_DATABASE_URL, TOKEN, Settings
from retrovue.operations.catalogue import Store
from retrovue.service.serving import HostStatus, serve
from retrovue.simulator import Fault, GeneratedSection, SimulatedPlex, faults
from retrovue.store.opening import open_store

NAME = "Demo Plex"
_WENT_WELL = "The demo worked as expected."
_HERE = "127.0.0.1"
_KINDS: tuple[tuple[Literal["movie", "show", "clip", "artist"], str], ...] = (
    ("movie", "Movies"),
    ("show", "TV Shows"),
    ("movie", "Documentaries"),
    ("show", "Anime"),
    ("movie", "Classics"),
    ("show", "Kids"),
    ("clip", "Home Videos"),
    ("show", "News"),
)
_INCOMPLETE = 1
"""Index of the library whose listing is incomplete at first."""
_STOP_SECONDS = 0.8
"""How long an interrupted command may take to report what it did, in seconds."""


class _Demo(Struct):
    """The state that the steps of the demo share."""

    output: Output
    environment: Mapping[str, str]
    media: Path
    sections: Sequence[GeneratedSection]
    failures: list[str] = field(default_factory=list[str])
    """What didn't happen as expected."""

    async def show(self, *arguments: str, expect: int = OK) -> str:
        """Run a command and print it with its output; return what it printed."""
        self.output.lines(["", f"$ {shlex.join(['retrovue', *arguments])}"])
        printed = await self._run(arguments, expect)
        self.output.lines(printed.splitlines())
        if expect != OK:
            self.output.lines([f"(exit status {expect})"])
        return printed

    async def ask(self, *arguments: str) -> Any:
        """Run a command with --json and return its document."""
        return orjson.loads(await self._run([*arguments, "--json"], OK))

    async def _run(self, arguments: Sequence[str], expect: int) -> str:
        async with _command(arguments, self.environment) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            printed = b"".join([piece async for piece in process.stdout])
            status = await process.wait()
        if status != expect:
            self.failures.append(f"`retrovue {shlex.join(arguments)}` exited with {status}, not {expect}.")
        return printed.decode(errors="replace")


async def demonstrate(call: Invocation, *, items: int, collections: int, keep: bool, port: int | None = None) -> int:
    """Run the demo in its own catalogue; return 0 if everything happened as expected.

    With a port, the demo serves its web page afterwards, until a signal stops the process.
    """
    sections = [_section(number, items, collections) for number in range(1, collections + 1)]
    token = secrets.token_hex(16)
    plex = SimulatedPlex(sections, token=token, friendly_name=NAME, record_requests=False)
    plex.faults.add(Fault(faults.lie_about_total(7), path=f"/library/sections/{sections[_INCOMPLETE].key}/all"))
    with _directory(keep=keep) as directory:
        environment = _environment(directory, token)
        demo = _Demo(call.output, environment, directory / "media", sections)
        call.output.lines([f"A simulated Plex server with {items:,} items in {collections} libraries."])
        # The commands use the database that is open here, so that each needn't start and stop its own.
        async with plex.serve() as url, open_store(Settings.from_environment(environment), connections=4) as store:
            await _steps(demo, plex, url)
            kept = ["", f"The catalogue is kept: export {HOME}={shlex.quote(environment[HOME])}"] if keep else []
            if port is not None and not demo.failures:
                call.output.lines([*kept, "", _WENT_WELL])
                await _serve(call, store, port)
        call.output.lines(kept)
    if demo.failures:
        call.output.notes(["", *(f"Error: {failure}" for failure in demo.failures)])
        return call.answered(FAILED)
    call.output.lines(["", _WENT_WELL])
    return call.answered(OK)


async def _steps(demo: _Demo, plex: SimulatedPlex, url: str) -> None:
    await demo.show("source", "add", "--type", "plex", "--name", NAME, "--base-url", url)
    await demo.show("source", "discover", NAME)
    for section in demo.sections:
        maps: list[str] = []
        for number, location in enumerate(section.locations):
            local = demo.media / f"{section.key}-{number}"
            await anyio.Path(local).mkdir(parents=True)
            maps += ["--map", f"{location.path}={local}"]
        # The server is simulated: its files aren't on this machine.
        await demo.show("collection", "update", section.title, *maps, "--no-check-files", "--enable")
    incomplete = demo.sections[_INCOMPLETE].title
    demo.output.lines(["", f"# The server lists fewer items of '{incomplete}' than it has: only that library fails."])
    await demo.show("source", "ingest", NAME, expect=PARTIAL)
    before = await _counts(demo)
    demo.output.lines(
        ["", "# The listing is complete again: the failed library follows, and nothing is created twice."]
    )
    plex.faults.clear()
    await demo.show("source", "ingest", NAME)
    after = await _counts(demo)
    await demo.show("collection", "list")
    await demo.show("asset", "list", "--limit", "5")
    for name, count in after.items():
        if not count:
            demo.failures.append(f"Collection '{name}' has no assets.")
        elif name == incomplete and before.get(name):
            demo.failures.append(f"Collection '{name}' has assets of a failed ingest.")
        elif name != incomplete and before.get(name) != count:
            demo.failures.append(f"Collection '{name}' had {before.get(name)} assets and has {count} now.")


async def _serve(call: Invocation, store: Store, port: int) -> None:
    host = HostStatus("the demo")
    async with page_of(call, store, host, True, (_HERE, port, ()), None) as url:
        call.output.lines([f"The page is at {url}", "SIGTERM or Ctrl-C ends it."])
        # A signal is the normal end of serving.
        call.answered(OK)
        await serve(store, host.name, status=host)


async def _counts(demo: _Demo) -> dict[str, int]:
    document = await demo.ask("collection", "list")
    return {collection["name"]: collection["assets_count"] for collection in document["collections"]}


def _section(number: int, items: int, collections: int) -> GeneratedSection:
    kind, name = _KINDS[(number - 1) % len(_KINDS)]
    again = (number - 1) // len(_KINDS)
    title = name if not again else f"{name} {again + 1}"
    count = max(items // collections + (number <= items % collections), 1)
    return GeneratedSection(str(number), title, kind, count, seed=number)


def _environment(directory: Path, token: str) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in {DATABASE_URL, TEST_DATABASE_URL}}
    return environment | {HOME: str(directory / "home"), TOKEN: token, "PYTHONUTF8": "1"}


@contextmanager
def _directory(*, keep: bool) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="retrovue-demo-"))
    try:
        yield directory
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _command(arguments: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[Process]:
    """Start a command.

    If the demo is interrupted, the command is interrupted too, and gets time to report what it did.
    """
    process = await anyio.open_process(
        # -P: a directory named retrovue in the working directory must not be taken for the program.
        [sys.executable, "-P", "-m", "retrovue", *arguments],
        stdin=subprocess.DEVNULL,
        stderr=None,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches only the demo, which passes it on once.
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                with anyio.move_on_after(_STOP_SECONDS):
                    await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()
