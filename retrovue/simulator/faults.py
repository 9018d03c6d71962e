"""Faults that a test or a benchmark scripts by path, page and attempt."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import anyio
import orjson

from retrovue.simulator import replies
from retrovue.simulator.request import Reply, Request

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What goes wrong, at the stage of answering where it does."""

    label: str
    hold: Callable[[Request], Awaitable[None]] | None = None
    """Waits before anything is answered."""
    ask: Callable[[Request], Request] | None = None
    """Answers another request in place of this one."""
    replace: Callable[[Request], Reply] | None = None
    """Answers in place of the library."""
    alter: Callable[[JsonObject], JsonObject] | None = None
    """Changes the container before it is written as JSON or XML."""
    send: Callable[[Reply], Reply] | None = None
    """Changes the finished answer or the way it is sent."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and the requests that it meets."""

    action: Action
    path: str | Callable[[Request], bool] = "*"
    """A path, a pattern such as `/library/sections/*/all`, or a test of the request."""
    page: int | None = None
    """The page by start // size; requests for the total only are no page."""
    item_type: int | None = None
    section: str | None = None
    """A library, where the path does not name it."""
    kinds: str | None = None
    """The types of item asked for, where they are words."""
    attempt: int | Container[int] | None = None
    """The first, second, … time that this window is asked for; None is every time."""
    times: int | None = None
    """How often the fault happens before it is over; None is without end."""

    def meets(self, request: Request) -> bool:
        """Whether this request runs into the fault."""
        if isinstance(self.path, str):
            if not fnmatchcase(request.path, self.path):
                return False
        elif not self.path(request):
            return False
        for name in ("page", "item_type", "section", "kinds"):
            wanted = getattr(self, name)
            if wanted is not None and getattr(request, name) != wanted:
                return False
        if isinstance(self.attempt, int):
            return request.attempt == self.attempt
        return self.attempt is None or request.attempt in self.attempt


class Faults:
    """The script of faults of one server."""

    def __init__(self) -> None:
        self._script: list[Fault] = []
        self._left: dict[int, int] = {}
        self.injected = 0
        """How many faults have happened."""

    def add(self, *faults: Fault) -> None:
        """Add faults; of several that meet a request all happen, in this order."""
        for fault in faults:
            self._script.append(fault)
            if fault.times is not None:
                self._left[id(fault)] = fault.times

    def clear(self) -> None:
        """Forget all faults."""
        self._script.clear()
        self._left.clear()

    def take(self, request: Request) -> list[Action]:
        """Return the actions that this request runs into, counted as happened."""
        taken: list[Action] = []
        for fault in self._script:
            left = self._left.get(id(fault))
            if left == 0 or not fault.meets(request):
                continue
            if left is not None:
                self._left[id(fault)] = left - 1
            taken.append(fault.action)
        self.injected += len(taken)
        return taken


def status(code: int, body: bytes | None = None, headers: dict[str, str] | None = None) -> Action:
    """Answer with an HTTP status, with Plex's own HTML body unless another is given."""

    def answer(_: Request) -> Reply:
        reply = replies.error(code, headers)
        return reply if body is None else replace(reply, body=(body,))

    return Action(label=f"status {code}", replace=answer)


def rate_limited(retry_after: str | int = 1) -> Action:
    """429, with the Retry-After that the client shall honour: seconds or a date."""
    return status(429, headers={"Retry-After": str(retry_after)})


def maintenance(text: str = replies.MIGRATING) -> Action:
    """503 with the XML of a server that migrates its database or is starting."""
    return Action(label="maintenance", replace=lambda _: replies.maintenance(text))


def redirect(url: str, code: int = 302) -> Action:
    """Answer with a redirect, perhaps to an origin that must not see the token."""
    return status(code, b"", {"Location": url})


def html_page() -> Action:
    """200 with a web page, as a proxy or another server answers."""
    body = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>It works.</body></html>"
    return status(200, body, {"Content-Type": "text/html"})


def no_container(document: object = None) -> Action:
    """200 with JSON that has no MediaContainer."""
    body = orjson.dumps({} if document is None else document)
    return status(200, body, {"Content-Type": "application/json"})


