"""Read one listing: some pages ahead, as undecoded bytes, and proven to be complete."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.errors import MalformedAnswer, SourceError
from retrovue.core.pages import PageText, Recall
from retrovue.importers.http.ahead import Budget
from retrovue.importers.http.answers import Answer, AnswerTooLarge
from retrovue.importers.http.bookmarks import Bookmark
from retrovue.importers.http.decoder import PageDecoder
from retrovue.importers.http.decoding import DecodingAhead
from retrovue.importers.http.listing import (
    LARGE_ANSWER,
    BadRow,
    KeyT,
    ListedRow,
    Listing,
    OutlineListing,
    OutlineT,
    RecognisedListing,
    RowT,
    has_many_objects,
)
from retrovue.importers.http.paging import Proof
from retrovue.importers.http.query import Query
from retrovue.importers.http.refusals import Refusal
from retrovue.importers.http.work import Work
from retrovue.importers.waiting import read_ahead, waiting_for_source

_ENOUGH_DECODED = 2
"""So many windows have to be decoded before most of a known library counts as changed."""


class Window(NamedTuple, Generic[RowT, OutlineT, KeyT]):
    """A page of the listing, without the row that it shares with the page before."""

    listing: Listing[RowT | BadRow, KeyT] | OutlineListing[OutlineT, KeyT]
    body: bytes | bytearray
    """The whole answer, with the shared row; empty if all of it is decoded."""
    shared: int
    """How many rows it shares with the page before: one or none."""
    total: int | None
    """The rows of the whole listing according to itself."""
    bookmark: Bookmark | None = None
    """The bookmark after it; None without a decoder."""
    last: bool = False
    """Whether the listing is proven to end with it, without another request."""


class _Request(Struct, eq=False):
    """A request for a window: pending, or answered with bytes that wait until they are used."""

    start: int
    size: int
    reserved: int
    """Bytes of the budget."""
    scope: anyio.CancelScope
    done: anyio.Event
    answer: Answer | None = None
    error: Exception | None = None
    work: Work | None = None
    """Has the body of the answer if a second process decodes it."""
    text: bytes | None = None
    """The hash of the text of its rows as they came, if it is that of a known page. The answer isn't cleaned then."""


class _Arrived(NamedTuple):
    """An answer that is needed now; see `_Request`."""

    answer: Answer
    work: Work | None = None
    text: bytes | None = None


