"""What a client asked, and what it is answered, without the token that it showed."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from anyio.abc import SocketStream

_CONCEALED = "[concealed]"


@dataclass(slots=True, kw_only=True)
class Request:
    """A request as the simulator recorded it; the token is checked and then concealed."""

    method: str
    path: str
    params: list[tuple[str, str]]
    headers: dict[str, str]
    """Names are in lower case."""
    token_from: Literal["header", "query"] | None = None
    """Where the client put its token."""
    authorised: bool = False
    start: int | None = None
    size: int | None = None
    item_type: int | None = None
    section: str | None = None
    """The library, where the path does not name it."""
    kinds: str | None = None
    """The types of item asked for, where they are words."""
    attempt: int = 1
    """How often this path, library, type and window has been asked for, this request included."""
    status: int | None = None
    """Set when the answer has been chosen."""

    @property
    def page(self) -> int | None:
        """Which page the window is; None for an unpaged request and for one that asks for the total only."""
        return (self.start or 0) // self.size if self.size else None

    @property
    def query(self) -> dict[str, str]:
        """The query arguments; the last one wins."""
        return dict(self.params)

    @property
    def wants_json(self) -> bool:
        """Whether the client accepts JSON by name."""
        return "application/json" in self.headers.get("accept", "")

    def from_start(self, start: int) -> Request:
        """Return the same request for a window elsewhere."""
        return replace(self, start=start)


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer, and the way in which it goes over the wire."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: tuple[bytes, ...] = ()
    framing: Literal["length", "chunked", "close"] = "length"
    """How the client is told where the body ends."""
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    reset: bool = False
    """Where the connection ends early, end it by a reset."""
    silent: bool = False
    """Send nothing at all before the connection ends."""
    pace: tuple[int, float] | None = None
    """Send so many bytes at a time, and wait so many seconds between."""
    stream: AsyncIterable[bytes] | None = None
    """Send these pieces as they come, in place of the body, and then close the connection."""
    upgrade: Callable[[SocketStream], Awaitable[None]] | None = None
    """Give the connection away after the headers, for another protocol, and then close it."""

    def whole(self) -> bytes:
        """Return the body in one piece."""
        return b"".join(self.body)


class BadArgument(ValueError):
    """An argument that Plex answers with 400."""


def read_request(method: str, target: str, headers: dict[str, str], token: str | None) -> Request:
    """Read a request; raises BadArgument if its window or its type is not a number."""
    pieces = urlsplit(target)
    params = parse_qsl(pieces.query, keep_blank_values=True)
    shown = {"header": headers.get("x-plex-token")}
    shown["query"] = next((value for name, value in params if name.lower() == "x-plex-token"), None)
    token_from: Literal["header", "query"] | None = None
    if shown["header"] is not None:
        token_from = "header"  # noqa: S105 - the name of a place
    elif shown["query"] is not None:
        token_from = "query"  # noqa: S105 - the name of a place
    authorised = token is None or (token_from is not None and shown[token_from] == token)
    headers = {name: _CONCEALED if name == "x-plex-token" else value for name, value in headers.items()}
    params = [(name, _CONCEALED if name.lower() == "x-plex-token" else value) for name, value in params]
    path = unquote(pieces.path)
    request = Request(
        method=method,
        path=path.rstrip("/") or "/",
        params=params,
        headers=headers,
        token_from=token_from,
        authorised=authorised,
    )
    # Every X-Plex header may be a query argument instead.
    arguments: dict[str, Any] = {name.lower(): value for name, value in params}
    for name in ("start", "size"):
        header = f"x-plex-container-{name}"
        setattr(request, name, _number(arguments.get(header, headers.get(header))))
    request.item_type = _number(arguments.get("type"))
    return request


def _number(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not text.isdecimal() or len(text) > 18:
        raise BadArgument(text)
    return int(text)
