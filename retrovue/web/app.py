"""The application: its routes, and what stands before them."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from retrovue.web.guard import Guard
from retrovue.web.health import health
from retrovue.web.state import PageState


def create_app(state: PageState, hooks: Sequence[BaseRoute] = ()) -> Starlette:
    """Make the ASGI application. ``hooks`` are the routes of webhooks, which have to be below ``/webhooks/``."""
    app = Starlette(
        routes=[Route("/health", health), *hooks],
        middleware=[Middleware(Guard, state.settings, state.sessions)],
    )
    app.state.page = state
    return app
