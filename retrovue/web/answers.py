"""Responses for programs: errors as JSON, and lists as JSON or CSV, sent in chunks of bounded size."""

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, StreamingResponse

from retrovue.core.errors import Problem
from retrovue.core.text import json_default

_ROWS = 500
"""The number of rows in a chunk."""


def refusal(status: int, problem: Problem) -> JSONResponse:
    """Return the JSON response of an error."""
    return JSONResponse({"status": "error", "errors": [problem.document()]}, status)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON bytes; times and ids become text."""
    return json.dumps(document, default=json_default, ensure_ascii=False).encode()


def as_csv(name: str, columns: Sequence[str], rows: AsyncIterator[Mapping[str, Any]]) -> StreamingResponse:
    """Return a CSV response of rows. A text that a spreadsheet would read as a formula gets a quote before it."""

    async def pieces() -> AsyncIterator[str]:
        page = io.StringIO()
        writer = csv.writer(page)
        writer.writerow(columns)
        count = 0
        async for row in rows:
            writer.writerow([_cell(row.get(column)) for column in columns])
            count += 1
            if count % _ROWS == 0:
                yield page.getvalue()
                page.seek(0)
                page.truncate()
        yield page.getvalue()

    return StreamingResponse(pieces(), media_type="text/csv; charset=utf-8", headers=_attached(f"{name}.csv"))


def as_json_lines(name: str, rows: AsyncIterator[Mapping[str, Any]]) -> StreamingResponse:
    """Return a response with one row as JSON on each line."""

    async def pieces() -> AsyncIterator[bytes]:
        async for row in rows:
            yield json_bytes(row) + b"\n"

    return StreamingResponse(pieces(), media_type="application/x-ndjson", headers=_attached(f"{name}.jsonl"))


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, default=json_default, ensure_ascii=False)
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} and not isinstance(value, int | float) else text
