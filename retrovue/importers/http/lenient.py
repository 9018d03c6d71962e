"""Decode a value of which some parts don't fit their types: these parts are left out, and the rest is kept."""

import json
import re
from typing import Any, Final, TypeVar

import msgspec

MOST_DROPPED: Final = 100
"""The most values to leave out. Decoding starts again for each, so a row with more is malformed."""

LARGEST_REPAIRED: Final = 1 << 20
"""The largest value, in bytes, of which parts are left out. As Python objects, a value takes about twenty times as
much.
"""

_PATH = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]|\[(\.\.\.)\]")

ValueT = TypeVar("ValueT")


class TooMalformed(ValueError):
    """A value, or an answer, is too large to leave out the parts of it that don't fit."""


class LenientBudget:
    """How much of one answer may still be decoded leniently.

    A value is decoded again for each part that doesn't fit.
    """

    def __init__(self, most: int = 32 << 20) -> None:
        """``most`` is the number of bytes of all values, each counted as often as it is decoded."""
        self._left = most

    def spend(self, size: int) -> None:
        """Count the bytes of a value that is decoded; raises TooMalformed if they exceed the limit."""
        if size > LARGEST_REPAIRED:
            raise TooMalformed(f"it is larger than {LARGEST_REPAIRED:,} bytes and doesn't fit its type")
        if size > self._left:
            raise TooMalformed("too much of the answer doesn't fit its types")
        self._left -= size


def decode_leniently(text: bytes, kind: type[ValueT], budget: LenientBudget) -> tuple[ValueT, list[str]]:
    """Decode JSON without the values that don't fit; also return their paths, such as ``.Media[0].bitrate``.

    ``budget`` is shared by all values of an answer. An element of a list first becomes an empty object, so that a part
    of a film that can't be read isn't overlooked. A list may be given as its only element, and a number as a string.
    Raises ValueError if the value as a whole doesn't fit, or is too large to be tried.
    """
    budget.spend(len(text))
    value = json.loads(text, parse_int=_integer)
    dropped: list[str] = []
    while True:
        try:
            return msgspec.convert(value, kind, strict=False), dropped
        except msgspec.ValidationError as exc:
            path = _PATH.search(str(exc))
            single = str(exc).startswith(("Expected `array`, got `object`", "Expected `array | null`, got `object`"))
            if path is None or len(dropped) == MOST_DROPPED or not _drop(value, path[1], single=single):
                raise
            budget.spend(len(text))
            if not single:
                dropped.append(path[1])


def _integer(digits: str) -> float:
    # Python refuses integers of thousands of digits; no field takes one of more than 19.
    return int(digits) if len(digits) < 40 else float(digits)


def _drop(value: Any, path: str, *, single: bool) -> bool:
    """Remove the value at the path from the value, or make a list of it; return whether that was possible."""
    steps = [name or (int(number) if number else None) for name, number, _ in _STEP.findall(path)]
    try:
        for step in steps[:-1]:
            value = value[step]
        last = steps[-1]
        if single and last is not None:
            value[last] = [value[last]]
        elif last is None:
            # A value of a dictionary, whose key isn't given.
            odd = [key for key, entry in value.items() if entry is not None and not isinstance(entry, str)]
            for key in odd or list(value):
                del value[key]
        elif isinstance(last, int) and value[last] != {}:
            value[last] = {}
        else:
            del value[last]
    except (LookupError, TypeError, AttributeError):
        return False
    return True
