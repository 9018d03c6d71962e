"""The health check of this host, for container runtimes and monitors."""

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from retrovue.core.errors import StoreError
from retrovue.core.version import own_version
from retrovue.operations.catalogue import Store
from retrovue.web.state import state_of

_PATIENCE_S = 3.0


async def health(request: Request) -> Response:
    """Respond 200 if the database answers and this host works the schedules, else 503."""
    state = state_of(request)
    database = await _answers(state.reads)
    works = database and state.host.works
    document = {
        "status": "ok" if works else "error",
        "host": state.host.name,
        "version": own_version(),
        "database": "reachable" if database else "unreachable",
        "schedules": "worked" if works else "not worked",
    }
    return JSONResponse(document, 200 if works else 503)


async def _answers(store: Store) -> bool:
    with anyio.move_on_after(_PATIENCE_S):
        try:
            async with store.reading():
                return True
        except StoreError:
            return False
    return False
