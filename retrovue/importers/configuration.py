"""Convert the configuration of a source to a record; its values may be texts from a command line."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from retrovue.core.errors import RequestError
from retrovue.core.text import quoted

SettingsT = TypeVar("SettingsT")

_EXPECTED = re.compile(r"Expected (?P<type>int|float|bool|str)\b(?: \| null)?(?: (?P<bound>[<>]=?) (?P<limit>\S+))?")
_TYPES = {"int": "a whole number", "float": "a number", "bool": "yes or no", "str": "text"}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def convert_settings(
    config: Mapping[str, Any], kind: type[SettingsT], *, hint: str = "Give a value that fits."
) -> SettingsT:
    """Convert a configuration to a record of type ``kind``, which ignores other keys.

    Raises RequestError with code ``bad_config`` for an invalid value.
    """
    try:
        return msgspec.convert(dict(config), kind, strict=False)
    except msgspec.ValidationError as exc:
        path, problem = mismatch(exc)
        what = f"setting {path} can't be {quoted(config[path])}" if path in config else "configuration can't be used"
        raise RequestError(
            f"The source's {what}: {problem}.",
            code="bad_config",
            hint=f"{hint} A known source is corrected with `retrovue source update`.",
        ) from exc


def mismatch(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the invalid setting, empty if none can be named, and what it has to be, in words."""
    problem, _, path = str(error).replace("`", "").partition(" - at $.")
    match = _EXPECTED.match(problem)
    if match is None:
        return path, f"{problem[:1].lower()}{problem[1:]}"
    limit = "" if match["bound"] is None else f", {_BOUNDS[match['bound']]} {match['limit'].removesuffix('.0')}"
    return path, f"it has to be {_TYPES[match['type']]}{limit}"
