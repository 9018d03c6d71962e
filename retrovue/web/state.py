"""The state that the handlers of the web page share."""

import secrets
from collections import OrderedDict
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct, field
from starlette.requests import Request

from retrovue.operations.catalogue import Store
from retrovue.operations.progress import follow_progress
from retrovue.service.serving import HostStatus
from retrovue.web.enriching import StartedEnrichments
from retrovue.web.figures import Counting
from retrovue.web.guard import Sessions
from retrovue.web.settings import PageSettings
from retrovue.web.starting import StartedRuns
from retrovue.web.surveys import Setup

T = TypeVar("T")


class Notice(Struct, frozen=True):
    """A message that the next page shows once, about what was just done."""

    message: str
    hint: str | None = None
    failed: bool = False


class RecentItems(Generic[T]):
    """The latest objects of a kind, each under a random key. Older ones are dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, T] = OrderedDict()

    def add(self, value: T) -> str:
        """Add an object, and return its key."""
        key = secrets.token_urlsafe(9)
        self._kept[key] = value
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return key

    def get(self, key: str) -> T | None:
        """Return the object with the key; None if it isn't kept any more."""
        return self._kept.get(key)

    def replace(self, key: str, value: T) -> None:
        """Replace the object with the key."""
        self._kept[key] = value


class PageState(Struct):
    """The state that the handlers of the web page share."""

    store: Store
    """The store for the runs that are started here."""
    reads: Store
    """The store for short work. It has its own connections, because a run may use all connections of the other
    store.
    """
    host: HostStatus
    settings: PageSettings
    sessions: Sessions | None
    """The sessions of browsers; None if no token is needed."""
    runs: StartedRuns
    enrichments: StartedEnrichments
    counting: Counting
    closing: anyio.Event = field(default_factory=anyio.Event)
    """Set when the server stops, so that open event streams end."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set when a run may have new progress, and then replaced. Event streams wait for it."""
    notices: RecentItems[Notice] = field(default_factory=lambda: RecentItems[Notice](100))
    group: TaskGroup | None = None
    """The tasks of the server; None once a task that follows the progress of runs was started."""
    setups: RecentItems[Setup] = field(default_factory=lambda: RecentItems[Setup](10))


def watch(state: PageState) -> None:
    """Start to wake the event streams at new progress, over one connection for all of them."""
    if state.group is not None:
        state.group.start_soon(_watch, state)
        state.group = None


async def _watch(state: PageState) -> None:
    async for _ in follow_progress(state.reads):
        wake(state)


def wake(state: PageState) -> None:
    """Wake the event streams."""
    state.changed.set()
    state.changed = anyio.Event()


def state_of(request: Request) -> PageState:
    """Return the shared state of the application that handles a request."""
    state: PageState = request.app.state.page
    return state
