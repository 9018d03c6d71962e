"""The routes of webhooks: ``/webhooks/KIND/SECRET``, for media servers and download managers."""

import hmac
from collections.abc import Sequence
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retrovue.core.errors import Problem, RequestError, RetrovueError, StoreError
from retrovue.service.webhooks import KINDS, Kind, Webhooks
from retrovue.web.answers import refusal
from retrovue.web.guard import HOOK_BODY_BYTES, HOOKS

_MOST_FILES = 4
_MOST_FIELDS = 16


def hook_routes(webhooks: Webhooks, secret: str) -> Sequence[Route]:
    """Make the routes. Each path holds the secret, which is the only authentication."""
    right = secret.encode()

    return [
        Route(f"{HOOKS}{kind}/{{secret}}", partial(_hear, webhooks, right, kind), methods=["POST"]) for kind in KINDS
    ]


async def _hear(webhooks: Webhooks, secret: bytes, kind: Kind, request: Request) -> Response:
    # The response doesn't tell a wrong secret from a wrong path.
    if not hmac.compare_digest(request.path_params["secret"].encode(), secret):
        return _refused(404, RequestError("There is nothing here.", code="not_found"))
    try:
        named = await webhooks.hear(kind, await _json_of(request))
    except (RequestError, HTTPException) as exc:
        unreadable = RequestError("The webhook can't be read: it isn't a form.", code="bad_webhook")
        return _refused(400, exc if isinstance(exc, RequestError) else unreadable)
    except StoreError as exc:
        return _refused(503, exc)
    return JSONResponse({"status": "ok", "collections": named})


async def _json_of(request: Request) -> bytes:
    """Return the JSON of a webhook: the body, or the field ``payload`` of a form, as Plex sends it with a picture."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/"):
        return await request.body()
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=HOOK_BODY_BYTES) as form:
        payload = form.get("payload")
        return payload.encode() if isinstance(payload, str) else b""


def _refused(status: int, error: RetrovueError) -> Response:
    return refusal(status, Problem(error.code, error.message, error.hint))
