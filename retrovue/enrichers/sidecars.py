"""Parse a sidecar (NFO file): encoding, XML, web addresses, and the fields of an asset. Does no I/O.

The elements are those of the Kodi wiki, "NFO files", and of Jellyfin's ``MediaBrowser.XbmcMetadata/Parsers``. People
and programs write these files by hand, so the parser is lenient: it accepts HTML's entities, a bare ``&``, wrappers
around the roots, and several XML declarations. Document types and entities of the file's own are refused.
"""

import codecs
import datetime as dt
import re
from collections.abc import Iterable
from html.entities import html5
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from retrovue.core.errors import EnrichmentError

LONGEST_TEXT = 1000
"""The longest value, in characters; a longer text isn't a title, studio or tag."""
_ROOT = re.compile(r"<(movie|musicvideo|video|episodedetails|tvshow)(?=[\s/>])[^<>]*>")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]{1,40})["']""")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 forbids."""
_MARKUP = re.compile(
    r"(?P<cdata><!\[CDATA\[.*?(?:\]\]>|\Z))|(?P<comment><!--.*?(?:-->|\Z))|&(?:(?P<reference>#?\w+);)?"
    r"|(?P<less><)(?![A-Za-z_/!?])",
    re.DOTALL,
)
_CP1252 = {byte: bytes((byte,)).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}
"""The characters in which cp1252 differs from Latin-1; five bytes are undefined in cp1252."""
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})
_HOURS = r"(?:PT)?(?:(?P<h>[0-9]{1,3})\s*h[a-z.]*)?\s*"
_RUNTIMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        _HOURS + r"(?:(?P<m>[0-9]{1,6}(?:[.,][0-9]{1,3})?)\s*(?:m[a-z.]*)?)?(?P<s>)",
        _HOURS + r"(?:(?P<m>[0-9]{1,6})\s*m[a-z.]*)?\s*(?P<s>[0-9]{1,6})\s*s[a-z.]*",
        r"(?P<h>[0-9]{1,2}):(?P<m>[0-5][0-9])(?::(?P<s>[0-5][0-9]))?",
    )
)
_YEAR = re.compile(r"\(?([0-9]{1,6})\)?(?:-[0-9]{2}-[0-9]{2})?")
_DAYS = (
    re.compile(r"(?P<y>[0-9]{4})([-/.])(?P<m>[0-9]{1,2})\2(?P<d>[0-9]{1,2})(?![0-9])"),
    re.compile(r"(?P<d>[0-9]{1,2})\.(?P<m>[0-9]{1,2})\.(?P<y>[0-9]{4})(?![0-9])"),
)
_RATING = re.compile(r"([0-9]{1,4}(?:[.,][0-9]{1,6})?)\s*(?:/\s*([0-9]{1,4})|(%))?")
_NAMESPACE = re.compile(r"""\s+xmlns\s*=\s*(?:"[^"]*"|'[^']*')""")

_PROVIDERS = {
    "imdb": "imdb", "tmdb": "tmdb", "themoviedb": "tmdb", "moviedb": "tmdb", "tvdb": "tvdb", "thetvdb": "tvdb",
    "mbid": "mbid", "imdbnumber": "imdb",
}  # fmt: skip
"""For each provider in a sidecar, its name in the catalogue."""
_ID = {
    "imdb": re.compile(r"(?:https?://[a-z.]*imdb\.com/(?:[a-z-]{2,5}/)?title/)?((?:tt)?[0-9]{5,10})(?:[/?].*)?"),
    "tmdb": re.compile(r"([0-9]{1,10})(?:-.*)?"),
    "tvdb": re.compile(r"([0-9]{1,10})"),
    "mbid": re.compile(r"([0-9A-Fa-f]{8}-[0-9A-Fa-f-]{27})"),
}
_ADDRESSES = tuple(
    (provider, frozenset(roots.split()), re.compile(pattern))
    for provider, roots, pattern in (
        ("imdb", "movie musicvideo video episodedetails tvshow", r"imdb\.com/(?:[a-z-]{2,5}/)?title/(tt[0-9]{5,10})"),
        ("tmdb", "movie musicvideo video", r"themoviedb\.org/movie/([0-9]{1,10})"),
        ("tmdb", "tvshow", r"themoviedb\.org/tv/([0-9]{1,10})"),
        ("tvdb", "movie", r"thetvdb\.com/dereferrer/movie/([0-9]{1,10})"),
        ("tvdb", "tvshow", r"thetvdb\.com/(?:dereferrer/series/|[^\s#]{0,80}tab=series&id=)([0-9]{1,10})"),
        (
            "tvdb",
            "episodedetails",
            r"thetvdb\.com/(?:dereferrer/episode/|[^\s#]{0,80}tab=episode&[^\s#]{0,80}&id=)([0-9]{1,10})",
        ),
    )
)
"""Providers, the roots that have their ids, and the web addresses that contain the ids."""


class Sidecar(NamedTuple):
    """The content of a sidecar."""

    roots: tuple[Element, ...]
    """``<movie>``, ``<tvshow>``, ``<episodedetails>`` …, in the order of the file; empty for a plain text."""
    text: str
    """The text around the roots, which may contain web addresses."""


