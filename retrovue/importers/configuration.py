"""Reads the configuration of a source into a record; its values may be the texts of a command line."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from retrovue.core.errors import RequestError
from retrovue.core.text import quoted

SettingsT = TypeVar("SettingsT")


def convert_settings(
    config: Mapping[str, Any], kind: type[SettingsT], *, hint: str = "Give a value that fits."
) -> SettingsT:
    """Convert a configuration to a record of ``kind``, which ignores keys that it doesn't have.

    Raises RequestError with code ``bad_config`` if a value doesn't fit.
    """
    try:
        return msgspec.convert(dict(config), kind, strict=False)
    except msgspec.ValidationError as exc:
        problem, _, path = str(exc).replace("`", "").partition(" - at $.")
        what = f"setting {path} can't be {quoted(config[path])}" if path in config else "configuration can't be used"
        raise RequestError(
            f"The source's {what}: {problem[:1].lower()}{problem[1:]}.",
            code="bad_config",
            hint=f"{hint} A known source is corrected with `retrovue source update`.",
        ) from exc
