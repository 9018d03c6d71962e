"""The rows of a listing, one by one: where a page doesn't fit as a whole, a bad row is one item and not a lost page."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec

from retrovue.core.errors import MalformedAnswer
from retrovue.importers.http.mending import NUL, REPLACEMENT, clean_json

Number = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

RowT = TypeVar("RowT")
KeyT = TypeVar("KeyT")
ContainerT = TypeVar("ContainerT")


def decode_container(
    body: bytes | bytearray, decode: Callable[[bytes | bytearray], ContainerT], *, expected: str, product: str
) -> tuple[ContainerT, bool]:
    """Decode an answer but for its rows, and say whether its text had to be mended first.

    Raises MalformedAnswer with code ``bad_json`` if it isn't JSON, ``no_container`` if it isn't what was expected.
    """
    cleaned, changed = clean_json(body)
    try:
        return decode(cleaned), changed
    except RecursionError as exc:
        raise MalformedAnswer("The answer is nested too deeply to be a listing.", code="bad_json") from exc
    except msgspec.ValidationError as exc:
        raise MalformedAnswer(
            f"The answer {expected} as {product} sends it: {exc}.",
            code="no_container",
            hint=f"Check that the source's address is that of a {product} server and not of something in front of it.",
        ) from exc
    except ValueError as exc:
        raise MalformedAnswer(f"The answer is not whole JSON: {exc}.", code="bad_json") from exc


def decode_rows(
    pieces: Sequence[msgspec.Raw], decode: Callable[[bytes], tuple[RowT, KeyT]], *, changed: bool
) -> tuple[list[RowT], list[KeyT], frozenset[int]]:
    """Decode each row for itself: the rows, the key of each, and the places of those whose text was not clean."""
    rows: list[RowT] = []
    keys: list[KeyT] = []
    mended: set[int] = set()
    for place, piece in enumerate(pieces):
        text = bytes(piece)
        if NUL in text or (changed and REPLACEMENT in text):
            mended.add(place)
        row, key = decode(text)
        rows.append(row)
        keys.append(key)
    return rows, keys, frozenset(mended)


def reason(error: Exception) -> str:
    """Say why a row can't be decoded."""
    return f"{error}" if isinstance(error, msgspec.ValidationError) else type(error).__name__


def all_known(keys: Sequence[KeyT | None]) -> list[KeyT] | None:
    """Return the keys of a page; None if a row has none: only its text tells that row from others."""
    known = [key for key in keys if key is not None]
    return known if len(known) == len(keys) else None
