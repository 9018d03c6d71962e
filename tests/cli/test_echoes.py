"""A token that a server, or a plugin, repeats in what it answers is neither shown nor stored."""

import html
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import ClassVar
from urllib.parse import quote

import pytest

from retrovue.core.answers import DiscoveredCollection, Ingestibility, SourceIdentity
from retrovue.core.model import Collection, ConfigField
from retrovue.core.pages import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.runs import Scope
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.errors import SourceError
from retrovue.importers.base import BaseImporter
from retrovue.simulator import faults
from retrovue.simulator.build import movie
from retrovue.simulator.request import Reply
from tests.cli.conftest import Cli
from tests.conftest import Packages
from tests.support.canary import CANARY
from tests.support.world import MOVIES, TOKEN, World

SECRET = f"{CANARY}-0f-a-plugin"


@pytest.mark.fault(68)
class TestServer:
    @pytest.mark.parametrize("text", [TOKEN, f"You sent {TOKEN}."], ids=["alone", "quoted"])
    def test_in_a_title(self, world: World, text: str) -> None:
        world.section("Movies").add(movie(106, text, file="/data/movies/Echo.mkv"))
        assert world.document()["total_created_assets"] == 12
        titles = [title for (title,) in world.catalogue.rows("SELECT title FROM asset")]
        assert text.replace(TOKEN, "...") in titles
        shown = world.cli("asset", "list", "--json")
        assert TOKEN not in shown.out

    @pytest.mark.parametrize("escape", [r"\u00{:02x}", r"\u00{:02X}"], ids=["small", "capital"])
    def test_in_a_title_whose_letters_are_escaped(self, world: World, escape: str) -> None:
        world.section("Movies").add(movie(106, "ECHO", file="/data/movies/Echo.mkv"))
        escaped = "".join(escape.format(ord(char)) if number % 3 else char for number, char in enumerate(TOKEN))

        def send(reply: Reply) -> Reply:
            return replace(reply, body=tuple(part.replace(b'"ECHO"', f'"{escaped}"'.encode()) for part in reply.body))

        world.fault(faults.Action(label="escaped", send=send), MOVIES)
        assert world.document()["total_created_assets"] == 12
        titles = world.catalogue.column("SELECT title FROM asset")
        assert "..." in titles
        assert TOKEN not in titles

    def test_in_an_error(self, world: World) -> None:
        coded = "".join(f"&#{ord(char)};" for char in TOKEN)
        text = (
            f'<Response status="starting for {TOKEN}, {quote(TOKEN)}, {b64encode(TOKEN.encode()).decode()}, {coded}"/>'
        )
        world.fault(faults.status(503, text.encode()), MOVIES)
        failed = world.document(status=2)
        assert TOKEN not in html.unescape(str(failed))
        assert b64encode(TOKEN.encode()).decode()[:-4] not in str(failed)
        assert "starting for …, …, …" in str(failed)
        for table in ("ingest_outcome", "ingest_start"):
            assert TOKEN not in str(world.catalogue.rows(f"SELECT t::text FROM {table} t"))


class Echoing(BaseImporter):
    """Puts its token into everything that it says."""

    type_name: ClassVar[str] = "echoing"
    paths_are_local: ClassVar[bool] = True

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        return [ConfigField("token", "a token", secret=True)]

    async def check_reachable(self) -> SourceIdentity:
        return SourceIdentity("here")

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        return [DiscoveredCollection(name, name, "movie", ("/",)) for name in ("Films", "Failing")]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:  # noqa: ARG002
        return Ingestibility(ingestible=True)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:  # noqa: ARG002
        token = self.credentials["token"].reveal()
        if collection.name == "Failing":
            raise SourceError(f"{token} isn't valid", hint=f"give another one than {token}", context={"was": token})
        part = (PartDraft("/x.mkv"),)
        tags = {"genre": [token]}
        draft = AssetDraft(
            source_uri=f"e:{token}:1", type="movie", title=token, parts=part, tags=tags, warnings=(token,)
        )
        yield Page([draft], [Rejection("odd", f"see {token}", "e:2", "Odd")], 2)


class EchoingEnricher(BaseEnricher):
    """The same of an enricher."""

    type_name: ClassVar[str] = "echoing"

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        assert self.source is not None
        token = self.source.credentials["token"].reveal()
        return [Enrichment(fields={"studio": token}, fingerprint={"x": token}, data={token: [token]}) for _ in assets]


@pytest.mark.fault(68)
def test_a_plugin(run_cli: Cli, packages: Packages) -> None:
    packages.install("echoing", echoing=f"{__name__}:Echoing")
    packages.install("echoing_too", "retrovue.enrichers", echoing=f"{__name__}:EchoingEnricher")
    environment = {"RETROVUE_TOKEN": SECRET}
    added = run_cli("source", "add", "--type", "echoing", "--name", "Odd", "--discover", "--json", env=environment)
    assert added.status == 0, added
    run_cli.ok("enricher", "add", "--type", "echoing", "--name", "Odd")
    for name in ("Films", "Failing"):
        run_cli.ok("collection", "update", name, "--enable")
        run_cli.ok("collection", "attach-enricher", name, "Odd")
    done = run_cli("source", "ingest", "Odd", "--json")
    assert done.document["total_created_assets"] == 1
    (asset,) = run_cli.ok("asset", "list")["assets"]
    details = run_cli.ok("asset", "show", asset["uuid"])
    assert (asset["title"], asset["source_uri"], details["asset"]["studio"]) == ("…", "e:…:1", "…")
    texts = [done.out, str(details), str(run_cli.ok("ingest", "log"))]
    assert not any(CANARY in text for text in texts)
