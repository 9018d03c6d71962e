"""The enricher that reads Kodi's sidecar files: XML beside the media file, or in the directory of the film or show.

The elements are those of the Kodi wiki, "NFO files". A file of several episodes has one ``<episodedetails>`` for
each, one after the other. Entities, DTDs and anything that would be fetched are refused.
"""

import codecs
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, ParseError

import anyio.to_thread
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from retrovue.core.errors import EnrichmentError
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure

MAX_BYTES = 2 * 1024 * 1024
"""Bytes of a sidecar; one of a long-running show with its cast takes some 100 KiB."""
SHOW_LEVELS = 2
"""Directories in which tvshow.nfo is looked for: the episode's, and the one above it."""

_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]{1,40})["']""")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PROVIDERS = {"imdb", "tmdb", "tvdb", "mbid"}


class NfoEnricher(BaseEnricher):
    """Read the sidecar files of films and episodes."""

    type_name: ClassVar[str] = "nfo"
    batch_size: ClassVar[int] = 50
    deadline_s: ClassVar[float] = 60.0
    reads_files: ClassVar[bool] = True

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Read the sidecars of these assets, in a worker thread."""
        return await anyio.to_thread.run_sync(partial(_read_all, list(assets)), abandon_on_cancel=True)


def _read_all(assets: Sequence[AssetView]) -> list[Enrichment | Failure]:
    shows: dict[Path, tuple[Element, str] | None] = {}
    answers: list[Enrichment | Failure] = []
    for asset in assets:
        try:
            answers.append(read(asset, shows))
        except EnrichmentError as exc:
            answers.append(Failure(exc.code, exc.message))
        except OSError as exc:
            answers.append(Failure("unreadable_sidecar", f"The sidecar can't be read: {exc.strerror}."))
    return answers


def read(asset: AssetView, shows: dict[Path, tuple[Element, str] | None] | None = None) -> Enrichment:
    """Read an asset's sidecars; without any, return an Enrichment without fields.

    ``shows`` caches the tvshow.nfo of each directory. Raises EnrichmentError for a sidecar that can't be used,
    OSError for one that can't be read.
    """
    media = Path(asset.files[0].local_path)
    fields: dict[str, Any] = {}
    fingerprints: dict[str, str] = {}
    paths = [media.with_suffix(".nfo"), *([] if asset.type == "episode" else [media.with_name("movie.nfo")])]
    for path in paths:
        if (loaded := _load(path)) is not None:
            root, fingerprints[str(path)] = loaded
            element = _choose(root, asset)
            if element is None:
                raise EnrichmentError(f"{path.name} doesn't describe this item.", code="nfo_of_another")
            fields = details(element)
            break
    if asset.type == "episode" and (show := _show(media, {} if shows is None else shows)) is not None:
        root, fingerprints["tvshow.nfo"] = show
        fields = _show_details(root) | fields
    return Enrichment(fields=fields, fingerprint={"sidecars": fingerprints} if fingerprints else None)


def _show(media: Path, shows: dict[Path, tuple[Element, str] | None]) -> tuple[Element, str] | None:
    for directory in list(media.parents)[:SHOW_LEVELS]:
        if directory not in shows:
            shows[directory] = _load(directory / "tvshow.nfo")
        if (show := shows[directory]) is not None:
            return show
    return None


def _load(path: Path) -> tuple[Element, str] | None:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
            modified = path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(raw) > MAX_BYTES:
        raise EnrichmentError(f"{path.name} is larger than {MAX_BYTES:,} bytes.", code="nfo_too_large")
    return parse(raw, path.name), f"{len(raw)}:{modified}"


def parse(raw: bytes, name: str = "The sidecar") -> Element:
    """Parse a sidecar; return an element that holds its roots, of which there may be several.

    Raises EnrichmentError with code ``nfo_malformed``, or ``nfo_forbidden`` for entities and DTDs.
    """
    text = _DECLARATION.sub("", _decoded(raw), count=1)
    # Kodi allows a web address after the last element.
    end = text.rfind(">")
    if end < 0:
        raise EnrichmentError(f"{name} holds no XML.", code="nfo_malformed")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise EnrichmentError(f"{name} declares a document type or entities, which is refused.", code="nfo_forbidden")
    try:
        root: Element = fromstring(
            f"<retrovue>{text[: end + 1]}</retrovue>", forbid_dtd=True, forbid_entities=True, forbid_external=True
        )
    except DefusedXmlException as exc:
        raise EnrichmentError(f"{name} uses what is refused: {type(exc).__name__}.", code="nfo_forbidden") from exc
    except (ParseError, ValueError) as exc:
        raise EnrichmentError(f"{name} is not well-formed: {exc}.", code="nfo_malformed") from exc
    return root


def _decoded(raw: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace")
    declared = _ENCODING.match(raw)
    try:
        return raw.decode(declared[1].decode() if declared else "utf-8", "replace")
    except LookupError:  # the declared encoding doesn't exist
        return raw.decode("utf-8", "replace")


def _choose(root: Element, asset: AssetView) -> Element | None:
    """Return the root that describes the asset."""
    if asset.type != "episode":
        return next((element for element in root if element.tag in {"movie", "musicvideo", "video"}), None)
    elements = root.findall("episodedetails")
    for element in elements:
        numbers = _number(element, "season"), _number(element, "episode")
        if asset.episode_number is not None and numbers == (asset.season_number, asset.episode_number):
            return element
    # Without numbers to compare, the first is the best guess; an only one without a number is surely the file's.
    unnumbered = len(elements) == 1 and _number(elements[0], "episode") is None
    return elements[0] if elements and (unnumbered or asset.episode_number is None) else None


def details(element: Element) -> dict[str, Any]:
    """Read a film's or an episode's element as fields of an asset; leave out values that aren't valid."""
    runtime = _number(element, "runtime")
    episode = element.tag == "episodedetails"
    aired = _date(element, "aired") or _date(element, "premiered") or _date(element, "releasedate")
    fields: dict[str, Any] = {
        "title": _text(element, "title"),
        "show_title": _text(element, "showtitle") if episode else None,
        "season_number": _number(element, "season") if episode else None,
        "episode_number": _number(element, "episode") if episode else None,
        "year": _year(element) or (aired.year if aired else None),
        "originally_aired": aired,
        "runtime_ms": runtime * 60_000 if runtime else None,
        "edition": _text(element, "edition"),
        "studio": _text(element, "studio"),
        "content_rating": _text(element, "mpaa"),
        "rating": _rating(element),
        "provider_ids": _ids(element),
        "tags": _tags(element),
    }
    return {name: value for name, value in fields.items() if value not in (None, {}, "")}


