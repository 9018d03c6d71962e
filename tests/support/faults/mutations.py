"""Changes of a Plex answer, in its structure and in its bytes, drawn from a seeded generator."""

import copy
import json
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import orjson

Change = Callable[[Random, dict[str, Any]], None]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.9, -0.5, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), math.nan,
    math.inf, -math.inf, 1e308, 1e-320, "", " ", "0", "-1", "1.5", "007", "nan", "Infinity", "true", "null", "1e5",
    "9" * 40, "²", "\0", "a\0b", "/data/a\0b.mkv", "\ud800", "\udfff.mkv", "\ufffd", "\x1b]0;x\x07", "\x9b2J", "\u202e",
    "é" * 40, "x" * 3000, "/data/" + "long/" * 900 + "x.mkv", "../../etc/passwd", "/data/../../x", "/data/x/..", "/",
    "C:\\Films\\x.mkv", "\\\\nas\\films\\x.mkv", "0000-00-00", "0001-01-01", "9999-12-31", "2013-02-30", "2013-10-04",
    "plex://", "imdb://", "://x", "com.plexapp.agents.imdb://", "movie", "episode", "clip", "photo", 42, "42", [], {},
    [None], [[]], [{}], [0], {"tag": None}, {"id": 1}, [{"tag": "\0"}], [{"Part": [{"file": "/data/x.mkv"}]}],
)  # fmt: skip
"""Values that some server, proxy or script has sent, or that stand at the edge of a type."""

NAMES = (
    "ratingKey", "type", "subtype", "title", "guid", "studio", "contentRating", "editionTitle", "year",
    "originallyAvailableAt", "duration", "rating", "audienceRating", "index", "parentIndex", "parentTitle",
    "grandparentTitle", "grandparentRatingKey", "Media", "Guid", "Genre", "Label", "Collection", "Chapter", "Marker",
    "id", "Part", "file", "size", "proxyType", "target", "startTimeOffset", "endTimeOffset", "tag", "audioChannels",
    "width", "height", "bitrate", "container", "videoResolution", "audioCodec", "neverHeardOf",
)  # fmt: skip
_CONTAINER = ("size", "totalSize", "offset", "Metadata", "identifier", "librarySectionID")

JUNK = (
    b"\0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"\\",
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"-", b"1e999", b"9" * 400, b"[" * 3000, b'{"a":' * 3000,
    b"\r\n", b"<html>", b"\x1f\x8b",
)  # fmt: skip


class Mutator:
    """Makes the pages of one seed: page ``number`` is the same whichever others are made."""

    def __init__(self, seed: int, originals: Sequence[bytes]) -> None:
        self.seed = seed
        self._originals = originals

    def page(self, number: int) -> bytes:
        """Make a changed page."""
        random = Random(f"{self.seed}/{number}")
        return self.change(random, random.choice(self._originals))

    def change(self, random: Random, body: bytes) -> bytes:
        """Change a page: seven in ten in structure, five in ten in bytes, at least in one of them."""
        kind = random.random()
        if kind < 0.7:
            body = restructured(random, body)
        if kind >= 0.5:
            for _ in range(random.choice((1, 1, 2, 3))):
                body = random.choice(_BYTES)(random, body, random.choice(self._originals))
        return body


