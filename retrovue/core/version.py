"""The versions of the program and of other packages."""

from functools import cache
from importlib import metadata


@cache
def own_version() -> str:
    """Return the version of RetroVue. The package's metadata is read only once, because reading takes a millisecond."""
    return metadata.version("retrovue")


@cache
def version_of(package: str) -> str:
    """Return the version of a package whose code is loaded; empty if it isn't a package with a version."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
