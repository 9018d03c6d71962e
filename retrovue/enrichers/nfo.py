"""The enricher for sidecar files as Kodi and Jellyfin keep them: movie.nfo, <film>.nfo, tvshow.nfo, <episode>.nfo.

The format is Kodi's (https://kodi.wiki/view/NFO_files): ``<movie>``, ``<tvshow>``, and one ``<episodedetails>`` for
each episode of a file, one behind the other. Entities, DTDs and anything that would be fetched are refused.
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
"""Of one sidecar; those of long-running shows with their casts take some 100 KiB."""
SHOW_LEVELS = 2
"""tvshow.nfo stands beside the episode or one directory up, above its season."""

_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]{1,40})["']""")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PROVIDERS = {"imdb", "tmdb", "tvdb", "mbid"}


class NfoEnricher(BaseEnricher):
    """Reads what sidecar files say of films and episodes."""

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
    """Read an asset's sidecars; an asset without any has nothing to say, which is no failure.

    Raises EnrichmentError for a sidecar that can't be used, OSError for one that can't be read.
    """
    media = Path(asset.files[0].local_path)
    found: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    names = [media.with_suffix(".nfo"), *([] if asset.type == "episode" else [media.with_name("movie.nfo")])]
    for name in names:
        loaded = _load(name)
        if loaded is None:
            continue
        root, mark = loaded
        marks[str(name)] = mark
        wanted = "episodedetails" if asset.type == "episode" else None
        element = _choose(root, wanted, asset)
        if element is None:
            raise EnrichmentError(f"{name.name} says nothing of this item.", code="nfo_of_another")
        found = details(element)
        break
    if asset.type == "episode":
        show = _show(media, {} if shows is None else shows)
        if show is not None:
            root, mark = show
            marks["tvshow.nfo"] = mark
            found = _of_show(root) | found
    return Enrichment(fields=found, fingerprint={"sidecars": marks} if marks else None)


def _show(media: Path, known: dict[Path, tuple[Element, str] | None]) -> tuple[Element, str] | None:
    for directory in list(media.parents)[:SHOW_LEVELS]:
        if directory not in known:
            known[directory] = _load(directory / "tvshow.nfo")
        found = known[directory]
        if found is not None:
            return found
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
    """Parse a sidecar into an element that holds its root elements, of which there may be several.

    Raises EnrichmentError with code ``nfo_malformed``, or ``nfo_forbidden`` for entities and DTDs.
    """
    text = _DECLARATION.sub("", _decoded(raw), count=1)
    # Kodi allows the address of a web page behind the last element.
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
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace")
    named = _ENCODING.match(raw)
    try:
        return raw.decode(named[1].decode() if named else "utf-8", "replace")
    except LookupError:  # an encoding that nobody knows
        return raw.decode("utf-8", "replace")


def _choose(root: Element, wanted: str | None, asset: AssetView) -> Element | None:
    elements = [element for element in root if wanted is None or element.tag == wanted]
    if asset.type != "episode":
        return next((element for element in elements if element.tag in {"movie", "musicvideo", "video"}), None)
    for element in elements:
        numbers = _number(element, "season"), _number(element, "episode")
        if asset.episode_number is not None and numbers == (asset.season_number, asset.episode_number):
            return element
    # The only one without a number can only mean this file's episode; so does the first if no number is known.
    alone = len(elements) == 1 and _number(elements[0], "episode") is None
    return elements[0] if elements and (alone or asset.episode_number is None) else None


def details(element: Element) -> dict[str, Any]:
    """Read a film's or an episode's element as fields of an asset; values that make no sense are left out."""
    runtime = _number(element, "runtime")
    aired = _date(element, "aired") or _date(element, "premiered") or _date(element, "releasedate")
    found: dict[str, Any] = {
        "title": _text(element, "title"),
        "show_title": _text(element, "showtitle") if element.tag == "episodedetails" else None,
        "season_number": _number(element, "season") if element.tag == "episodedetails" else None,
        "episode_number": _number(element, "episode") if element.tag == "episodedetails" else None,
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
    return {name: value for name, value in found.items() if value not in (None, {}, "")}


def _of_show(root: Element) -> dict[str, Any]:
    show = next((element for element in root if element.tag == "tvshow"), None)
    if show is None:
        return {}
    found = {
        "show_title": _text(show, "title"),
        "studio": _text(show, "studio"),
        "content_rating": _text(show, "mpaa"),
        "tags": _tags(show),
    }
    return {name: value for name, value in found.items() if value}


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
    found = {(unique.get("type") or "").lower(): (unique.text or "").strip() for unique in element.findall("uniqueid")}
    for name in ("imdb", "tmdb"):
        found[name] = found.get(name) or _text(element, f"{name}id") or ""
    return {name: value for name, value in found.items() if name in _PROVIDERS and value}


def _tags(element: Element) -> Mapping[str, list[str]]:
    found = {
        "genre": [part.strip() for one in element.findall("genre") for part in (one.text or "").split(" / ")],
        "label": [(one.text or "").strip() for one in element.findall("tag")],
        "collection": [_text(one, "name") or (one.text or "").strip() for one in element.findall("set")],
    }
    return {kind: kept for kind, words in found.items() if (kept := [word for word in words if word])}
