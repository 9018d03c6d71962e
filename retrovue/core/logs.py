"""Log records that say which run and which collection they are about.

RetroVue logs by the standard library, each module under its own name below ``retrovue``, and configures nothing: what
becomes of a record is for whoever embeds it to decide. Each record of a run has the attributes ``run_id`` and, if it is
about one, ``collection_id``: UUIDs as text.
"""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_IDS: ContextVar[Mapping[str, str]] = ContextVar("retrovue ids")


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds to each record what the task at work is about."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the ids."""
        return msg, {**kwargs, "extra": {**_IDS.get({}), **(kwargs.get("extra") or {})}}


def logger(module: str) -> Logger:
    """Return the logger of a module."""
    return Logger(logging.getLogger(module), {})


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Have the records of this task, and of those that it starts, say what they are about."""
    token = _IDS.set({**_IDS.get({}), **{name: str(value) for name, value in ids.items()}})
    try:
        yield
    finally:
        _IDS.reset(token)
