"""The version of the program."""

from functools import cache
from importlib import metadata


@cache
def own_version() -> str:
    """Return the version of RetroVue. The metadata of the package is read once: it takes a millisecond each time."""
    return metadata.version("retrovue")
