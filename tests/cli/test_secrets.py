"""What plugins of third parties say may hold addresses with passwords; nothing of these is ever told or stored."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, cast

import anyio.lowlevel
import orjson
import pytest

from retrovue.core.answers import DiscoveredCollection, Ingestibility, SourceIdentity
from retrovue.core.model import Collection, ConfigField
from retrovue.core.pages import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.runs import Scope
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.errors import EnrichmentError, RetrovueError, SourceError, SourceUnreachable
from retrovue.importers.base import BaseImporter
from tests.cli.conftest import Cli
from tests.conftest import Packages
from tests.support.canary import ADDRESS, CANARY, SHOWN

WAY: list[str] = []
"""Where the plugins speak."""


class Location:
    """An object that a library may put into an error."""

    def __str__(self) -> str:
        return ADDRESS


class AddressError(SourceError):
    """Adds to what it says once it is made."""

    def __init__(self) -> None:
        super().__init__("It broke.")
        self.message += f" At {ADDRESS}"
        self.context["url"] = ADDRESS


class SilentError(SourceError):
    """Says nothing of what the base class wants to be told."""

    def __init__(self, url: str) -> None:
        self.url = url


class SilentEnrichmentError(EnrichmentError):
    """The same of an enricher."""

    def __init__(self, url: str) -> None:
        self.url = url


class Untellable:
    """Breaks off where it is asked what it says."""

    def __str__(self) -> str:
        raise ValueError(ADDRESS)


def endless() -> SourceError:
    """Make an error whose context holds itself."""
    error = SourceError("x")
    error.context["again"] = error.context
    return error


def untellable() -> SourceError:
    """Make an error whose message can't be made text."""
    error = SourceError("x")
    error.message = cast("str", Untellable())
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "message": lambda: SourceError(f"No answer from {ADDRESS}"),
    "no text": lambda: SourceError(OSError(ADDRESS)),  # type: ignore[arg-type]
    "hint": lambda: SourceError("x", hint=f"Open {ADDRESS}"),
    "context": lambda: SourceError("x", context={"url": ADDRESS, "more": [{ADDRESS: (Location(),)}]}),
    "unreachable": lambda: SourceUnreachable(ADDRESS),
    "added": AddressError,
    "silent": lambda: SilentError(ADDRESS),
    "bug": lambda: RuntimeError(ADDRESS),
}


class Telling(BaseImporter):
    """Tells an address with a password, in the way that the test asks for."""

    type_name: ClassVar[str] = "telling"
    paths_are_local: ClassVar[bool] = True

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        return ()

    async def check_reachable(self) -> SourceIdentity:
        self.fail("reachable")
        return SourceIdentity("here")

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        self.fail("discover")
        return [DiscoveredCollection(name, name, "movie", ("/",)) for name in ("Films", "Other")]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        if collection.name == "Other":
            return Ingestibility(ingestible=True)
        self.fail("check")
        return Ingestibility(WAY != ["skip"], "moved", f"It moved to {ADDRESS}")

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:  # noqa: ARG002
        part = (PartDraft("/x.mkv"),)
        good = AssetDraft(source_uri="t:1", type="movie", title="Good", parts=part)
        if collection.name == "Films":
            self.fail("pages")
            if WAY == ["reject"]:
                yield Page([good], [Rejection("odd", f"See {ADDRESS}", "t:2", "Odd")], 2)
            if WAY == ["warn"]:
                warned = AssetDraft(source_uri="t:2", type="movie", title="W", parts=part, warnings=(f"at {ADDRESS}",))
                yield Page([good, warned], [], 2)
            if WAY == ["leave"]:
                task = asyncio.get_running_loop().create_task(self.leave())
                await asyncio.wait({task})
                del task
            if WAY == ["call"]:
                asyncio.get_running_loop().call_soon(break_off, CANARY)
                await anyio.lowlevel.checkpoint()
        yield Page([good], [], 1)

    async def leave(self) -> None:
        await anyio.lowlevel.checkpoint()
        raise RuntimeError(ADDRESS)

    def fail(self, where: str) -> None:
        if WAY[:1] == [where]:
            error = ERRORS[WAY[1]]()
            raise error


def break_off(secret: str) -> None:
    """Fail as a callback: asyncio tells of it with its arguments."""
    raise RuntimeError(secret)


class TellingEnricher(BaseEnricher):
    """The same for an enricher."""

    type_name: ClassVar[str] = "telling"

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        match WAY:
            case ["failure"]:
                return [Failure("odd", f"No answer from {ADDRESS}") for _ in assets]
            case ["field"]:
                return [Enrichment(fields={ADDRESS: 1}) for _ in assets]
            case ["error"]:
                raise EnrichmentError(f"No answer from {ADDRESS}", context={"url": ADDRESS})
            case ["silent"]:
                raise SilentEnrichmentError(ADDRESS)
            case ["outage"]:
                raise SourceUnreachable(f"No answer from {ADDRESS}")
            case ["bug"]:
                raise RuntimeError(ADDRESS)
            case _:
                return [Enrichment() for _ in assets]


