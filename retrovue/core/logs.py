"""Log records with the ids of their run and collection.

Each module logs with the standard library under its own name, such as ``retrovue.store.session``. The library
configures no handlers; the host program does. Each record of a run has an attribute ``run_id``, and a record about a
collection also ``collection_id``. Both are UUIDs as text.
"""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_IDS: ContextVar[Mapping[str, str]] = ContextVar("retrovue ids")


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the ids of the current log context to each record."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the ids."""
        return msg, {**kwargs, "extra": {**_IDS.get({}), **(kwargs.get("extra") or {})}}


def logger(module: str) -> Logger:
    """Return the logger of a module."""
    return Logger(logging.getLogger(module), {})


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Add ids to the log records of this task, and of the tasks that it starts, inside the block."""
    token = _IDS.set({**_IDS.get({}), **{name: str(value) for name, value in ids.items()}})
    try:
        yield
    finally:
        _IDS.reset(token)
