"""A Jellyfin server on the loopback interface, with the libraries and the faults that its owner scripts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from retrovue.simulator.faults import Action
from retrovue.simulator.jellyfin.items import item_id
from retrovue.simulator.jellyfin.library import JellyfinLibrary, chosen, shown
from retrovue.simulator.jellyfin.socket import PATH, Sockets
from retrovue.simulator.model import Row
from retrovue.simulator.request import BadArgument, Reply, Request
from retrovue.simulator.serving import SimulatedServer

_TOKEN = re.compile(r'MediaBrowser .*Token="([^"]*)"')
_CONCEALED = "[concealed]"
_PUBLIC = "/System/Info/Public"
_NUMBER = re.compile(r"[0-9]{1,9}")

Standing = Literal["api key", "administrator", "user"]


@dataclass(slots=True)
class _Listing:
    """A window of items, in the words that faults use for any server's."""

    container: dict[str, Any]


class SimulatedJellyfin(SimulatedServer):
    """A simulated Jellyfin server.

    Faults that change listings see Jellyfin's Items as Metadata and its TotalRecordCount as totalSize, as those of
    a Plex server: each of them does the same to both.
    """

    def __init__(
        self,
        libraries: Sequence[JellyfinLibrary] = (),
        *,
        token: str | None = "simulated-jellyfin-token",  # noqa: S107 - it opens nothing but this simulator
        standing: Standing = "api key",
        server_id: str = "03b5e7fd4c8a4de8b4164d4d21b72608",
        server_name: str = "Simulated Jellyfin",
        version: str = "10.11.11",
        product_name: str | None = "Jellyfin Server",
        max_page_size: int | None = None,
        old_views: bool = False,
        **transport: Any,
    ) -> None:
        """Take the libraries; nothing listens before `serve`.

        `standing` is whose token it is: only an API key or an administrator's sees the folders of libraries. With
        `old_views` a user's libraries are where they were before 10.9. The rest is SimulatedServer's.
        """
        super().__init__(**transport)
        self.libraries = list(libraries)
        self.server_id = server_id
        self.standing = standing
        self.user_id = item_id("user")
        self.sockets = Sockets()
        """Who listens to the server. Only a user's token is told of changes; an API key's socket stays silent."""
        self._token = token
        self._public: Row = {"LocalAddress": "http://192.0.2.10:8096", "ServerName": server_name, "Version": version}
        self._public |= {"OperatingSystem": "", "StartupWizardCompleted": True}
        if product_name is not None:
            self._public["ProductName"] = product_name
        self._max_page_size = max_page_size
        self._old_views = old_views
        self.ignored_filters: set[str] = set()
        """Arguments, in lower case, that are ignored without a word."""
        self.refused_filters: set[str] = set()
        """Arguments that are answered with 400."""

    def read(self, method: str, target: str, headers: dict[str, str]) -> Request:
        """Read a request; raises BadArgument if its window is not a number."""
        pieces = urlsplit(target)
        # Names of arguments have no case.
        params = [(name.lower(), value) for name, value in parse_qsl(pieces.query, keep_blank_values=True)]
        shown_token = _TOKEN.fullmatch(headers.get("authorization", ""))
        in_query = any(name in {"apikey", "api_key"} for name, _ in params)
        params = [(name, _CONCEALED if name in {"apikey", "api_key"} else value) for name, value in params]
        headers = {name: _CONCEALED if name == "authorization" else value for name, value in headers.items()}
        request = Request(
            method=method,
            path=unquote(pieces.path).rstrip("/") or "/",
            params=params,
            headers=headers,
            token_from="header" if shown_token else "query" if in_query else None,
            authorised=self._token is None or (shown_token is not None and shown_token[1] == self._token),
        )
        query = request.query
        request.start, request.size = _number(query.get("startindex")), _number(query.get("limit"))
        request.section, request.kinds = query.get("parentid"), query.get("includeitemtypes")
        return request

    def refusal(self, request: Request) -> Reply | None:
        """Refuse who shows no token, except to say who answers, and whoever wants to change something."""
        if not request.authorised and request.path != _PUBLIC:
            return Reply(status=401)
        return None if request.method in {"GET", "HEAD"} else Reply(status=405)

    def from_library(self, request: Request, actions: Sequence[Action]) -> Reply:
        """Answer from the libraries."""
        asked = request
        for action in actions:
            if action.ask is not None:
                asked = action.ask(asked)
        if request.path == PATH:
            return self.sockets.reply(request)
        answer = self._answer_to(asked)
        if isinstance(answer, Reply):
            return answer
        if not isinstance(answer, _Listing):
            return _json(answer)
        container = answer.container | {"offset": request.start or 0}
        for action in actions:
            if action.alter is not None:
                container = action.alter(container)
        items, total = container.get("Metadata", []), container["totalSize"]
        return _json({"Items": items, "TotalRecordCount": total, "StartIndex": container["offset"]})

    def _answer_to(self, request: Request) -> Reply | _Listing | Row | list[Row]:
        views = f"/Users/{self.user_id}/Views" if self._old_views else "/UserViews"
        parts = re.fullmatch(r"/Videos/([0-9a-f-]+)/AdditionalParts", request.path)
        if parts is not None:
            return self._additional_parts(parts[1])
        routes: dict[str, Callable[[], Reply | Row | list[Row]]]
        routes = {_PUBLIC: self._identity, "/Users/Me": self._me, "/Library/VirtualFolders": self._virtual_folders}
        if request.path in routes:
            return routes[request.path]()
        if request.path == views:
            return self._window([library.view(self.server_id) for library in self.libraries], request)
        return self._items(request) if request.path == "/Items" else _error(404)

    def _identity(self) -> Row:
        return self._public | {"Id": self.server_id}

    def _virtual_folders(self) -> Reply | list[Row]:
        if self.standing == "user":
            return Reply(status=403)
        return [library.virtual_folder() for library in self.libraries]

    def _me(self) -> Reply | Row:
        if self.standing == "api key":
            return _error(400)
        policy = {"IsAdministrator": self.standing == "administrator", "IsHidden": False, "IsDisabled": False}
        return {"Name": "User 1", "ServerId": self.server_id, "Id": self.user_id, "Policy": policy}

    def _items(self, request: Request) -> Reply | _Listing:
        query = request.query
        if self.standing != "api key" and query.get("userid") != self.user_id:
            return _error(400, "userId is required")
        if self.refused_filters & query.keys():
            return _error(400)
        asked = {name: value for name, value in query.items() if name not in self.ignored_filters}
        listed = chosen(self._below(query.get("parentid", "")), asked)
        return self._window(listed, request)

    def _below(self, parent: str) -> list[Row]:
        library = next((one for one in self.libraries if one.id == parent), None)
        if library is not None:
            return library.listed
        series = next((found for one in self.libraries if (found := one.below(parent)) is not None), None)
        # What a server does that doesn't find the parent: it lists all that it has.
        return [item for one in self.libraries for item in one.listed] if series is None else series

    def _additional_parts(self, own: str) -> Reply | _Listing:
        found = [parts for library in self.libraries if (parts := library.parts(own)) is not None]
        if not found:
            return _error(404)
        # The details of every field come without being asked for.
        everything = "Path,MediaSources,ProviderIds,Genres,Tags,Studios,Chapters,DateCreated,SortName"
        rows = [shown(row, everything, self.server_id, user_data=False) for row in found[0]]
        return _Listing({"size": len(rows), "totalSize": len(rows), "offset": 0, "Metadata": rows})

    def _window(self, rows: list[Row], request: Request) -> _Listing:
        start, size = request.start or 0, len(rows) if request.size is None else request.size
        if self._max_page_size is not None:
            size = min(size, self._max_page_size)
        fields, user_data = request.query.get("fields", ""), request.query.get("enableuserdata") != "false"
        window = [shown(row, fields, self.server_id, user_data=user_data) for row in rows[start : start + size]]
        return _Listing({"size": len(window), "totalSize": len(rows), "Metadata": window})

    def __repr__(self) -> str:
        return f"SimulatedJellyfin({[library.name for library in self.libraries]})"


def _json(document: object) -> Reply:
    return Reply(headers={"Content-Type": "application/json; charset=utf-8"}, body=(orjson.dumps(document),))


def _error(status: int, text: str = "Error processing request.") -> Reply:
    return Reply(status=status, headers={"Content-Type": "text/plain"}, body=(text.encode(),))


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise BadArgument(text)
    return int(text)
