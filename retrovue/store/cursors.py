"""Cursors: positions in a list at which a page begins, as text that is safe in URLs and shells."""

import base64
from typing import Any, TypeVar

import msgspec

from retrovue.core.errors import RequestError

_Position = TypeVar("_Position")


def write_cursor(position: Any) -> str:
    """Encode a position as a cursor: JSON in URL-safe base64."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read_cursor(cursor: str, decoder: "msgspec.json.Decoder[_Position]") -> _Position:
    """Decode a cursor. Raises RequestError with code ``bad_cursor`` if it isn't a position of the decoder's type."""
    try:
        return decoder.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.MsgspecError) as exc:
        raise bad_cursor() from exc


def bad_cursor() -> RequestError:
    """Make the error for a cursor that doesn't come from the list."""
    return RequestError(
        "The cursor isn't one of this list.",
        code="bad_cursor",
        hint="Take it from next_cursor of the page before, or leave it out to begin with the first page.",
    )
