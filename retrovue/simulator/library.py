"""Which container each path of a Plex server answers with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from retrovue.simulator import replies
from retrovue.simulator.filters import Condition, Sort, parse_conditions
from retrovue.simulator.model import DEFAULT_TYPES, TYPE_NAMES, Row, Section
from retrovue.simulator.request import Reply, Request
from retrovue.simulator.views import View, detail_view, list_view

JsonObject = dict[str, Any]

_IDENTIFIER = "com.plexapp.plugins.library"
_TAGS = {"mediaTagPrefix": "/system/bundle/media/flags/", "mediaTagVersion": 1_734_362_201}
_VIEW_NAMES = {"movie": "Movies", "show": "Shows", "artist": "Artists", "photo": "Photos"}


@dataclass(slots=True)
class Answer:
    """A container, its rows perhaps already written as JSON, and the headers of its window."""

    container: JsonObject
    rows_json: bytes | None = None
    """The comma-joined rows, if the container has no Metadata of its own."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Library:
    """The sections of a server and the rules by which it lists them."""

    sections: list[Section]
    machine_identifier: str
    friendly_name: str
    version: str
    max_page_size: int | None = None
    refuse_page_over: int | None = None
    refuse_sort_id: bool = False
    ignored_filters: set[str] = field(default_factory=set)
    """Filters that are ignored without a word, such as `updatedAt>>`."""
    refused_filters: set[str] = field(default_factory=set)
    """Filters that are answered with 400."""

    def answer(self, request: Request, *, as_rows: bool) -> Answer | Reply:
        """Return the answer to a request; with `as_rows` the rows are objects and not yet JSON."""
        for pattern, route in _ROUTES:
            found = pattern.fullmatch(request.path)
            if found:
                return route(self, request, as_rows, *found.groups())
        return replies.error(404)

    def section(self, key: str) -> Section | None:
        """Return the section with this key."""
        return next((section for section in self.sections if section.key == key), None)

    def identity(self, _request: Request, _as_rows: bool) -> Answer | Reply:
        """Say what the server tells everybody, also without a token."""
        own = {"machineIdentifier": self.machine_identifier, "version": self.version}
        return Answer({"size": 0, "apiVersion": "1.1.1", "claimed": True} | own)

    def root(self, _request: Request, _as_rows: bool) -> Answer | Reply:
        """Return the server's own description."""
        container: JsonObject = {
            "size": 2,
            "allowMediaDeletion": True,
            "allowSync": True,
            "backgroundProcessing": True,
            "claimed": True,
            "countryCode": "usa",
            "eventStream": True,
            "friendlyName": self.friendly_name,
            "machineIdentifier": self.machine_identifier,
            "multiuser": True,
            "myPlex": True,
            "myPlexMappingState": "mapped",
            "myPlexSigninState": "ok",
            "myPlexSubscription": False,
            "platform": "Linux",
            "platformVersion": "20.04.1 LTS (Focal Fossa)",
            "transcoderActiveVideoSessions": 0,
            "updatedAt": 1_734_362_201,
            "version": self.version,
        }
        keys = ("library", "identity")
        return Answer(container | {"Directory": [{"count": 1, "key": key, "title": key} for key in keys]})

    def overview(self, _request: Request, _as_rows: bool) -> Answer | Reply:
        """Tell what there is below /library."""
        container: JsonObject = {"size": 1, "allowSync": False, "art": "/:/resources/library-art.png"}
        container |= {"content": "", "identifier": _IDENTIFIER} | _TAGS | {"title1": "Plex Library"}
        return Answer(container | {"Directory": [{"key": "sections", "title": "Library Sections"}]})

    def all_sections(self, _request: Request, _as_rows: bool) -> Answer | Reply:
        """All sections that the token may see."""
        container: JsonObject = {"size": len(self.sections), "allowSync": False, "title1": "Plex Library"}
        if self.sections:
            container["Directory"] = [section.directory() for section in self.sections]
        return Answer(container)

    def one_section(self, _request: Request, _as_rows: bool, key: str) -> Answer | Reply:
        """Return the ways in which a section can be listed."""
        section = self.section(key)
        if section is None:
            return replies.error(404)
        ways = [{"key": "all", "title": f"All {_VIEW_NAMES[section.type]}"}]
        ways.append({"key": "recentlyAdded", "title": "Recently Added"})
        container: JsonObject = {
            "size": len(ways),
            "allowSync": False,
            "art": f"/:/resources/{section.type}-fanart.jpg",
        }
        container |= {"content": "secondary", "identifier": _IDENTIFIER, "librarySectionID": section.number} | _TAGS
        container |= {"thumb": f"/:/resources/{section.type}.png", "title1": section.title, "viewGroup": "secondary"}
        return Answer(container | {"Directory": ways})

    def listing(self, request: Request, as_rows: bool, key: str) -> Answer | Reply:
        """Return a window of the items of a section."""
        section = self.section(key)
        if section is None:
            return replies.error(404)
        item_type = DEFAULT_TYPES[section.type] if request.item_type is None else request.item_type
        try:
            sort = Sort.parse(request.query.get("sort"), item_type)
            asked = [(name, value) for name, value in request.params if name not in self.ignored_filters]
            conditions = parse_conditions(asked, item_type)
        except ValueError:
            return replies.error(400)
        if any(name in self.refused_filters for name, _ in asked):
            return replies.error(400)
        too_large = self.refuse_page_over is not None and (request.size or 0) > self.refuse_page_over
        if item_type not in TYPE_NAMES or too_large or (self.refuse_sort_id and sort.field == "id"):
            return replies.error(400)
        try:
            return self._list(request, section, item_type, sort, conditions, as_rows=as_rows)
        except LookupError:
            return replies.error(400)

    def albums(self, request: Request, as_rows: bool, key: str) -> Answer | Reply:
        """Return the albums of a music section, as their separate path lists them."""
        return self.listing(replace(request, item_type=9), as_rows, key)

    def collections(self, request: Request, as_rows: bool, key: str) -> Answer | Reply:
        """Return the collections that users have made in a section."""
        return self.listing(replace(request, item_type=18), as_rows, key)

    def metadata(self, request: Request, _as_rows: bool, keys: str) -> Answer | Reply:
        """Return the details of one item, or of several; ids that nobody knows are left out.

        Chapters and markers are shown to who asks for them.
        """
        found = [(section, row) for key in keys.split(",") for section, row in [self._item(key)] if section and row]
        if not found:
            return replies.error(404)
        section = found[0][0]
        rows = [detail_view(row, section_number=home.number, section_title=home.title) for home, row in found]
        for argument, name in (("includeChapters", "Chapter"), ("includeMarkers", "Marker")):
            if request.query.get(argument) != "1":
                for row in rows:
                    row.pop(name, None)
        container: JsonObject = {"size": len(rows), "allowSync": True, "identifier": _IDENTIFIER} | _of(section) | _TAGS
        return Answer(container | {"Metadata": rows})

    def children(self, request: Request, _as_rows: bool, key: str) -> Answer | Reply:
        """Tell what is directly below an item; above the seasons of a show stands an entry for all episodes."""
        section, parent = self._item(key)
        if section is None or parent is None:
            return replies.error(404)
        rows = section.children(key)
        entries: list[JsonObject] = []
        if parent["type"] == "show" and rows and request.query.get("excludeAllLeaves") != "1":
            every: JsonObject = {"leafCount": parent.get("leafCount", 0), "thumb": parent.get("thumb", "")}
            entries = [
                every | {"viewedLeafCount": 0, "key": f"/library/metadata/{key}/allLeaves", "title": "All episodes"}
            ]
        return self._below(request, section, parent, entries, rows)

    def all_leaves(self, request: Request, _as_rows: bool, key: str) -> Answer | Reply:
        """All episodes of a show or all tracks of an artist."""
        section, parent = self._item(key)
        if section is None or parent is None:
            return replies.error(404)
        return self._below(request, section, parent, [], section.leaves(key))

    def _item(self, key: str) -> tuple[Section | None, Row | None]:
        for section in self.sections:
            row = section.item(key)
            if row is not None:
                return section, row
        return None, None

    def _below(
        self, request: Request, section: Section, parent: Row, entries: list[JsonObject], rows: list[Row]
    ) -> Answer:
        view = View.asked_for(request)
        shown: list[tuple[str, JsonObject]] = [("Directory", entry) for entry in entries]
        shown += [("Metadata", list_view(row, view)) for row in rows]
        start, stop = self._window(request, len(shown))
        window = shown[start:stop]
        container: JsonObject = {"size": len(window)}
        answer = Answer(container)
        _page(answer, request, len(shown))
        container |= {"allowSync": True, "identifier": _IDENTIFIER, "key": parent["ratingKey"]} | _of(section) | _TAGS
        container |= {"nocache": True, "parentIndex": parent.get("index", 1), "parentTitle": parent["title"]}
        container |= {"title1": section.title, "title2": parent["title"]}
        for name in ("Directory", "Metadata"):
            members = [entry for kind, entry in window if kind == name]
            if members:
                container[name] = members
        return answer

    def _window(self, request: Request, total: int) -> tuple[int, int]:
        start = request.start or 0
        size = total if request.size is None else request.size
        if self.max_page_size is not None and request.size is not None:
            size = min(size, self.max_page_size)
        return start, min(start + size, total)

    def _list(
        self,
        request: Request,
        section: Section,
        item_type: int,
        sort: Sort,
        conditions: Sequence[Condition],
        *,
        as_rows: bool,
    ) -> Answer:
        view = View.asked_for(request)
        skipped, chosen = 0, None
        keyset = len(conditions) == 1 and conditions[0].key == "ratingKey" and conditions[0].operator == ">>"
        if keyset and sort == Sort("id") and conditions[0].values[0].isdigit():
            # The next page of a walk by id: the rows before it need not be looked at.
            skipped = section.first_above(item_type, int(conditions[0].values[0]))
            total = section.total(item_type) - skipped
        elif conditions and request.size == 0:
            total = section.matching(item_type, conditions)
        elif conditions:
            chosen = section.select(item_type, conditions, sort)
            total = len(chosen)
        else:
            total = section.total(item_type)
        limit = request.query.get("limit", "")
        total = min(total, int(limit)) if limit.isdigit() else total
        start, stop = self._window(request, total)
        count = max(stop - start, 0)
        container: JsonObject = {"size": count}
        answer = Answer(container)
        _page(answer, request, total)
        container |= {"allowSync": True, "art": f"/:/resources/{section.type}-fanart.jpg", "content": "secondary"}
        container |= {"identifier": _IDENTIFIER} | _of(section) | _TAGS | {"thumb": f"/:/resources/{section.type}.png"}
        container |= {"title1": section.title, "title2": f"All {_VIEW_NAMES[section.type]}"}
        container["viewGroup"] = TYPE_NAMES[item_type]
        if request.query.get("includeMeta") == "1":
            container["Meta"] = _meta(section, item_type)
        if count == 0:
            return answer
        if chosen is None and not as_rows:
            answer.rows_json, container["size"] = section.list_json(item_type, skipped + start, count, sort, view)
            return answer
        rows = section.rows(item_type, skipped + start, count, sort) if chosen is None else chosen[start:stop]
        container["Metadata"] = [list_view(row, view) for row in rows]
        return answer


