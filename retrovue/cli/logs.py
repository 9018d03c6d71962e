"""``--log-level`` and ``--log-format``: log records on standard error, each a line of text or JSON."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import orjson

from retrovue.cli.text import printable
from retrovue.core.text import json_default, redact

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
_IDS = ("run_id", "collection_id", "code")


@contextmanager
def logging_to_stderr(level: str | None, form: str | None) -> Iterator[None]:
    """Log RetroVue's records within the block if a level or a format is given; else log nothing."""
    if level is None and form is None:
        yield
        return
    logger = logging.getLogger("retrovue")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    before = logger.level
    logger.setLevel((level or "info").upper())
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _fields(record: logging.LogRecord) -> dict[str, str]:
    return {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": redact(record.getMessage()),
        **{name: getattr(record, name) for name in _IDS if hasattr(record, name)},
    }


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(_fields(record), default=json_default).decode()


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        head = " ".join(fields.pop(name) for name in ("time", "level", "logger", "message"))
        return printable(" ".join([head, *(f"{name}={value}" for name, value in fields.items())]))
