"""One enumeration of one library: which listings it takes, and how they are asked for."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

from anyio.abc import TaskGroup

from retrovue.errors import CollectionGone, RequestError
from retrovue.importers import titles
from retrovue.importers.http.client import Answer, HttpClient, Refusal
from retrovue.importers.http.paging import Budget, Reader, settled, walk
from retrovue.importers.jellyfin import scope as scopes
from retrovue.importers.jellyfin.libraries import KINDS, Libraries
from retrovue.importers.jellyfin.parse import DraftMaker, Parts, Series, in_parts, series_of, source_problem
from retrovue.importers.jellyfin.rows import BadRow, Listing, Row, Source, decode_listing, sketch_listing
from retrovue.model import Collection, Outline, Page, Scope

_ROW_BYTES = 7000
"""What a row with the streams of its files takes, before the first page has told."""

_ALWAYS = {
    "Recursive": "true",
    # What is new comes behind what was read; names break the ties. Ties that are left, and shifts, are found by the
    # proof, not excluded by the order: Jellyfin can't sort by id.
    "SortBy": "DateCreated,SortName",
    "SortOrder": "Ascending",
    "EnableTotalRecordCount": "true",
    # A user may have films hidden behind their collections; the listing would be short of them.
    "CollapseBoxSetItems": "false",
    "EnableImages": "false",
    "EnableUserData": "false",
}
_SERIES_FIELDS = "Genres,Tags,Studios"
_ITEM_FIELDS = "Path,MediaSources,ProviderIds,Genres,Tags,Studios,Chapters"
_HINT = "Try again when Jellyfin is not scanning."


class Enumeration:
    """Reads a library, once more if it changes while it is read, and then gives up."""

    def __init__(
        self,
        client: HttpClient,
        collection: Collection,
        scope: Scope,
        *,
        server_id: str,
        libraries: Callable[[], Awaitable[Libraries]],
        page_size: int,
        budget: Budget,
        tasks: TaskGroup | None = None,
    ) -> None:
        if collection.kind not in KINDS:
            raise RequestError(
                f"A Jellyfin library of kind {collection.kind!r} can't be ingested.",
                code="unsupported_kind",
                context={"kind": collection.kind},
            )
        self._client = client
        self._collection = collection
        self._kind = KINDS[collection.kind]
        self._scope = scope
        self._server_id = server_id
        self._libraries = libraries
        self._page_size = page_size
        self._budget = budget
        self._tasks = tasks
        self._user: dict[str, str] = {}

    async def pages(self) -> AsyncGenerator[Page | Outline, None]:
        """Generate the pages; raises IncompleteEnumeration if the listing moves or doesn't add up twice."""
        read = self._full if self._scope.is_full else self._scoped
        async with aclosing(settled(partial(self._guarded, read), self._collection.name, _HINT)) as pages:
            async for page in pages:
                yield page

    async def _guarded(
        self, read: Callable[[], AsyncGenerator[Page | Outline, None]]
    ) -> AsyncGenerator[Page | Outline, None]:
        # Asked for the items of a library that is gone, Jellyfin lists those of the whole server (LibraryManager
        # drops a parent that it doesn't find). Before and after, the library has to be there.
        await self._find_library()
        async with aclosing(read()) as pages:
            async for page in pages:
                yield page
        await self._find_library()

    async def _find_library(self) -> None:
        libraries = await self._libraries()
        self._user = {} if libraries.user_id is None else {"UserId": libraries.user_id}
        if libraries.get(self._collection.external_id) is None:
            raise self._gone()

    def _gone(self) -> CollectionGone:
        return CollectionGone(
            f"The Jellyfin server has no library with the id {self._collection.external_id}.",
            hint="Discover the source's collections again.",
            context={"library": self._collection.external_id},
        )

    async def _full(self) -> AsyncGenerator[Page | Outline, None]:
        series: dict[bytes, Series] = {}
        if self._kind.has_series:
            # Episodes don't carry the genres, tags and studios of their series.
            async with aclosing(self._walk(self._params("Series", _SERIES_FIELDS))) as listings:
                async for listing, skip, _ in listings:
                    series.update(series_of(listing, skip))
        make = DraftMaker(self._server_id, series)
        # Where the collection has assets, most pages hold nothing new: they are looked over, and read if need be.
        known = self._collection.assets_count > 0
        params = self._params(self._kind.item_types, _ITEM_FIELDS)
        async with aclosing(self._walk(params, sketch=known)) as listings:
            async for listing, skip, body in listings:
                if listing.sketches is None:
                    yield make.page(listing, skip, await self._parts(listing, skip))
                else:
                    yield make.outline(listing, skip, partial(_read_in_full, make, body, skip))

    async def _scoped(self) -> AsyncGenerator[Page | Outline, None]:
        scope = self._scope
        if self._kind.has_series:
            found, about = await self._find_series()
            if found is not None:
                yield await self._episodes(found, about)
                return
        if scope.season is not None or self._collection.kind == "show":
            raise self._not_found("title" if self._kind.has_series else "season")
        for title, year in titles.title_guesses(scope.title or ""):
            page = await self._titled(title, year)
            if page.source_items:
                yield page
                return
        raise self._not_found("title")

    async def _find_series(self) -> tuple[titles.Candidate | None, dict[bytes, Series]]:
        for title, year in titles.title_guesses(self._scope.title or ""):
            found: list[titles.Candidate] = []
            about: dict[bytes, Series] = {}
            test = scopes.has_title(title, year)
            async with aclosing(self._walk(self._params("Series", _SERIES_FIELDS, SearchTerm=title))) as listings:
                async for listing, skip, _ in listings:
                    matching = scopes.select(listing, skip, test)
                    found += scopes.candidates(matching)
                    about |= series_of(matching)
            if found:
                return titles.the_only(found, self._collection, self._scope, "shows"), about
        return None, {}

    async def _episodes(self, series: titles.Candidate, about: dict[bytes, Series]) -> Page:
        scope = self._scope
        make = DraftMaker(self._server_id, about)
        key = bytes.fromhex(str(series.key))
        of_season = scopes.in_season(key, scope.season, None)
        of_scope = scopes.in_season(key, scope.season, scope.episode)
        page, seen = Page([], [], 0), 0
        season = {} if scope.season is None else {"ParentIndexNumber": str(scope.season)}
        params = self._params("Episode", _ITEM_FIELDS, **season) | {"ParentId": key.hex()}
        async with aclosing(self._walk(params)) as listings:
            async for listing, skip, _ in listings:
                episodes = scopes.select(listing, skip, of_season)
                seen += len(episodes.keys)
                await self._add(page, make, scopes.select(episodes, 0, of_scope))
        if scope.season is not None and not page.source_items:
            raise self._not_found("episode" if seen else "season")
        return page

    async def _titled(self, title: str, year: int | None) -> Page:
        # One title is a few items that match: they make one page.
        page, found = Page([], [], 0), list[titles.Candidate]()
        make = DraftMaker(self._server_id)
        item_types = ",".join(one for one in self._kind.item_types.split(",") if one != "Episode")
        test = scopes.has_title(title, year)
        async with aclosing(self._walk(self._params(item_types, _ITEM_FIELDS, SearchTerm=title))) as listings:
            async for listing, skip, _ in listings:
                matching = scopes.select(listing, skip, test)
                found += scopes.candidates(matching)
                await self._add(page, make, matching)
        if found and self._collection.kind in {"movie", "mixed"}:
            titles.the_only(found, self._collection, self._scope, "films")
        return page

    async def _add(self, whole: Page, make: DraftMaker, listing: Listing) -> None:
        page = make.page(listing, 0, await self._parts(listing, 0))
        whole.drafts += page.drafts
        whole.rejected += page.rejected
        whole.source_items += page.source_items

    async def _parts(self, listing: Listing, skip: int) -> Parts:
        """Ask for the further files of the items that have any: they are rare, and no listing holds them."""
        expected = {
            key: row.part_count
            for row, key in zip(listing.rows, listing.keys, strict=True)
            if isinstance(row, Row) and row.part_count
        }
        return {key: await self._parts_of(key, (expected[key] or 0) - 1) for key in in_parts(listing, skip)}

    async def _parts_of(self, key: bytes, count: int) -> list[Source] | None:
        try:
            answer = await self._client.get(f"/Videos/{key.hex()}/AdditionalParts", self._user)
        except Refusal:
            return None
        sources = [_own_source(row) for row in decode_listing(answer.body).rows]
        found = [source for source in sources if source is not None and source_problem(source) is None]
        return found if len(found) == count == len(sources) else None

    def _not_found(self, part: str) -> Exception:
        return titles.not_found(self._collection, self._scope, part, server="Jellyfin", seasons=self._kind.has_series)

    def _params(self, item_types: str, fields: str, **more: str) -> dict[str, str]:
        return {"ParentId": self._collection.external_id, "IncludeItemTypes": item_types, "Fields": fields, **more}

    async def _walk(
        self, params: dict[str, str], *, sketch: bool = False
    ) -> AsyncGenerator[tuple[Listing, int, bytes | bytearray], None]:
        async def ask(start: int, size: int) -> Answer:
            window = {"StartIndex": str(start), "Limit": str(size)}
            try:
                return await self._client.get("/Items", {**_ALWAYS, **self._user, **params, **window})
            except Refusal as exc:
                if exc.status != 404:
                    raise
                raise self._gone() from exc

        reader = Reader(
            self._client,
            ask,
            sketch_listing if sketch else decode_listing,
            page_size=self._page_size,
            row_bytes=_ROW_BYTES,
            budget=self._budget,
            tasks=self._tasks,
        )
        async with aclosing(walk(reader)) as listings:
            async for listing in listings:
                yield listing


def _own_source(row: Row | BadRow) -> Source | None:
    if isinstance(row, BadRow):
        return None
    own = [source for source in row.media_sources or () if source.id == row.id]
    return next(iter(own or row.media_sources or ()), None)


async def _read_in_full(make: DraftMaker, body: bytes | bytearray, skip: int) -> Page:
    return make.page(decode_listing(body), skip)