def write_listing(answer: Answer) -> tuple[bytes, ...]:
    """Return the body of an answer whose rows are JSON already, in pieces so that the rows are not copied."""
    if answer.rows_json is None:
        return (orjson.dumps({"MediaContainer": answer.container}),)
    head = orjson.dumps({"MediaContainer": answer.container})[:-2]
    return (head + b',"Metadata":[', answer.rows_json, b"]}}")


def _of(section: Section) -> JsonObject:
    own: JsonObject = {"librarySectionID": section.number, "librarySectionTitle": section.title}
    return own | {"librarySectionUUID": section.uuid}


def _page(answer: Answer, request: Request, total: int) -> None:
    # An unpaged answer carries neither a total nor an offset.
    if request.size is None and request.start is None:
        return
    start = request.start or 0
    answer.container |= {"totalSize": total, "offset": start}
    answer.headers = {"X-Plex-Container-Start": str(start), "X-Plex-Container-Total-Size": str(total)}


def _meta(section: Section, item_type: int) -> JsonObject:
    name = TYPE_NAMES[item_type]
    sorts = [("titleSort", "asc", "Title"), ("addedAt", "desc", "Date Added"), ("updatedAt", "desc", "Date Updated")]
    fields = [("title", "string"), ("year", "integer"), ("addedAt", "date"), ("index", "integer")]
    prefix = "" if item_type == 1 else f"{name}."
    kind: JsonObject = {"key": f"/library/sections/{section.key}/all?type={item_type}", "type": name}
    kind |= {"title": _VIEW_NAMES[section.type], "active": True}
    kind["Sort"] = [
        {"defaultDirection": direction, "descKey": f"{key}:desc", "key": key, "title": title}
        for key, direction, title in sorts
    ]
    kind["Field"] = [{"key": prefix + key, "title": key, "type": of} for key, of in fields]
    operators = {
        "string": ("=", "!=", "==", "!==", "<=", ">="),
        "integer": ("=", "!=", ">>=", "<<="),
        "date": (">>=", "<<="),
    }
    types = [{"type": of, "Operator": [{"key": key, "title": key} for key in keys]} for of, keys in operators.items()]
    return {"Type": [kind], "FieldType": types}


_Route = Callable[..., Answer | Reply]
_ROUTES: tuple[tuple[re.Pattern[str], _Route], ...] = (
    (re.compile(r"/identity"), Library.identity),
    (re.compile(r"/"), Library.root),
    (re.compile(r"/library"), Library.overview),
    (re.compile(r"/library/sections"), Library.all_sections),
    (re.compile(r"/library/sections/([^/]+)"), Library.one_section),
    (re.compile(r"/library/sections/([^/]+)/all"), Library.listing),
    (re.compile(r"/library/sections/([^/]+)/albums"), Library.albums),
    (re.compile(r"/library/sections/([^/]+)/collections"), Library.collections),
    (re.compile(r"/library/metadata/([0-9,]+)"), Library.metadata),
    (re.compile(r"/library/metadata/([0-9]+)/children"), Library.children),
    (re.compile(r"/library/metadata/([0-9]+)/allLeaves"), Library.all_leaves),
)