def invalid_json() -> Action:
    """200 and a body that stops being JSON after its beginning, though its length is right."""
    return transform(lambda body: body[: len(body) // 2] + b"}{,")


def invalid_utf8() -> Action:
    """Answer with a title whose bytes are not UTF-8."""
    return transform(lambda body: body.replace(b'"title":"', b'"title":"\xff\xfe', 1))


def transform(change: Callable[[bytes], bytes]) -> Action:
    """Any change of the finished body."""
    return Action(label="transform", send=lambda reply: replace(reply, body=(change(reply.whole()),)))


def content_type(value: str) -> Action:
    """Answer with a right body under a wrong Content-Type."""
    return Action(
        label="content type", send=lambda reply: replace(reply, headers=reply.headers | {"Content-Type": value})
    )


def empty() -> Action:
    """Answer with a container without rows that says there are none."""

    def alter(container: JsonObject) -> JsonObject:
        container.pop("Metadata", None)
        container.pop("Directory", None)
        container["size"] = 0
        if "totalSize" in container:
            container["totalSize"] = 0
        return container

    return Action(label="empty", alter=alter)


def lie_about_total(delta: int) -> Action:
    """Answer with a totalSize that is too large or too small."""

    def alter(container: JsonObject) -> JsonObject:
        return container | {"totalSize": int(container["totalSize" if "totalSize" in container else "size"]) + delta}

    return Action(label="lying total", alter=alter)


def duplicate_rows(count: int = 1) -> Action:
    """Answer with the first rows of the page once more at its end, in place of the last ones."""

    def change(rows: list[Any]) -> list[Any]:
        return [*rows[: max(len(rows) - count, 0)], *rows[:count]][: len(rows)]

    return rows_changed("duplicate rows", change)


def short_page(drop: int = 1) -> Action:
    """Answer with the last rows of the page missing, though more follow."""
    return rows_changed("short page", lambda rows: rows[: max(len(rows) - drop, 0)])


def giant_page(copies: int = 1000) -> Action:
    """Answer with the rows of the page many times over."""
    return rows_changed("giant page", lambda rows: rows * copies)


def rows_changed(label: str, change: Callable[[list[Any]], list[Any]]) -> Action:
    """Any change of the rows of the page; the size follows."""

    def alter(container: JsonObject) -> JsonObject:
        rows = change(list(container.get("Metadata", [])))
        return container | {"Metadata": rows, "size": len(rows) + len(container.get("Directory", []))}

    return Action(label=label, alter=alter)


def repeat_first_page() -> Action:
    """Answer with the first page, whichever is asked for."""
    return Action(label="repeated page", ask=lambda request: request.from_start(0))


def truncate(after: int, *, framing: str = "length") -> Action:
    """Close the connection after so many bytes of the body.

    With framing "length" the client can see that bytes are missing, with "chunked" that no end came;
    with "close" the cut looks like the end.
    """
    if framing not in ("length", "chunked", "close"):
        raise ValueError(framing)

    def send(reply: Reply) -> Reply:
        reply = replace(reply, cut_after=after)
        reply.framing = framing  # type: ignore[assignment]
        return reply

    return Action(label="truncated", send=send)


def reset(after: int | None = None) -> Action:
    """Reset the connection: before anything is sent, or after so many bytes of the body."""
    if after is None:
        return Action(label="reset", replace=lambda _: Reply(silent=True, reset=True))
    return Action(label="reset", send=lambda reply: replace(reply, cut_after=after, reset=True))


def disconnect() -> Action:
    """Close the connection without an answer, as a server does with plain HTTP where TLS is required."""
    return Action(label="disconnect", replace=lambda _: Reply(silent=True))


def trickle(size: int, interval: float) -> Action:
    """Send so many bytes at a time, with so many seconds between."""
    return Action(label="trickle", send=lambda reply: replace(reply, pace=(size, interval)))


def delay(seconds: float) -> Action:
    """Wait before answering."""

    async def hold(_: Request) -> None:
        await anyio.sleep(seconds)

    return Action(label="delay", hold=hold)


def hang(release: anyio.Event) -> Action:
    """Do not answer until the event is set."""

    async def hold(_: Request) -> None:
        await release.wait()

    return Action(label="hang", hold=hold)


def gzip_bomb(decoded: int = 1 << 28) -> Action:
    """Answer with a small compressed body that becomes so many bytes."""

    def send(reply: Reply) -> Reply:
        headers = reply.headers | {"Content-Encoding": "gzip"}
        return replace(reply, headers=headers, body=(_bomb(decoded),))

    return Action(label="gzip bomb", send=send)


def truncated_gzip(keep: float = 0.5) -> Action:
    """Answer with a compressed body whose end is missing, under a length that fits."""

    def send(reply: Reply) -> Reply:
        packed = gzip.compress(reply.whole())
        headers = reply.headers | {"Content-Encoding": "gzip"}
        return replace(reply, headers=headers, body=(packed[: int(len(packed) * keep)],))

    return Action(label="truncated gzip", send=send)


def some(percent: float, seed: int = 1) -> Callable[[Request], bool]:
    """Return a test for Fault.path that picks this share of all windows, always the same ones."""

    def meets(request: Request) -> bool:
        name = f"{seed}/{request.path}/{request.item_type}/{request.start}/{request.size}"
        return zlib.crc32(name.encode()) % 10_000 < percent * 100

    return meets


def _bomb(decoded: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 65_536
    pieces = [packer.compress(block) for _ in range(decoded // len(block))]
    return b"".join((*pieces, packer.compress(b" " * (decoded % len(block))), packer.flush()))
