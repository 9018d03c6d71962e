"""Turn the error responses of an HTTP server into errors."""

import re

import httpx

from retrovue.core.errors import SourceError, SourceRefused, SourceUnreachable
from retrovue.importers.http.answers import error_text, retry_after_seconds

_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
_STATUS_TEXT = re.compile(r'status="([^"<>]{1,200})"')
_MAINTENANCE = re.compile(r"maintenance|startup|starting|loading|migrat", re.IGNORECASE)


class Refusal(SourceError):
    """The server answered a request with a 4xx other than 401, 403 and 429."""

    default_code = "request_refused"

    def __init__(self, message: str, *, status: int = 400, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, context={"status": status})
        self.status = status


class Transient(Exception):
    """A failure that another attempt may resolve, with the error to raise after the last attempt."""

    def __init__(self, error: SourceError, retry_after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after


async def refusal_of(response: httpx.Response, server: str) -> Exception:
    """Return the error for a response that isn't usable; ``server`` begins the sentences of its message."""
    status = response.status_code
    if status in {401, 403}:
        return SourceRefused(
            f"{server} refused the token (HTTP {status}).",
            hint="Set a valid token with `retrovue source update`.",
            context={"status": status},
        )
    if status not in _RETRIED_STATUS and 400 <= status < 500:
        return Refusal(
            f"{server} refused a request (HTTP {status}).",
            status=status,
            hint="Check the address and the server's version.",
        )
    if status < 400:
        meaning = ", not modified, although it wasn't asked whether something is" if status == 304 else ""
        return SourceError(
            f"{server} doesn't send what was asked for (HTTP {status}{meaning}).",
            code="unexpected_status",
            hint="Check any proxy or cache between here and the server.",
            context={"status": status},
        )
    text = await error_text(response)
    reason = _STATUS_TEXT.search(text)
    if status == 503 and (reason or _MAINTENANCE.search(text)):
        detail = reason[1] if reason else "HTTP 503"
        message = f"{server} is starting up or in maintenance: {detail}"
        hint = "Wait until it is ready, then try again."
    elif status == 429:
        message = f"{server} refuses so many requests (HTTP 429)."
        hint = "Wait a while, or lower the concurrency."
    else:
        message = f"{server} answers with an internal error (HTTP {status})."
        hint = "Check the server's log."
    error = SourceUnreachable(message, hint=hint, context={"status": status})
    if status not in _RETRIED_STATUS:
        return error
    return Transient(error, retry_after_seconds(response.headers.get("Retry-After")))
