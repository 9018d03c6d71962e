"""Render templates. All values are escaped: a template shows them as text, never as markup."""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from retrovue.core.errors import RetrovueError
from retrovue.web.advice import hint_markup
from retrovue.web.files import address_of
from retrovue.web.state import Notice, state_of

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def time_element(moment: dt.datetime | None) -> Markup:
    """Return the element of a time: in UTC, which the browser's script changes to the reader's time zone."""
    if moment is None:
        return Markup("–")
    utc = moment.astimezone(dt.UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M:%S")
    )


def number_element(number: float | None) -> Markup:
    """Return the element of a number, which the browser's script changes to the reader's format."""
    return Markup("–") if number is None else Markup('<data value="{}">{}</data>').format(number, f"{number:,}")


def bytes_text(number: int | None) -> str:
    """Return a number of bytes as text, with three digits."""
    if number is None:
        return "–"
    size, unit = float(number), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.3g} {_UNITS[unit]}" if size < 1000 else f"{size:.0f} {_UNITS[unit]}"


def duration_text(seconds: float | None) -> str:
    """Return a duration as text."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


def query(**values: Any) -> str:
    """Return the values that aren't None as the query of an address."""
    return urlencode({name: value for name, value in values.items() if value not in (None, "")})


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("retrovue.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "time": time_element, "number": number_element, "bytes": bytes_text, "duration": duration_text, "hint": hint_markup
}  # fmt: skip
_ENVIRONMENT.globals |= {"static": address_of, "query": query}


def piece(template: str, **values: Any) -> str:
    """Render a fragment of a page."""
    return _ENVIRONMENT.get_template(template).render(values)


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page as a response."""
    state = state_of(request)
    shared: Mapping[str, Any] = {
        "here": request.url.path,
        "host": state.host.name,
        "signs_in": state.sessions is not None,
        "notice": state.notices.get(request.query_params.get("notice", "")),
    }
    return HTMLResponse(piece(template, **shared, **values), status)


def done(request: Request, address: str, message: str, hint: str | None = None, *, failed: bool = False) -> Response:
    """Redirect the browser to a page that shows a notice: what was done, or what went wrong."""
    key = state_of(request).notices.add(Notice(message, hint, failed))
    mark = "&" if "?" in address else "?"
    return RedirectResponse(f"{address}{mark}notice={key}", 303)


def refused(request: Request, address: str, error: RetrovueError) -> Response:
    """Redirect the browser back to a page that shows an error."""
    return done(request, address, error.message, error.hint, failed=True)
