"""How patient the HTTP client is, and what servers may ask of its patience."""

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from retrovue.core.bounds import LARGEST, LONGEST_WAIT_S
from retrovue.core.errors import RequestError

_Wait = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT_S)]
_Deadline = Annotated[float, msgspec.Meta(gt=0, le=LONGEST_WAIT_S)]


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """How patient the client is. Seconds and bytes."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=LARGEST)] = 4
    """Tries of one request, the first included."""
    base_wait_s: _Wait = 0.5
    """The wait before the first retry is random up to this; it doubles each time."""
    max_wait_s: _Wait = 30.0
    """No wait is longer, whatever Retry-After says."""
    connect_timeout_s: _Deadline = 10.0
    read_timeout_s: _Deadline = 60.0
    """Between two reads: a big library takes many seconds to sort before the first byte."""
    page_deadline_s: _Deadline = 120.0
    """For one try with its whole body: a trickle never trips the time-out of a single read."""
    total_deadline_s: _Deadline = 300.0
    """For all tries of a request with the waits between them."""
    collection_deadline_s: _Deadline = 6 * 3600.0
    """For all pages of one library: each may be within its own deadline and the whole still take days."""
    body_cap: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024 * 1024
    """Decoded bytes of one answer; a page of 1,000 films is about 3 MB."""
    gzip: bool = False
    """Ask for compressed answers: worth it over the internet; at home it only costs both sides CPU."""


def make_policy(settings: Mapping[str, Any]) -> HttpPolicy:
    """Make a policy from a configuration's ``http`` mapping.

    Raises RequestError with code ``bad_config`` if a name or a value doesn't fit.
    """
    unknown = sorted(set(settings) - set(HttpPolicy.__dataclass_fields__))
    try:
        policy = msgspec.convert(settings, HttpPolicy, strict=False)
    except msgspec.ValidationError as exc:
        raise RequestError(f"The source's http settings can't be used: {exc}.", code="bad_config") from exc
    if unknown:
        problem = f"unknown: {', '.join(unknown)}"
        raise RequestError(f"The source's http settings can't be used: {problem}.", code="bad_config")
    return policy


def retry_after_seconds(value: str | None) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date; None if there is none that can be read."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
