"""What an enricher may say of an asset: checked value by value, then filled in where nothing is known yet."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from retrovue.core.model import Big, Natural
from retrovue.core.text import redact, storable
from retrovue.enrichers.base import AssetView, Enrichment, Failure

MAX_RESULT_BYTES = 1024 * 1024
"""JSON that one enricher may give for one asset, fingerprint and data included."""

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_Objects = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=10_000)]


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of an asset that an enricher may give, within the bounds that the catalogue has for them."""

    title: _Text | UnsetType = UNSET
    show_title: _Text | UnsetType = UNSET
    season_number: Natural | UnsetType = UNSET
    episode_number: Natural | UnsetType = UNSET
    year: Annotated[int, msgspec.Meta(ge=1, le=9999)] | UnsetType = UNSET
    originally_aired: dt.date | UnsetType = UNSET
    runtime_ms: Big | UnsetType = UNSET
    edition: _Text | UnsetType = UNSET
    studio: _Text | UnsetType = UNSET
    content_rating: _Text | UnsetType = UNSET
    rating: Annotated[float, msgspec.Meta(ge=0, le=10)] | UnsetType = UNSET
    container: _Text | UnsetType = UNSET
    video_codec: _Text | UnsetType = UNSET
    audio_codec: _Text | UnsetType = UNSET
    audio_channels: Natural | UnsetType = UNSET
    video_resolution: _Text | UnsetType = UNSET
    width: Natural | UnsetType = UNSET
    height: Natural | UnsetType = UNSET
    bitrate_kbps: Natural | UnsetType = UNSET
    provider_ids: dict[_Text, _Text] | UnsetType = UNSET
    tags: dict[_Text, list[_Text]] | UnsetType = UNSET
    chapters: _Objects | UnsetType = UNSET
    markers: _Objects | UnsetType = UNSET
    streams: _Objects | UnsetType = UNSET


FIELDS = Fields.__struct_fields__
MERGED = ("provider_ids", "tags")
"""The fields that are mappings, of which an enricher fills the keys that are missing."""
REQUIRED = "title"
"""The field that no asset can be without."""


class Given(msgspec.Struct, frozen=True):
    """An enricher's answer for one asset that has passed the check."""

    fields: Mapping[str, Any]
    """Values, none of them empty."""
    empty: frozenset[str]
    """The fields of which it says that there is nothing."""
    fingerprint: Mapping[str, Any] | None
    data: Mapping[str, Any] | None
    unchanged: bool


def failure(code: object, message: object) -> Failure:
    """Make a Failure of what an enricher says of it, within bounds and without passwords in addresses."""
    said = redact(_text(message, 2000) or "no reason given")
    return Failure(_text(code, 64) or "enrichment_failed", said)


def check(answer: object) -> Given | Failure:
    """Check an answer; what doesn't fit becomes a Failure that says what."""
    if isinstance(answer, Failure):
        return failure(answer.code, answer.message)
    if not isinstance(answer, Enrichment):
        return Failure("bad_result", f"The enricher returned a {type(answer).__name__} where an Enrichment belongs.")
    try:
        told = dict(answer.fields.items())
        said = {name: value for name, value in told.items() if not _empty(value)}
        size = len(orjson.dumps([said, answer.fingerprint, answer.data], default=_iso))
        if size > MAX_RESULT_BYTES:
            return Failure("result_too_large", f"The enricher gave {size:,} bytes for one asset.")
        fields = msgspec.convert(storable(said), Fields)
        if any(value is not None and not isinstance(value, Mapping) for value in _kept(answer)):
            return Failure("bad_result", "The enricher gave a fingerprint or data that isn't a mapping.")
    except (msgspec.ValidationError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        return failure("bad_result", f"The enricher gave what the catalogue can't hold: {exc}")
    checked = {name: value for name in said if (value := getattr(fields, name)) is not UNSET}
    empty = frozenset(FIELDS).intersection(told).difference(said)
    return Given(checked, empty, storable(answer.fingerprint), storable(answer.data), answer.unchanged is True)


def apply(asset: AssetView, given: Given, *, overwrite: bool, own: Collection[str] = ()) -> dict[str, Any]:
    """Tell which fields of the asset change, and to what: the empty ones, or with ``overwrite`` all that differ.

    Single values that the enricher itself gave before, ``own``, it may replace, or take back by saying that there is
    nothing (None here): it knows better now. With ``overwrite`` nothing is taken back: what the source said of it was
    replaced, and is lost.
    """
    changes: dict[str, Any] = {}
    for name, value in given.fields.items():
        known = getattr(asset, name)
        if name in MERGED:
            merged = {**known, **value} if overwrite else {**value, **known}
            if merged != known:
                changes[name] = merged
        elif _empty(known) or ((overwrite or name in own) and known != value):
            changes[name] = value
    for name in () if overwrite else given.empty.intersection(own).difference(MERGED, (REQUIRED,)):
        if not _empty(getattr(asset, name)):
            changes[name] = None
    return changes


def _kept(answer: Enrichment) -> tuple[object, object]:
    return answer.fingerprint, answer.data


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def _text(value: object, limit: int) -> str:
    return storable(value)[:limit] if isinstance(value, str) else ""


def _iso(value: object) -> str:
    raise TypeError(f"a {type(value).__name__} is not a plain JSON value")
