"""Print lists of any length as JSON or CSV, in constant memory."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import orjson

from retrovue.core.text import json_default

T = TypeVar("T")

_INDENTED = orjson.OPT_INDENT_2


async def each(items: Sequence[T]) -> AsyncIterator[T]:
    """Yield the items of a page in the form of a list of any length."""
    for item in items:
        yield item


async def json_document(document: dict[str, Any], key: str, items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Yield an indented JSON document whose empty list ``key`` is filled with the items."""
    head, tail = orjson.dumps(document, option=_INDENTED | orjson.OPT_APPEND_NEWLINE).split(b'"%b": []' % key.encode())
    yield head + b'"%b": [' % key.encode()
    separator = b"\n    "
    async for item in items:
        yield separator + orjson.dumps(item, default=json_default, option=_INDENTED).replace(b"\n", b"\n    ")
        separator = b",\n    "
    yield (b"\n  ]" if separator.startswith(b",") else b"]") + tail


async def json_lines(items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Yield each item as a line of JSON."""
    async for item in items:
        yield orjson.dumps(item, default=json_default, option=orjson.OPT_APPEND_NEWLINE)


async def csv_lines(names: Sequence[str], items: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """Yield a header line and a line for each item; values other than text and numbers become JSON."""
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(names)
    async for item in items:
        writer.writerow(
            orjson.dumps(value).decode() if isinstance(value, dict | list | bool) else value for value in item.values()
        )
        yield line.getvalue().encode()
        line.seek(0)
        line.truncate()
    yield line.getvalue().encode()
