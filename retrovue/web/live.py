"""Server-sent events: fragments of a page, each sent when it has changed.

Fragments are rendered from the database, so that runs of commands and of other hosts show too. A new stream sends all
fragments, unless the browser names in Last-Event-ID the state that it already has. So nothing is lost by reconnecting.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import anyio
from starlette.requests import Request
from starlette.responses import StreamingResponse

from retrovue.core.errors import StoreError
from retrovue.web.state import PageState, state_of, watch

PAUSE_S = 0.25
"""The shortest time between two updates, in seconds."""
PING_S = 15.0
"""The longest time without data, in seconds; then a comment is sent, because proxies close idle connections."""

Pieces = Callable[[], Awaitable[Mapping[str, str] | None]]
"""Returns the fragments by the ids of their elements; None if the browser has to reload the page."""


def live(request: Request, pieces: Pieces) -> StreamingResponse:
    """Return a stream of the fragments of a page."""
    watch(state_of(request))
    known = request.headers.get("last-event-id", "")
    stream = _stream(state_of(request), pieces, known)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _stream(state: PageState, pieces: Pieces, known: str) -> AsyncIterator[str]:
    sent: Mapping[str, str] = {}
    yield "retry: 1000\n\n"
    while not state.closing.is_set():
        changed = state.changed
        try:
            found = await pieces()
        except StoreError:
            found = sent  # The database may be reachable again at the next update.
        if found is None:
            yield _event("reload", "", "")
            return
        now = _state(found)
        if not sent and known == now:
            sent = found
        for name, piece in found.items():
            if sent.get(name) != piece:
                yield _event("piece", piece, now)
        sent = found
        await anyio.sleep(PAUSE_S)
        with anyio.move_on_after(PING_S) as waited:
            await changed.wait()
        if waited.cancelled_caught:
            yield ": still here\n\n"


def _state(pieces: Mapping[str, str]) -> str:
    return hashlib.sha256("\0".join(pieces.values()).encode()).hexdigest()[:16]


def _event(kind: str, data: str, event_id: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {kind}\nid: {event_id}\n{lines}\n"
