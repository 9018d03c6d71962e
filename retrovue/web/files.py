"""The static files of the web page. They are few and small; each is compressed once, and browsers cache it."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files

from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
NAMES = ("htmx.min.js", "page.css", "page.js", "pico.min.css")


class _File(Struct, frozen=True):
    plain: bytes
    packed: bytes
    version: str


@cache
def _read(name: str) -> _File:
    plain = (files("retrovue.web") / "static" / name).read_bytes()
    return _File(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:12])


def address_of(name: str) -> str:
    """Return the address of a file. It changes with the file's content."""
    return f"/static/{name}?v={_read(name).version}"


async def static(request: Request) -> Response:
    """Return a file, compressed if the browser accepts that."""
    name = request.path_params["name"]
    if name not in NAMES:
        raise HTTPException(404)
    file = _read(name)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    kind = _TYPES[name.rpartition(".")[2]]
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=kind)
    return Response(file.plain, headers=headers, media_type=kind)