def parse(raw: bytes, name: str = "The sidecar") -> Sidecar:
    """Parse a sidecar. One without a known element has no roots, which isn't an error.

    Raises EnrichmentError with code ``nfo_malformed``, or ``nfo_forbidden`` for entities and DTDs.
    """
    original = _NOT_XML.sub("", decode(raw))
    text = _MARKUP.sub(_repair, original)
    roots: list[Element] = []
    rest: list[str] = []
    problem: str | None = None
    position = 0
    while match := _ROOT.search(text, position):
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            message = f"{name} declares a document type or entities, which is refused."
            raise EnrichmentError(message, code="nfo_forbidden")
        rest.append(text[position : match.start()])
        position = match.end()
        if match[0].endswith("/>"):
            continue
        end = re.compile(rf"</{match[1]}\s*>").search(text, position)
        if end is None:
            problem = f"<{match[1]}> has no end"
            break
        position = end.end()
        try:
            roots.append(
                fromstring(
                    _NAMESPACE.sub("", match[0], count=1) + text[match.end() : position],
                    forbid_dtd=True,
                    forbid_entities=True,
                    forbid_external=True,
                )
            )
        except DefusedXmlException as exc:
            raise EnrichmentError(f"{name} uses what is refused: {type(exc).__name__}.", code="nfo_forbidden") from exc
        except (ParseError, ValueError) as exc:
            problem = str(exc)
    if problem is not None and not roots:
        raise EnrichmentError(f"{name} is not well-formed: {problem}.", code="nfo_malformed")
    rest.append(text[position:] if problem is None else "")
    return Sidecar(tuple(roots), " ".join(rest).replace("&amp;", "&"))


