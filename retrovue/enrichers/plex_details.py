"""The enricher ``plex-details``: gets from Plex what its listings leave out."""

import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, ClassVar, Self

from retrovue.core.errors import RequestError
from retrovue.core.model import Source
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.importers.http.client import Transport
from retrovue.importers.plex.details import Detail
from retrovue.importers.plex.importer import PlexImporter

_URI = re.compile(r"plex://[^/]+/library/metadata/([0-9]{1,18})\?media=([0-9]{1,18})")


class PlexDetailsEnricher(BaseEnricher):
    """Gets streams, external subtitles, chapters and markers, with the address and token of the source."""

    type_name: ClassVar[str] = "plex-details"
    batch_size: ClassVar[int] = 100
    """The number of ids in a request; Plex answers at least 240."""
    deadline_s: ClassVar[float] = 180.0
    source_types: ClassVar[frozenset[str] | None] = frozenset({"plex"})

    def __init__(
        self, config: Mapping[str, Any], source: Source | None = None, *, transport: Transport | None = None
    ) -> None:
        super().__init__(config, source)
        self._transport = transport
        self._importer: PlexImporter | None = None
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Reach the server, and check that it is the source's server."""
        if self.source is None:
            raise RequestError("The details of Plex need a source.", code="no_source")
        credentials = {name: secret.resolved() for name, secret in self.source.credentials.items()}
        importer = PlexImporter(self.source.config, credentials, transport=self._transport)
        async with AsyncExitStack() as stack:
            self._importer = await stack.enter_async_context(importer)
            await importer.check_reachable()
            self._opened = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._opened.aclose()

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Request the items of all assets at once."""
        if self._importer is None:
            raise RequestError("The enricher has to be entered before it is used.", code="not_entered")
        matches = [_URI.fullmatch(asset.source_uri) for asset in assets]
        keys = sorted({int(match[1]) for match in matches if match})
        details = await self._importer.details(keys) if keys else {}
        return [_answer(match, details) for match in matches]


def _answer(match: re.Match[str] | None, details: Mapping[int, Detail | str]) -> Enrichment | Failure:
    if match is None:
        return Failure("not_of_plex", "The asset's source URI isn't one of Plex.")
    detail = details.get(int(match[1]))
    if detail is None:
        return Failure("gone_from_source", "The server doesn't know the item any more.")
    if isinstance(detail, str):
        return Failure("malformed_answer", detail)
    streams = detail.streams.get(int(match[2]))
    if streams is None:
        return Failure("gone_from_source", "The item doesn't have this version any more.")
    fields = {"streams": streams, "chapters": detail.chapters, "markers": detail.markers}
    return Enrichment(fields=fields, data={"warnings": detail.warnings} if detail.warnings else None)
