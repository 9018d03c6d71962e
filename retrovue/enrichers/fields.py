"""The fields of an asset that enrichers may give; check an answer, and apply it to the asset."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from retrovue.core.pages import Big, Natural
from retrovue.core.text import redact, storable, without_secrets
from retrovue.enrichers.base import AssetView, Enrichment, Failure

MAX_RESULT_BYTES = 1024 * 1024
"""The largest answer of an enricher for one asset, as JSON with fingerprint and data, in bytes."""

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_Objects = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=10_000)]


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of an asset that an enricher may give, with the limits of the catalogue."""

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
    show_year: Annotated[int, msgspec.Meta(ge=1, le=9999)] | UnsetType = UNSET
    show_provider_ids: dict[_Text, _Text] | UnsetType = UNSET
    artist: _Text | UnsetType = UNSET
    album: _Text | UnsetType = UNSET
    disc_number: Natural | UnsetType = UNSET
    track_number: Natural | UnsetType = UNSET


FIELDS = Fields.__struct_fields__
MERGED = ("provider_ids", "tags", "show_provider_ids")
"""The fields that are mappings: an enricher fills in the missing keys."""
REQUIRED = "title"
"""The field that every asset must have."""


class CheckedEnrichment(msgspec.Struct, frozen=True):
    """An enricher's answer for one asset, checked and storable."""

    fields: Mapping[str, Any]
    """Values by the names of the fields; none is empty."""
    empty: frozenset[str]
    """The fields that the enricher gave as None or empty."""
    fingerprint: Mapping[str, Any] | None
    data: Mapping[str, Any] | None
    unchanged: bool


def failure(code: object, message: object) -> Failure:
    """Make a Failure from an enricher's code and message, of bounded length and without the passwords in addresses."""
    return Failure(_text(code, 64) or "enrichment_failed", redact(_text(message, 2000) or "no reason given"))


def check(answer: object, secrets: Collection[str] = ()) -> CheckedEnrichment | Failure:
    """Check an enricher's answer for one asset; return a Failure with the reason if it is invalid.

    ``secrets`` are the forms of the source's credentials, which are removed from the values.
    """
    if isinstance(answer, Failure):
        return failure(answer.code, answer.message)
    if not isinstance(answer, Enrichment):
        return Failure("bad_result", f"The enricher returned a {type(answer).__name__} where an Enrichment belongs.")
    try:
        values = dict(answer.fields.items())
        filled = {name: value for name, value in values.items() if not _is_empty(value)}
        size = len(orjson.dumps([filled, answer.fingerprint, answer.data], default=_refuse))
        if size > MAX_RESULT_BYTES:
            return Failure("result_too_large", f"The enricher gave {size:,} bytes for one asset.")
        fields = msgspec.convert(without_secrets(storable(filled), secrets), Fields)
        extras: tuple[object, ...] = (answer.fingerprint, answer.data)
        if any(extra is not None and not isinstance(extra, Mapping) for extra in extras):
            return Failure("bad_result", "The enricher gave a fingerprint or data that isn't a mapping.")
    except (msgspec.ValidationError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        return failure("bad_result", f"The enricher gave what the catalogue can't hold: {exc}")
    return CheckedEnrichment(
        {name: value for name in filled if (value := getattr(fields, name)) is not UNSET},
        frozenset(FIELDS).intersection(values).difference(filled),
        without_secrets(storable(answer.fingerprint), secrets),
        without_secrets(storable(answer.data), secrets),
        answer.unchanged is True,
    )


def apply(
    asset: AssetView, enrichment: CheckedEnrichment, *, overwrite: bool, own: Collection[str] = ()
) -> dict[str, Any]:
    """Return the fields of the asset that the enrichment changes, with their new values.

    Fields without a value are filled in; with ``overwrite``, every field that differs is replaced. ``own`` are the
    fields whose value came from the same enricher: it may always replace them, or remove them by an empty value (None
    in the result). With ``overwrite`` nothing is removed: the enricher had replaced the source's value, which isn't
    stored.
    """
    changes: dict[str, Any] = {}
    for name, value in enrichment.fields.items():
        current = getattr(asset, name)
        if name in MERGED:
            known = current or {}
            merged = {**known, **value} if overwrite else {**value, **known}
            if merged != known:
                changes[name] = merged
        elif _is_empty(current) or ((overwrite or name in own) and current != value):
            changes[name] = value
    for name in () if overwrite else enrichment.empty.intersection(own).difference(MERGED, (REQUIRED,)):
        if not _is_empty(getattr(asset, name)):
            changes[name] = None
    return changes


def is_file_title(asset: AssetView) -> bool:
    """Return whether the asset's title was only read from its file's name, as in a source of directories."""
    if not asset.source_uri.startswith("file:"):
        return False
    # The importer of directories is only imported if there are files; it would take 5 % of the start of a server's run.
    from retrovue.importers.filesystem.names import KINDS, describe  # noqa: PLC0415 - slow, and rarely needed

    *directories, _ = asset.files[0].local_path.split("/")
    parts = [file.local_path.rpartition("/")[2] for file in asset.files]
    return asset.title in {describe(parts, directories, kind).name.title for kind in KINDS if kind != "music"}


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def _text(value: object, limit: int) -> str:
    return storable(value)[:limit] if isinstance(value, str) else ""


def _refuse(value: object) -> str:
    raise TypeError(f"a {type(value).__name__} is not a plain JSON value")