def decode(raw: bytes) -> str:
    """Decode a sidecar. Its bytes take precedence over its declared encoding; the last fallback is Windows' cp1252."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace")
    if raw[:1] and 0 in raw[:2]:
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le", "replace")
    declared = _DECLARED.match(raw)
    for encoding in ("utf-8", *([declared[1].decode()] if declared else [])):
        try:
            return raw.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    # If most of it is valid UTF-8, only the damaged values are lost: those with a replacement character.
    text = raw.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    if sum(not c.isascii() for c in text) > 2 * damaged:
        return text
    return raw.decode("latin-1").translate(_CP1252)


def _repair(match: re.Match[str]) -> str:
    """Replace a reference by one that XML knows, and remove comments."""
    reference = match["reference"]
    if match["less"] is not None:
        return "&lt;"
    if match["cdata"] is not None or match["comment"] is not None:
        return match["cdata"] or ""
    if reference is None:
        return "&amp;"
    if reference.startswith("#"):
        return match[0] if _is_valid_reference(reference[1:]) else ""
    text = None if reference in _XML_ENTITIES else html5.get(f"{reference};")
    return match[0] if text is None else text.replace("&", "&amp;").replace("<", "&lt;")


def _is_valid_reference(digits: str) -> bool:
    try:
        code = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
        return _NOT_XML.match(chr(code)) is None
    except (ValueError, OverflowError):
        return False


class Details:
    """The values of a root as fields of an asset. An invalid value is left out, with a warning."""

    def __init__(self, root: Element, addresses: str = "") -> None:
        self.warnings: list[str] = []
        self._root = root
        episode = root.tag == "episodedetails"
        aired = self._date("aired") or self._date("premiered") or self._date("releasedate")
        fields: dict[str, Any] = {
            "title": self._text("title"),
            "show_title": self._text("showtitle") if episode else None,
            "season_number": self._number("season") if episode else None,
            "episode_number": self._number("episode") if episode else None,
            "year": self._year() or (aired.year if aired else None),
            "originally_aired": aired,
            "runtime_ms": self._runtime(),
            "edition": self._text("edition"),
            "studio": self._text("studio"),
            "content_rating": self._text("mpaa"),
            "rating": self._rating(),
            "provider_ids": self._ids(addresses),
            "tags": self._tags(),
        }
        self.fields = {name: value for name, value in fields.items() if value not in (None, {}, "")}

    def _warn(self, code: str) -> None:
        if code not in self.warnings:
            self.warnings.append(code)

    def _clean(self, text: str | None) -> str | None:
        text = " ".join((text or "").split())
        if len(text) > LONGEST_TEXT or "\ufffd" in text:
            self._warn("bad_text")
            return None
        return text or None

    def _text(self, name: str) -> str | None:
        """Return the first usable text of the elements with a name."""
        return next((text for element in self._root.iterfind(name) if (text := self._clean(element.text))), None)

    def _number(self, name: str) -> int | None:
        return number(self._root, name, self._warn)

    def _year(self) -> int | None:
        text = self._text("year")
        match = None if text is None else _YEAR.fullmatch(text)
        year = int(match[1]) if match is not None else None
        if text is None or year == 0 or (year is not None and 1800 <= year <= 2200):
            return year or None
        self._warn("bad_number" if match is None else "bad_year")
        return None

    def _runtime(self) -> int | None:
        """Return the runtime in milliseconds, from ``117``, ``117 min``, ``1h 57m``, ``PT1H57M`` or ``1:57:00``."""
        text = self._text("runtime")
        if text is None:
            return None
        match = next((match for pattern in _RUNTIMES if (match := pattern.fullmatch(text)) is not None), None)
        if match is None:
            self._warn("bad_duration")
            return None
        hours, minutes, seconds = match["h"] or "0", match["m"] or "0", match["s"] or "0"
        return round(float(minutes.replace(",", ".")) * 60_000) + int(hours) * 3_600_000 + int(seconds) * 1000 or None

    def _date(self, name: str) -> dt.date | None:
        text = self._text(name)
        if text is None or text.startswith("0000") or (len(text) == 4 and text.isdecimal()):
            return None
        match = next((match for pattern in _DAYS if (match := pattern.match(text)) is not None), None)
        try:
            if match is not None:
                return dt.date(int(match["y"]), int(match["m"]), int(match["d"]))
        except ValueError:
            pass
        self._warn("bad_date")
        return None

    def _rating(self) -> float | None:
        """Return the default rating, or else the first one, on a scale of 10."""
        ratings = [
            (rating.findtext("value"), rating.get("max"))
            for rating in sorted(
                self._root.iterfind("ratings/rating"),
                key=lambda rating: (rating.get("default") or "").lower() != "true",
            )
        ]
        ratings += [(rating.text, rating.get("max")) for rating in self._root.iterfind("rating")]
        for text, scale in ratings:
            if not (text or "").strip():
                continue
            value = _of_ten((text or "").strip(), scale)
            if 0 < value <= 10:
                return round(value, 2)
            if value != 0:
                self._warn("bad_rating")
        return None

    def _ids(self, addresses: str) -> dict[str, str]:
        ids: dict[str, str] = {}
        for provider, text in self._written_ids():
            match = _ID[provider].fullmatch(text)
            if match is None:
                self._warn("bad_id")
                continue
            # Old scrapers of Kodi leave out the beginning of IMDb's ids.
            value = f"tt{match[1]:0>7}" if provider == "imdb" and match[1].isdecimal() else match[1]
            if ids.setdefault(provider, value) != value:
                self._warn("several_ids")
        return add_addresses(ids, addresses, self._root.tag)

    def _written_ids(self) -> Iterable[tuple[str, str]]:
        """Yield each provider with its id, from ``<uniqueid>``, ``<imdbid>``, ``<tmdb_id>``, ``<id>`` and others."""
        for element in self._root:
            text = (element.text or "").strip()
            tag = element.tag.lower()
            if tag == "uniqueid":
                provider = _PROVIDERS.get((element.get("type") or ("imdb" if text.startswith("tt") else "")).lower())
            elif tag == "id":
                for name, value in element.items():
                    if name.lower() in _PROVIDERS and value.strip():
                        yield _PROVIDERS[name.lower()], value.strip()
                # Old scrapers of Kodi write the id of IMDb for a film, and that of TheTVDB for a show or an episode.
                numeric = text.isascii() and text.isdigit() and self._root.tag in {"tvshow", "episodedetails"}
                provider = "imdb" if text.startswith("tt") else "tvdb" if numeric else None
            else:
                provider = _PROVIDERS.get(tag.removesuffix("id").removesuffix("_"))
            if provider is not None and text:
                yield provider, text

    def _tags(self) -> dict[str, list[str]]:
        root = self._root
        texts: dict[str, list[str | None]] = {
            "genre": [genre for element in root.iterfind("genre") for genre in (element.text or "").split(" / ")],
            "label": [element.text for element in root.iterfind("tag")],
            "collection": [element.findtext("name") or element.text for element in root.iterfind("set")],
        }
        # Each value once, because scrapers of several sites add the same genre again.
        tags = {
            kind: list(dict.fromkeys(tag for text in found if (tag := self._clean(text))))
            for kind, found in texts.items()
        }
        return {kind: found for kind, found in tags.items() if found}


def _of_ten(text: str, scale: str | None) -> float:
    """Convert a rating such as 7,5, 75 % or 7.5/10 to a scale of ten; -1 for any other text."""
    match = _RATING.fullmatch(text)
    try:
        if match is not None:
            best = "100" if match[3] else match[2] or scale or "10"
            return float(match[1].replace(",", ".")) / float(best.replace(",", ".")) * 10
    except (ValueError, ZeroDivisionError):
        pass
    return -1.0


def number(root: Element, name: str, warn: Any = None) -> int | None:
    """Return the whole number in an element; None, with a warning, for any other text."""
    text = (root.findtext(name) or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 7:
        return int(text)
    if text and warn is not None:
        warn("bad_number")
    return None


def add_addresses(ids: dict[str, str], text: str, tag: str) -> dict[str, str]:
    """Add the ids in web addresses within a text, for a root with this tag, unless the provider has an id already."""
    for provider, tags, pattern in _ADDRESSES:
        if tag in tags and provider not in ids and (match := pattern.search(text)):
            ids[provider] = match[1]
    return ids
