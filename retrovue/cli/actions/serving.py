"""Serve: work the schedules, listen to the sources, and serve the web page."""

from contextlib import AbstractAsyncContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from retrovue.cli.actions.hosts import begin_hosting
from retrovue.cli.errors import OK
from retrovue.cli.invocation import Invocation, opened
from retrovue.core.errors import RequestError
from retrovue.core.extras import JOB_PACKAGES, require_packages
from retrovue.service.serving import Ended, HostStatus, serve
from retrovue.service.webhooks import Webhooks

if TYPE_CHECKING:
    from retrovue.operations.catalogue import Store

_PACKAGES = ("jinja2", "python_multipart", "starlette", "uvicorn")
"""The packages that the page needs."""


async def work(
    call: Invocation,
    name: str | None,
    *,
    concurrency: int,
    listen: bool,
    page: bool | None,
    jobs: bool | None,
    address: tuple[str, int, tuple[str, ...]],
) -> int:
    """Work until a signal stops the process. ``page`` and ``jobs``: None means only if their packages are installed."""
    name, tell = begin_hosting(call, "serve", name)
    if jobs:
        require_packages("to work jobs", *JOB_PACKAGES)
    elif jobs is None:
        jobs = all(find_spec(package) is not None for package in JOB_PACKAGES)
    host = HostStatus(name)

    def done(ended: Ended) -> None:
        why = f": {ended.message}" if ended.message else ""
        tell(f"{ended.schedule.name}  {ended.status}{why}")

    async with opened(call, connections=concurrency) as store:
        webhooks = Webhooks(store) if listen else None
        async with page_of(call, store, host, page, address, webhooks) as url:
            call.output.lines([f"{host.name} works the schedules. SIGTERM or Ctrl-C stops it."])
            if url is not None:
                call.output.lines([f"The page is at {url}"])
            # A signal is the normal end.
            call.answered(OK)
            await serve(
                store,
                host.name,
                on_ended=done,
                listen=listen,
                status=host,
                webhooks=webhooks,
                jobs=concurrency if jobs else 0,
            )
    return OK


def page_of(
    call: Invocation,
    store: "Store",
    host: HostStatus,
    wanted: bool | None,
    address: tuple[str, int, tuple[str, ...]],
    webhooks: Webhooks | None,
) -> AbstractAsyncContextManager[str | None]:
    """Serve the page within a block, which gets its URL. ``wanted``: None means only if its packages are installed."""
    if wanted is False:
        return nullcontext()
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        verb = "isn't" if len(missing) == 1 else "aren't"
        message = f"The page can't be served: {', '.join(missing)} {verb} installed."
        if wanted:
            raise RequestError(message, code="no_service_extra")
        call.output.warn(f"{message} pip install 'retrovue[service]' installs it; --no-page leaves it out.")
        return nullcontext()
    from retrovue.web.hooks import hook_routes  # imported here because the packages may not be installed
    from retrovue.web.server import page_served
    from retrovue.web.settings import PageSettings, webhook_secret

    secret = webhook_secret()
    hooks = () if webhooks is None or secret is None else hook_routes(webhooks, secret)
    return page_served(store, PageSettings.from_environment(*address), host, hooks)
