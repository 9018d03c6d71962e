"""Decodes a value of which parts don't fit their types: these parts are left out, and the rest is kept."""

import json
import re
from typing import Any, Final, TypeVar

import msgspec

MOST_DROPPED: Final = 100
"""The most values to leave out. Decoding starts again for each: a row with more is malformed."""

_PATH = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]|\[(\.\.\.)\]")

ValueT = TypeVar("ValueT")


def decode_leniently(text: bytes, kind: type[ValueT]) -> tuple[ValueT, list[str]]:
    """Decode JSON without the values that don't fit; returns their paths, too, such as ``.Media[0].bitrate``.

    An element of a list becomes an empty object first, so that a part of a film that can't be read isn't overlooked. A
    list may be written as its only element, and a number as a string. Raises ValueError if the value as a whole doesn't
    fit.
    """
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
            if not single:
                dropped.append(path[1])


def _integer(digits: str) -> float:
    # Python refuses integers of thousands of digits; no field takes one of more than 19.
    return int(digits) if len(digits) < 40 else float(digits)


def _drop(value: Any, path: str, *, single: bool) -> bool:
    """Take what is at the path out of the value, or make a list of it; returns whether that was possible."""
    steps = [name or (int(number) if number else None) for name, number, _ in _STEP.findall(path)]
    try:
        for step in steps[:-1]:
            value = value[step]
        last = steps[-1]
        if single and last is not None:
            value[last] = [value[last]]
        elif last is None:
            # A value of a dictionary, whose key isn't told.
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