@pytest.fixture
def cli(run_cli: Cli, packages: Packages) -> Cli:
    """A catalogue with a source of that importer; both collections are enabled."""
    WAY[:] = ["well"]
    packages.install("telling", telling=f"{__name__}:Telling")
    run_cli.ok("source", "add", "--type", "telling", "--name", "Odd", "--discover")
    for name in ("Films", "Other"):
        run_cli.ok("collection", "update", name, "--enable")
    return run_cli


def said(cli: Cli) -> str:
    """Everything that the commands say of an ingest, in each way that they say it: all of it is searched."""
    logging = ("--log-level", "debug", "--log-format", "json")
    outputs = [cli(*logging, "source", "ingest", "Odd", *form) for form in ((), ("--json",), ("--jsonl",))]
    for entry in cli.ok("ingest", "log")["entries"]:
        outputs += [cli("ingest", "show", entry["run_id"], form) for form in ("--json", "--traceback")]
    outputs += [cli("collection", "show", "Films", "--json"), cli("doctor", "--json")]
    outputs.append(cli("source", "discover", "Odd", "--json", env={"RETROVUE_DEBUG": "1"}))
    return "".join(f"{one.out}{one.err}" for one in outputs)


@pytest.mark.fault(68)
class TestImporters:
    @pytest.mark.parametrize("error", ERRORS)
    def test_what_it_raises(self, cli: Cli, error: str) -> None:
        WAY[:] = ["pages", error]
        assert ("SilentError" if error == "silent" else SHOWN) in said(cli)

    @pytest.mark.parametrize("where", ["reachable", "discover", "check"])
    def test_wherever_it_raises_it(self, cli: Cli, where: str) -> None:
        WAY[:] = [where, "context"]
        assert SHOWN in said(cli)

    @pytest.mark.parametrize("way", ["skip", "reject", "warn"])
    def test_what_it_answers(self, cli: Cli, way: str) -> None:
        WAY[:] = [way]
        assert SHOWN in said(cli)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("way", ["leave", "call"])
    def test_what_it_leaves_in_the_background(self, cli: Cli, way: str) -> None:
        WAY[:] = [way]
        assert "left behind in its event loop: RuntimeError" in said(cli)

    @pytest.mark.parametrize("make", [endless, untellable])
    def test_what_cannot_be_told_is_its_bug(
        self, cli: Cli, monkeypatch: pytest.MonkeyPatch, make: Callable[[], BaseException]
    ) -> None:
        monkeypatch.setitem(ERRORS, "odd", make)
        WAY[:] = ["pages", "odd"]
        told = said(cli)
        assert "importer_failed" in told
        assert "RetroVue has a bug" not in told


@pytest.mark.fault(68)
@pytest.mark.parametrize("way", ["failure", "field", "error", "silent", "outage", "bug"])
def test_what_an_enricher_says(cli: Cli, packages: Packages, way: str) -> None:
    packages.install("telling_too", "retrovue.enrichers", telling=f"{__name__}:TellingEnricher")
    cli.ok("enricher", "add", "--type", "telling", "--name", "Odd")
    for name in ("Films", "Other"):
        cli.ok("collection", "attach-enricher", name, "Odd")
    WAY[:] = [way]
    told = said(cli)
    assert {"bug": "enricher_failed", "silent": "SilentEnrichmentError"}.get(way, SHOWN) in told


class TestErrors:
    def test_all_that_one_says_is_plain(self) -> None:
        context: Any = {1: Location(), "big": 2**64, "no": None, "n": [1, 1.5, True]}
        error = RetrovueError(ADDRESS, hint=ADDRESS, context=context)
        assert (error.message, error.hint, f"{error}") == (SHOWN, SHOWN, SHOWN)
        assert error.context == {"1": SHOWN, "big": str(2**64), "no": None, "n": [1, 1.5, True]}
        assert orjson.loads(orjson.dumps(error.context)) == error.context

    def test_a_subclass_that_says_nothing_can_be_told_all_the_same(self) -> None:
        error: Any = SilentError(ADDRESS)
        error.normalize()
        assert (error.message, error.code, error.context) == ("SilentError", "source_error", {})
        assert error.hint

    def test_an_address_without_its_host_is_one_too(self) -> None:
        assert CANARY not in RetrovueError(f"GET /list?page=1&access_token={CANARY} failed").message
