"""A media container as JSON or as XML, as the server writes both."""

from __future__ import annotations

import re
from typing import Any

import orjson

_ELEMENTS = {
    "movie": "Video",
    "episode": "Video",
    "clip": "Video",
    "track": "Track",
    "photo": "Photo",
    "playlist": "Playlist",
}
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TO_ESCAPE = re.compile('[&<>"\\t\\n\\r]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def to_json(container: dict[str, Any]) -> bytes:
    """Return the container as the JSON that `Accept: application/json` brings."""
    return orjson.dumps({"MediaContainer": container})


def to_xml(container: dict[str, Any]) -> bytes:
    """Return the container as the XML that every other client gets; booleans become 1 and 0."""
    pieces = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _element(pieces, "MediaContainer", container)
    return "".join(pieces).encode()


def _element(pieces: list[str], name: str, value: dict[str, Any]) -> None:
    children: list[tuple[str, dict[str, Any]]] = []
    pieces.append("<" + name)
    for key, content in value.items():
        if isinstance(content, dict):
            children.append((key, content))
        elif isinstance(content, list):
            children.extend((_element_name(key, child), child) for child in content if isinstance(child, dict))
        elif content is not None:
            pieces.append(f' {key}="{_attribute(content)}"')
    if not children:
        pieces.append("/>")
        return
    pieces.append(">")
    for child_name, child in children:
        _element(pieces, child_name, child)
    pieces.append(f"</{name}>")


def _element_name(key: str, child: dict[str, Any]) -> str:
    if key != "Metadata":
        return key
    # A folder of photos is told from a photo by what its key lists.
    if child.get("type") == "photo" and str(child.get("key", "")).endswith("/children"):
        return "Directory"
    return _ELEMENTS.get(str(child.get("type")), "Directory")


def _attribute(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    text = _NOT_IN_XML.sub("", str(value))
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], text)
