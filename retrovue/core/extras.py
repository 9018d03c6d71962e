"""What is installed only with the extra ``service``."""

from collections.abc import Iterator
from contextlib import contextmanager

from retrovue.core.errors import RequestError


@contextmanager
def needing(package: str, purpose: str) -> Iterator[None]:
    """Import a package that the extra ``service`` brings along; raises RequestError if it isn't installed.

    ``purpose`` completes the sentence: what the package is needed for, such as "to listen to a server".
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != package:
            raise
        raise RequestError(
            f"{package} is needed {purpose}, and isn't installed.",
            code="no_service_extra",
            context={"package": package},
        ) from exc
