"""What the handlers of the page share."""

from dataclasses import dataclass, field

import anyio
from starlette.requests import Request

from retrovue.operations.catalogue import Store
from retrovue.service.serving import HostStatus
from retrovue.web.guard import Sessions
from retrovue.web.settings import PageSettings


@dataclass(slots=True)
class PageState:
    """What the handlers of the page share."""

    store: Store
    """For short work, with connections of its own: a run that takes all of its store's must not stop the page."""
    host: HostStatus
    settings: PageSettings
    sessions: Sessions | None
    """None if no token is needed."""
    closing: anyio.Event = field(default_factory=anyio.Event)
    """Set when the server stops: open event streams end."""


def state_of(request: Request) -> PageState:
    """Return what the handlers share."""
    state: PageState = request.app.state.page
    return state
