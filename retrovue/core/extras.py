"""What is installed only with an extra of RetroVue's."""

from collections.abc import Iterator
from contextlib import contextmanager

from retrovue.core.errors import ExtraMissing


@contextmanager
def needing(package: str, extra: str, purpose: str) -> Iterator[None]:
    """Import a package that an extra brings along; raises ExtraMissing if it isn't installed.

    ``purpose`` completes the sentence: what the package is needed for, such as "to listen to a server".
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != package:
            raise
        raise ExtraMissing(
            f"{package} is needed {purpose}, and isn't installed.",
            hint=f"Install it: pip install 'retrovue[{extra}]'.",
            context={"package": package, "extra": extra},
        ) from exc
