"""What the handlers of the page share."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
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


@dataclass(frozen=True, slots=True)
class Notice:
    """What a page says once about what was just done."""

    message: str
    hint: str | None = None
    failed: bool = False


class RecentItems(Generic[T]):
    """The latest of some things, each under a key that nobody guesses."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, T] = OrderedDict()

    def add(self, one: T) -> str:
        """Keep one more, and return its key."""
        key = secrets.token_urlsafe(9)
        self._kept[key] = one
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return key

    def get(self, key: str) -> T | None:
        """Return what has a key; None if it isn't kept any more."""
        return self._kept.get(key)

    def replace(self, key: str, one: T) -> None:
        """Keep another one under a key."""
        self._kept[key] = one


@dataclass(slots=True)
class PageState:
    """What the handlers of the page share."""

    store: Store
    """For the runs that are started here."""
    reads: Store
    """For short work, with connections of its own: a run that takes all of the store's must not stop the page."""
    host: HostStatus
    settings: PageSettings
    sessions: Sessions | None
    """None if no token is needed."""
    runs: StartedRuns
    enrichments: StartedEnrichments
    counting: Counting
    closing: anyio.Event = field(default_factory=anyio.Event)
    """Set when the server stops: open event streams end."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set when a run may be further, and replaced: event streams look anew."""
    notices: RecentItems[Notice] = field(default_factory=lambda: RecentItems[Notice](100))
    group: TaskGroup | None = None
    """The tasks of the server; None once one of them watches the runs."""
    setups: RecentItems[Setup] = field(default_factory=lambda: RecentItems[Setup](10))


def watch(state: PageState) -> None:
    """Let the event streams be woken whenever a run may be further, for all of them over one connection."""
    if state.group is not None:
        state.group.start_soon(_watch, state)
        state.group = None


async def _watch(state: PageState) -> None:
    async for _ in follow_progress(state.reads):
        wake(state)


def wake(state: PageState) -> None:
    """Let event streams look anew."""
    state.changed.set()
    state.changed = anyio.Event()


def state_of(request: Request) -> PageState:
    """Return what the handlers share."""
    state: PageState = request.app.state.page
    return state
