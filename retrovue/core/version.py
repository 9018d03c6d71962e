"""The version of the program."""

from functools import cache
from importlib import metadata


@cache
def own_version() -> str:
    """Return the version of RetroVue. The package's metadata is read only once, because reading takes a millisecond."""
    return metadata.version("retrovue")
