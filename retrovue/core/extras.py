"""Check for the packages that are installed only with the extra ``service``."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from retrovue.core.errors import RequestError

JOB_PACKAGES = ("procrastinate", "psycopg", "psycopg_pool")
"""The packages that jobs need."""


@contextmanager
def needing(package: str, purpose: str) -> Iterator[None]:
    """Import a package that the extra ``service`` installs; raises RequestError if it isn't installed.

    ``purpose`` says in the error message what the package is needed for, such as "to listen to a server".
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != package:
            raise
        raise _missing(package, purpose) from exc


def require_packages(purpose: str, *packages: str) -> None:
    """Raise RequestError if any of the given packages isn't installed. Imports none of them."""
    for package in packages:
        if find_spec(package) is None:
            raise _missing(package, purpose)


def _missing(package: str, purpose: str) -> RequestError:
    return RequestError(
        f"{package} is needed {purpose}, and isn't installed.",
        code="no_service_extra",
        context={"package": package},
    )
