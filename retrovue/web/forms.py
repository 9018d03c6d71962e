"""Read the parameters of a request from its query and its form."""

import re
import uuid
from collections.abc import Mapping
from typing import Any, cast

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from retrovue.core.errors import RequestError
from retrovue.operations.catalogue import AssetFilters

PAGE_SIZES = (25, 50, 100, 200)
_TEXTS = ("source", "collection", "state", "availability", "type", "title", "show", "artist", "album", "path")
_NUMBERS = ("season", "year")
FILTERS = (*_TEXTS, *_NUMBERS)
"""The filters of assets that the page offers."""


def path_id(request: Request) -> uuid.UUID:
    """Return the id in the path of a request; raises HTTPException 404 for a text that isn't an id."""
    try:
        return uuid.UUID(request.path_params["id"])
    except ValueError:
        raise HTTPException(404) from None


async def form_of(request: Request) -> FormData:
    """Return the form of a request."""
    return await request.form(max_files=0, max_fields=1_000, max_part_size=64 * 1024)


def text(values: Mapping[str, Any], name: str) -> str | None:
    """Return a value without surrounding whitespace; None if it is empty or missing."""
    value = values.get(name)
    return (value.strip() or None) if isinstance(value, str) else None


def required(values: Mapping[str, Any], name: str, label: str) -> str:
    """Return a value; raises RequestError if it is missing."""
    value = text(values, name)
    if value is None:
        raise RequestError(f"{label} is missing.", hint="Fill in the form.")
    return value


def uuid_of(values: Mapping[str, Any], name: str) -> uuid.UUID:
    """Return a value as a UUID; raises RequestError if it isn't one."""
    try:
        return uuid.UUID(text(values, name) or "")
    except ValueError:
        raise RequestError("The form refers to something that doesn't exist.", hint="Load the page again.") from None


def number(values: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number; None if the value is missing. Raises RequestError for other text."""
    value = text(values, name)
    if value is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,9}", value):
        raise RequestError(f"{name.capitalize()} is a whole number.", hint="Correct the field.")
    return int(value)


def asset_filters(values: Mapping[str, Any]) -> AssetFilters:
    """Return the filters of assets. Raises RequestError for an invalid one."""
    found: dict[str, Any] = {name: text(values, name) for name in _TEXTS}
    found |= {name: number(values, name) for name in _NUMBERS}
    return cast("AssetFilters", {name: value for name, value in found.items() if value is not None})


def page_size(values: Mapping[str, Any]) -> int:
    """Return the number of rows on a page of a list."""
    wanted = number(values, "limit")
    return wanted if wanted in PAGE_SIZES else 50


def local_address(value: str | None) -> str:
    """Return the local address to redirect to; the overview if the given address isn't one of this server."""
    if value is None or not value.startswith("/") or value.startswith(("//", "/\\")) or not value.isprintable():
        return "/"
    return value