def restructured(random: Random, body: bytes) -> bytes:
    """Change values, fields, rows and what the container says of them."""
    document = orjson.loads(body)
    container = document["MediaContainer"]
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 6))):
        random.choice(_CHANGES)(random, container)
    text = json.dumps(document, ensure_ascii=random.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _somewhere(random: Random, container: dict[str, Any]) -> tuple[Any, Any]:
    """Find a place by walking down: a mapping or list, and a key or position in it."""
    node: Any = container
    rows = container.get("Metadata")
    if isinstance(rows, list) and rows and random.random() < 0.95:
        node = rows
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        if not keys:
            return node, None
        key = random.choice(keys)
        below = node[key]
        if not isinstance(below, dict | list) or not below or random.random() < 0.15:
            return node, key
        node = below


def _odd(random: Random) -> Any:
    return copy.deepcopy(random.choice(ODD))


def _set(random: Random, container: dict[str, Any]) -> None:
    node, key = _somewhere(random, container)
    if key is not None:
        node[key] = _odd(random)


def _remove(random: Random, container: dict[str, Any]) -> None:
    node, key = _somewhere(random, container)
    if key is not None:
        del node[key]


def _add(random: Random, container: dict[str, Any]) -> None:
    node, _ = _somewhere(random, container)
    if isinstance(node, dict):
        node[random.choice(NAMES)] = _odd(random)
    else:
        node.append(_odd(random))


def _graft(random: Random, container: dict[str, Any]) -> None:
    node, key = _somewhere(random, container)
    to, where = _somewhere(random, container)
    if key is not None and where is not None:
        to[where] = json.loads(json.dumps(node[key]))


def _text(random: Random, container: dict[str, Any]) -> None:
    node, key = _somewhere(random, container)
    if key is not None and isinstance(node[key], str):
        at = random.randint(0, len(node[key]))
        node[key] = node[key][:at] + random.choice(("\0", "\ud83d", "\udc00", "\x1b[31m", "\u2028", "..", "/", "\\"))
        node[key] += "" if random.random() < 0.3 else "tail"


def _number(random: Random, container: dict[str, Any]) -> None:
    node, key = _somewhere(random, container)
    if key is not None and isinstance(node[key], int | float):
        # No float of a number that has been made larger than floats are.
        size = node[key] if abs(node[key]) < 1e300 else 1
        node[key] = random.choice((str(size), float(size), -size, size * 2**40))


def _rows(random: Random, container: dict[str, Any]) -> None:
    rows = container.get("Metadata")
    if not isinstance(rows, list) or not rows:
        return
    match random.randrange(4):
        case 0:
            rows.append(random.choice(rows))
        case 1:
            random.shuffle(rows)
        case 2:
            del rows[random.randrange(len(rows))]
        case _:
            rows.insert(random.randint(0, len(rows)), _odd(random))
    if random.random() < 0.5:
        container["size"] = len(rows)


def _lie(random: Random, container: dict[str, Any]) -> None:
    name = random.choice(_CONTAINER)
    container[name] = random.choice((_odd(random), random.randint(-3, 12)))


_CHANGES: tuple[Change, ...] = (_set, _set, _set, _add, _add, _remove, _graft, _text, _number, _rows, _lie)


def _flip(random: Random, body: bytes, _: bytes) -> bytes:
    if not body:
        return body
    at = random.randrange(len(body))
    return body[:at] + bytes([body[at] ^ 1 << random.randrange(8)]) + body[at + 1 :]


def _cut(random: Random, body: bytes, _: bytes) -> bytes:
    return body[: random.randint(0, len(body))]


def _drop(random: Random, body: bytes, _: bytes) -> bytes:
    at = random.randint(0, len(body))
    return body[:at] + body[at + random.choice((1, 2, 8, 100)) :]


def _repeat(random: Random, body: bytes, _: bytes) -> bytes:
    at = random.randint(0, len(body))
    return body[:at] + body[at : at + random.choice((1, 5, 50, 500))] + body[at:]


def _splice(random: Random, body: bytes, other: bytes) -> bytes:
    return body[: random.randint(0, len(body))] + other[random.randint(0, len(other)) :]


def _junk(random: Random, body: bytes, _: bytes) -> bytes:
    at = random.randint(0, len(body))
    return body[:at] + random.choice(JUNK) + body[at + random.choice((0, 0, 1, 4)) :]


def _in_text(random: Random, body: bytes, _: bytes) -> bytes:
    """Put bytes that are no text into a string, without breaking the document."""
    ends = body.find(b'","', random.randint(0, len(body)))
    if ends < 0:
        return body
    return (
        body[:ends]
        + random.choice((b"\xff", b"\\u0000", b"\\ud800", b"\\udfff", b"\xed\xa0\x80", b"\x01"))
        + body[ends:]
    )


def _twice(random: Random, body: bytes, _: bytes) -> bytes:
    """Give an object the same key twice."""
    at = body.find(b',"', random.randint(0, len(body)))
    end = body.find(b'":', at)
    if at < 0 or end < 0 or end - at > 40:
        return body
    value = json.dumps(_odd(random)).encode()
    return body[:at] + body[at : end + 2] + value + body[at:]


def _deep(random: Random, body: bytes, _: bytes) -> bytes:
    depth = random.choice((10, 500, 3000))
    at = body.find(b":", random.randint(0, len(body))) + 1
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"Media":', b"}]")))
    return body[:at] + opening * depth + b"1" + closing * depth + b',"after":' + body[at:]


_BYTES = (_flip, _flip, _cut, _drop, _repeat, _splice, _junk, _junk, _in_text, _in_text, _twice, _twice, _deep)
