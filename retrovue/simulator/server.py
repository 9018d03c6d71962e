"""A Plex server on the loopback interface, with the library and the faults that its owner scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrovue.simulator import replies
from retrovue.simulator.events import PATH, Events
from retrovue.simulator.faults import Action
from retrovue.simulator.library import Answer, Library, write_listing
from retrovue.simulator.model import Section
from retrovue.simulator.render import to_json, to_xml
from retrovue.simulator.request import Reply, Request, read_request
from retrovue.simulator.serving import SimulatedServer


class SimulatedPlex(SimulatedServer):
    """A simulated Plex server."""

    def __init__(
        self,
        sections: Sequence[Section] = (),
        *,
        token: str | None = "simulated-plex-token",  # noqa: S107 - it opens nothing but this simulator
        machine_identifier: str = "5ca1ab1e00000000000000000000000000000001",
        friendly_name: str = "Simulated Plex",
        version: str = "1.43.3.10828-00000000",
        latency: float = 0.0,
        latency_per_row: float = 0.0,
        max_page_size: int | None = None,
        refuse_page_over: int | None = None,
        refuse_sort_id: bool = False,
        gzip_replies: bool = False,
        idle_timeout: float = 20.0,
        record_requests: bool = True,
    ) -> None:
        """Take the sections; nothing listens before `serve`.

        `latency` is added to each request, and `latency_per_row` for each row that comes before the window, as a
        server whose pages take longer the further on they are; both are seconds. A page is never longer than
        `max_page_size`; one that is asked to be longer than `refuse_page_over` is refused with 400.
        """
        super().__init__(
            latency=latency,
            latency_per_row=latency_per_row,
            gzip_replies=gzip_replies,
            idle_timeout=idle_timeout,
            record_requests=record_requests,
        )
        self.library = Library(
            sections=list(sections),
            machine_identifier=machine_identifier,
            friendly_name=friendly_name,
            version=version,
            max_page_size=max_page_size,
            refuse_page_over=refuse_page_over,
            refuse_sort_id=refuse_sort_id,
        )
        self.events = Events()
        """Who listens to the server, and what they are told."""
        self._token = token

    def emit(self, name: str, data: Any) -> None:
        """Tell whoever listens of an event, such as ``timeline``, with its data."""
        self.events.emit(name, data)

    @property
    def sections(self) -> list[Section]:
        """The sections, which may be added to and taken from while the server runs."""
        return self.library.sections

    @property
    def machine_identifier(self) -> str:
        """The server's identity; a test may put another server in its place by changing it."""
        return self.library.machine_identifier

    @machine_identifier.setter
    def machine_identifier(self, value: str) -> None:
        self.library.machine_identifier = value

    def read(self, method: str, target: str, headers: dict[str, str]) -> Request:
        """Read a request; raises BadArgument if its window or its type is not a number."""
        return read_request(method, target, headers, self._token)

    def refusal(self, request: Request) -> Reply | None:
        """Refuse who shows no token, except to say who answers, and whoever wants to change something."""
        if not request.authorised and request.path != "/identity":
            return replies.error(401)
        if request.method not in ("GET", "HEAD"):
            return replies.error(404)
        return None

    def from_library(self, request: Request, actions: Sequence[Action]) -> Reply:
        """Answer from the sections."""
        if request.path == PATH:
            return self.events.reply()
        asked = request
        for action in actions:
            if action.ask is not None:
                asked = action.ask(asked)
        changes = [action.alter for action in actions if action.alter is not None]
        answer = self.library.answer(asked, as_rows=bool(changes) or not request.wants_json)
        if isinstance(answer, Reply):
            return answer
        if asked is not request and "offset" in answer.container:
            # The answer claims to be the one that was asked for.
            answer.container["offset"] = request.start or 0
            answer.headers["X-Plex-Container-Start"] = str(request.start or 0)
        for change in changes:
            answer.container = change(answer.container)
        if "totalSize" in answer.container:
            answer.headers["X-Plex-Container-Total-Size"] = str(answer.container["totalSize"])
        return _written(answer, as_json=request.wants_json)

    def __repr__(self) -> str:
        return f"SimulatedPlex({self.library.friendly_name!r}, sections={self.sections!r})"


def _written(answer: Answer, *, as_json: bool) -> Reply:
    if not as_json:
        headers = {"Content-Type": "text/xml;charset=utf-8"} | answer.headers
        return Reply(headers=headers, body=(to_xml(answer.container),))
    body = (to_json(answer.container),) if answer.rows_json is None else write_listing(answer)
    return Reply(headers={"Content-Type": "application/json"} | answer.headers, body=body)