class ListingReader(Generic[RowT, OutlineT, KeyT]):
    """Reads one listing. Requests ahead run as tasks of the group; without a group nothing is read ahead."""

    def __init__(
        self,
        query: Query[RowT, OutlineT, KeyT],
        *,
        page_size: int,
        budget: Budget,
        tasks: TaskGroup | None = None,
        outline: bool = False,
        decoder: PageDecoder[RowT, OutlineT, KeyT] | None = None,
        ahead: DecodingAhead | None = None,
        recall: Recall | None = None,
        check_deadline: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare to read; nothing is requested before ``windows``.

        ``decoder`` makes the digests and pages of windows; without it they have rows. With ``outline`` it decodes only
        what is needed to recognise the items, and nothing of pages that ``recall`` knows. ``ahead`` decodes in a second
        process what is requested ahead. ``check_deadline`` is called after each window, and raises an error if reading
        takes too long.
        """
        self.query = query
        self.page_size = page_size
        self._decoder = decoder
        self._outliner = decoder if outline else None
        self._ahead = ahead
        self._recall = recall
        self._check_deadline = check_deadline
        self._budget = budget
        self._tasks = tasks
        self._requests: dict[tuple[int, int], _Request] = {}
        self._typical_bytes = page_size * query.row_bytes
        self._has_turn = False
        self._windows = self._decoded_windows = 0
        """How many windows were read, and how many of them had to be decoded."""
        self._proof = Proof(page_size, query.seen())

    async def go_on(self, bookmarks: Sequence[Bookmark]) -> bool:
        """Let ``windows`` start after the windows of these bookmarks, if the listing is still the same.

        The first and the last of them are read again: they have to be the same, in a listing with the same number of
        rows. Returns whether they are; if not, another reader has to read the listing from the beginning.
        """
        if self._decoder is None or not self._proof.go_on(bookmarks):
            return False
        self.query.way = bookmarks[-1].way
        for bookmark in bookmarks if len(bookmarks) == 1 else (bookmarks[0], bookmarks[-1]):
            try:
                listing, answer = await self._read([bookmark.start], bookmark.asked)
                stated = {total for total in (listing.total, answer.total) if total is not None}
                if stated != {bookmark.total} or listing.digest != bookmark.digest:
                    return False
            finally:
                self._end_turn()
        return self.query.way == bookmarks[-1].way

    async def windows(self) -> AsyncGenerator[Window[RowT, OutlineT, KeyT], None]:
        """Yield the windows of the whole listing. All their rows are different items.

        Raises ListingMoved unless their number is that of the listing.
        """
        proof = self._proof
        try:
            while not proof.complete:
                start, size = proof.start, proof.size
                listing, answer = await self._read(proof.plan(), size, proof.overlap)
                shared = proof.take(listing, answer, start)
                self._expect_the_rest(listing)
                window = [self._window(listing, answer.body, shared, start, size)] if listing.keys else []
                del listing, answer  # Neither the bytes nor the rows are needed while their result is used.
                if window:
                    yield window.pop()
                    self._check_deadline()
                self._end_turn()
            if proof.ends_with_a_full_page:
                proof.take_beyond(await self._read_beyond(proof.received))
        finally:
            self._end_turn()
            while self._requests:
                self._drop(self._requests.popitem()[1])
            if self._ahead is not None:
                self._ahead.end()

    def _expect_the_rest(self, listing: Listing[Any, KeyT]) -> None:
        """Say once how many rows the listing still has. Where pages may be known, most must have had to be decoded."""
        if self._ahead is None or self._tasks is None or self._proof.total is None:
            return
        if self._recall is not None:
            self._windows += 1
            self._decoded_windows += not isinstance(listing, RecognisedListing)
            if self._decoded_windows < _ENOUGH_DECODED or 2 * self._decoded_windows <= self._windows:
                return
        self._ahead.expect(self._proof.total - self._proof.received, self._tasks)

    def decode_in_full(
        self, window: Window[RowT, OutlineT, KeyT], *, taken: bool = True
    ) -> Listing[RowT | BadRow, KeyT]:
        """Decode in full a window of which only the outline was decoded; without ``taken`` it has its rows."""
        body = window.body
        if isinstance(window.listing, RecognisedListing):
            body = self.query.client.cleaned(Answer(body, None, None)).body
        listing = self._decode(body, window.shared if taken else None)
        listing.without(window.shared)
        return listing

    def row_texts(self, window: Window[RowT, OutlineT, KeyT]) -> Sequence[msgspec.Raw]:
        """Return the text of each row of a window of which only the outline was decoded."""
        return self.query.form.raw_rows(window.body)[window.shared :]

    def decode_some(
        self, window: Window[RowT, OutlineT, KeyT], texts: Sequence[msgspec.Raw], positions: Sequence[int]
    ) -> list[ListedRow[RowT | BadRow, KeyT]]:
        """Decode some rows of such a window in full, by their positions among its ``texts``."""
        rows = self.query.form.decode_rows([texts[position] for position in positions])
        if rows is not None:
            return rows
        whole = self.decode_in_full(window, taken=False).rows
        return [whole[position] for position in positions]

    def _window(
        self,
        listing: Listing[RowT | BadRow, KeyT] | OutlineListing[OutlineT, KeyT],
        body: bytes | bytearray,
        shared: int,
        start: int,
        asked: int,
    ) -> Window[RowT, OutlineT, KeyT]:
        proof, digest, bookmark = self._proof, listing.digest, None
        listing.without(shared)
        if digest is not None and proof.total is not None:
            full, way, keys = proof.ends_with_a_full_page, self.query.way, listing.keys
            bookmark = Bookmark(start, asked, proof.size, proof.total, full, way, digest, keys)
        kept = body if isinstance(listing, OutlineListing) else b""
        return Window(listing, kept, shared, proof.total, bookmark, proof.complete and not proof.ends_with_a_full_page)

    async def _read(
        self, plan: Sequence[int], size: int, shared: int | None = None
    ) -> tuple[Listing[RowT | BadRow, KeyT] | OutlineListing[OutlineT, KeyT], Answer]:
        """Read the window at the first start of the plan, and request the next ones.

        The rows after the ``shared`` ones are taken; with None they aren't.
        """
        answer, work, text = await self._next_answer(plan, size)
        if work is not None and self._ahead is not None:
            if (done := await self._ahead.result(work)) is not None:
                return done, replace(answer, body=work.body)
            answer = replace(answer, body=work.body) if work.body else await self._get(plan[0], size)
        if shared is not None and (recognised := self._recognised(answer.body, text, shared)) is not None:
            return recognised, answer
        if text is not None:
            answer = self.query.client.cleaned(answer)
        await self._take_turn_for(answer)
        # A large answer isn't kept for a second decoding.
        if self._outliner is not None and not self._has_turn:
            listing = self._outliner.decode_outline(answer.body, shared or 0)
            if listing is not None:
                return listing, answer
        return await self._decoded(answer, plan[0], size, shared)

    def _recognised(
        self, body: bytes | bytearray, text: bytes | None, shared: int
    ) -> RecognisedListing[OutlineT, KeyT] | None:
        """Return the listing of a known page; None if it has to be decoded. ``text`` is the hash of its rows."""
        if self._recall is None or self._outliner is None:
            return None
        digest = self._outliner.text_digest(body) if text is None else text
        rows = self._recall.rows_of(digest)
        return None if rows is None else self._outliner.recognise(body, PageText(digest, rows), shared)

    def _is_known(self, request: _Request, body: bytes | bytearray) -> bool:
        """Return whether an answer has the text of a known page, and take note of it."""
        if self._recall is not None and self._outliner is not None:
            text = self._outliner.text_digest(body)
            request.text = text if self._recall.may_know(text) else None
        return request.text is not None

    async def _next_answer(self, plan: Sequence[int], size: int) -> _Arrived:
        """Request the windows of the plan, and return the answer with the first one.

        Requests for windows that are no longer in the plan are cancelled.
        """
        if self._tasks is None or self._typical_bytes > LARGE_ANSWER:
            return _Arrived(await self._get(plan[0], size))
        for key in [key for key in self._requests if key not in {(start, size) for start in plan}]:
            self._drop(self._requests.pop(key))
        for start in plan:
            if (start, size) in self._requests:
                continue
            if self._requests and not self._budget.has_room_for(self._typical_bytes):
                break
            self._requests[start, size] = self._request(self._tasks, start, size)
        request = self._requests.pop((plan[0], size))
        try:
            return _Arrived(await self._answer(request), request.work, request.text)
        except AnswerTooLarge:
            if self._large_allowed:
                return _Arrived(await self._get(plan[0], size, large=True))
            raise

    async def _read_beyond(self, end: int) -> Listing[Any, KeyT] | None:
        """Read one row after the claimed end of the listing; None if the server refuses that."""
        try:
            listing, _ = await self._read([end], 1)
        except Refusal:
            return None
        return listing

    async def _get(self, start: int, size: int, *, large: bool = False) -> Answer:
        """Request a window that is needed now; a large one (``large`` if that is known) waits for its turn."""
        if large or self._typical_bytes > LARGE_ANSWER:
            await self._take_turn()
        most = None if self._has_turn else LARGE_ANSWER
        try:
            answer = await self.query.get(start, size, most=most)
        except AnswerTooLarge:
            if self._has_turn or not self._large_allowed:
                raise
            return await self._get(start, size, large=True)
        self._typical_bytes = len(answer.body)
        return answer

    @property
    def _large_allowed(self) -> bool:
        return self.query.client.policy.body_cap > LARGE_ANSWER

    async def _take_turn_for(self, answer: Answer) -> None:
        if has_many_objects(answer.body):
            await self._take_turn()

    async def _take_turn(self) -> None:
        if not self._has_turn:
            await self._budget.turn.acquire()
            self._has_turn = True

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._budget.turn.release()

    def _decode(self, body: bytes | bytearray, shared: int | None) -> Listing[RowT | BadRow, KeyT]:
        if self._decoder is not None:
            return self._decoder.decode(body, shared)
        listing: Listing[RowT | BadRow, KeyT] = self.query.form.decode(body)
        return listing

    async def _decoded(
        self, answer: Answer, start: int, size: int, shared: int | None
    ) -> tuple[Listing[RowT | BadRow, KeyT], Answer]:
        client = self.query.client
        retries = {"bad_json": client.policy.attempts - 1, "no_container": 1}
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._decode(answer.body, shared), answer
            except MalformedAnswer as exc:
                if attempt > retries.get(exc.code, 0):
                    raise
            await client.pause(attempt)
            answer = await self._get(start, size)

    def _request(self, tasks: TaskGroup, start: int, size: int) -> _Request:
        request = _Request(start, size, self._typical_bytes, anyio.CancelScope(), anyio.Event())
        self._budget.held += request.reserved
        tasks.start_soon(self._run, request)
        return request

    async def _run(self, request: _Request) -> None:
        read_ahead()
        with request.scope:
            try:
                answer = await self.query.get(
                    request.start, request.size, most=LARGE_ANSWER, is_known=partial(self._is_known, request)
                )
            except Exception as exc:  # noqa: BLE001 - raised where the page is awaited, not as an error of the group
                request.error = exc
            else:
                actual = len(answer.body)
                if request.reserved:
                    self._budget.held += actual - request.reserved
                    request.reserved = actual
                self._typical_bytes = actual
                request.answer = self._decode_ahead(request, answer)
            finally:
                request.done.set()

    def _decode_ahead(self, request: _Request, answer: Answer) -> Answer:
        """Pass an answer to the second process if there is one; return what is left of it."""
        if self._ahead is None or request.text is not None or has_many_objects(answer.body):
            return answer
        request.work = self._ahead.take(answer.body, self._proof.overlap_at(request.start))
        return answer if request.work is None else replace(answer, body=b"")

    async def _answer(self, request: _Request) -> Answer:
        try:
            with waiting_for_source():
                await request.done.wait()
        finally:
            self._release(request)
        if request.error is not None:
            raise request.error
        if request.answer is None:
            raise SourceError("The request for a page was cancelled before the page arrived.", code="closed")
        return request.answer

    def _drop(self, request: _Request) -> None:
        self._release(request)
        if request.work is not None and self._ahead is not None:
            self._ahead.give_up(request.work)

    def _release(self, request: _Request) -> None:
        """Cancel a request if it is under way, and return its bytes to the budget."""
        request.scope.cancel()
        self._budget.held -= request.reserved
        request.reserved = 0