def _show_details(root: Element) -> dict[str, Any]:
    """Read the fields that an episode has from its show."""
    show = root.find("tvshow")
    if show is None:
        return {}
    shared = ("title", "studio", "content_rating", "tags")
    return {
        ("show_title" if name == "title" else name): value for name, value in details(show).items() if name in shared
    }


def _text(element: Element, name: str) -> str | None:
    text = (element.findtext(name) or "").strip()
    return text or None


def _number(element: Element, name: str) -> int | None:
    text = _text(element, name)
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else None


def _year(element: Element) -> int | None:
    year = _number(element, "year")
    return year if year is not None and 1800 <= year <= 2200 else None


def _date(element: Element, name: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat((_text(element, name) or "")[:10])
    except ValueError:
        return None


def _rating(element: Element) -> float | None:
    texts = [_text(element, "rating"), *(value.text for value in element.findall("ratings/rating/value"))]
    for text in texts:
        try:
            rating = float(text or "")
        except ValueError:
            continue
        if 0 < rating <= 10:
            return rating
    return None


def _ids(element: Element) -> Mapping[str, str]:
    ids = {(unique.get("type") or "").lower(): (unique.text or "").strip() for unique in element.findall("uniqueid")}
    for provider in ("imdb", "tmdb"):
        ids[provider] = ids.get(provider) or _text(element, f"{provider}id") or ""
    return {provider: value for provider, value in ids.items() if provider in _PROVIDERS and value}


def _tags(element: Element) -> Mapping[str, list[str]]:
    tags = {
        "genre": [part.strip() for genre in element.findall("genre") for part in (genre.text or "").split(" / ")],
        "label": [(tag.text or "").strip() for tag in element.findall("tag")],
        "collection": [_text(group, "name") or (group.text or "").strip() for group in element.findall("set")],
    }
    return {kind: kept for kind, words in tags.items() if (kept := [word for word in words if word])}
