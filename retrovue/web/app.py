"""The ASGI application: its routes, its middleware and its error handlers."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from retrovue.core.errors import NotFound, Problem, RequestError, RetrovueError, StoreError
from retrovue.core.logs import logger
from retrovue.core.text import redacted_traceback
from retrovue.web.answers import refusal
from retrovue.web.files import static
from retrovue.web.guard import HOOKS, Guard
from retrovue.web.health import health
from retrovue.web.pages import (
    assets,
    enrichers,
    lists,
    others,
    overview,
    removals,
    runs,
    schedules,
    session,
    setup,
    sources,
)
from retrovue.web.rendering import render
from retrovue.web.state import PageState


class _Form(Convertor[str]):
    """The format of a list that is downloaded."""

    regex = "csv|jsonl"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("form", _Form())

_ROUTES: Sequence[BaseRoute] = (
    Route("/health", health),
    Route("/static/{name}", static),
    Route("/login", session.ask),
    Route("/login", session.sign_in, methods=["POST"]),
    Route("/logout", session.sign_out, methods=["POST"]),
    Route("/", overview.overview),
    Route("/overview/counts", overview.counts),
    Route("/events", overview.events),
    Route("/sources/{id}", sources.show),
    Route("/sources/{id}/reachable", overview.reachable),
    Route("/sources/{id}/runs", runs.start, methods=["POST"]),
    Route("/sources/{id}/discover", sources.look_up, methods=["POST"]),
    Route("/libraries/{id}", sources.library),
    Route("/libraries/{id}", sources.change_library, methods=["POST"]),
    Route("/started/{id}.json", runs.started_json),
    Route("/started/{id}", runs.started),
    Route("/started/{id}/events", runs.started_events),
    Route("/started/{id}/stop", runs.stop_started, methods=["POST"]),
    Route("/runs", runs.runs),
    Route("/runs/{id}.json", runs.show_json),
    Route("/runs/{id}", runs.show),
    Route("/runs/{id}/events", runs.run_events),
    Route("/runs/{id}/stop", runs.stop, methods=["POST"]),
    Route("/rejected", lists.rejected),
    Route("/duplicates", lists.duplicates),
    Route("/rejected.{form:form}", lists.rejected_file),
    Route("/duplicates.{form:form}", lists.duplicates_file),
    Route("/changes", lists.changes),
    Route("/removals", removals.removals),
    Route("/removals", removals.act, methods=["POST"]),
    Route("/assets.{form:form}", assets.download),
    Route("/assets", assets.assets),
    Route("/assets/review", assets.review),
    Route("/assets/decide", assets.decide_all, methods=["POST"]),
    Route("/assets/{id}.json", assets.show_json),
    Route("/assets/{id}", assets.show),
    Route("/assets/{id}", assets.decide, methods=["POST"]),
    Route("/schedules", schedules.schedules),
    Route("/schedules", schedules.add, methods=["POST"]),
    Route("/schedules/{id}", schedules.change, methods=["POST"]),
    Route("/hosts", others.hosts),
    Route("/hosts", others.stop_job, methods=["POST"]),
    Route("/enrichers", enrichers.enrichers),
    Route("/enrichers", enrichers.add, methods=["POST"]),
    Route("/enrichers/{id}", enrichers.change, methods=["POST"]),
    Route("/libraries/{id}/enrichers", enrichers.change_library, methods=["POST"]),
    Route("/doctor", others.doctor),
    Route("/setup", setup.ask),
    Route("/setup", setup.look, methods=["POST"]),
    Route("/setup/{key}", setup.libraries),
    Route("/setup/{key}", setup.choose, methods=["POST"]),
)

_log = logger(__name__)


def create_app(state: PageState, hooks: Sequence[BaseRoute] = ()) -> Starlette:
    """Make the ASGI application. ``hooks`` are the routes of webhooks; their paths begin with ``/webhooks/``."""
    app = Starlette(
        routes=[*_ROUTES, *hooks],
        middleware=[
            Middleware(Guard, state.settings, state.sessions, _failed),
            Middleware(GZipMiddleware, minimum_size=1_000),
        ],
        exception_handlers={RetrovueError: _refused, HTTPException: _no_page},
    )
    app.state.page = state
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Respond with what can't be done, and what to do."""
    assert isinstance(error, RetrovueError)  # noqa: S101 - the type that the handler is registered for
    status = 404 if isinstance(error, NotFound) else 400 if isinstance(error, RequestError) else 502
    if isinstance(error, StoreError):
        status = 503
    return _answer(request, status, Problem(error.code, error.message, error.hint, error.context))


async def _no_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the type that the handler is registered for
    has_detail = error.detail != HTTPStatus(error.status_code).phrase
    message = error.detail if has_detail else "There is no such page." if error.status_code == 404 else error.detail
    return _answer(request, error.status_code, Problem("not_found", message, "Follow one of the links."))


def _failed(request: Request, error: Exception) -> Response:
    path = request.url.path
    shown = HOOKS if path.startswith(HOOKS) else path  # The path of a webhook holds its secret.
    _log.error("A request failed: %s %s\n%s", request.method, shown, redacted_traceback(error))
    problem = Problem("internal", f"The page failed: {type(error).__name__}.", "The log of the server has more.")
    return _answer(request, 500, problem)


def _answer(request: Request, status: int, problem: Problem) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return refusal(status, problem)
    heading = "Not found" if status == 404 else "That didn't work"
    return render(request, "error.html", status, heading=heading, message=problem.message, hint=problem.hint)
