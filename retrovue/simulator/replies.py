"""The answers of a Plex server that are not media containers, as recorded."""

from __future__ import annotations

from http import HTTPStatus

from retrovue.simulator.request import Reply

MIGRATING = "Plex Media Server is currently running database migrations."
_TITLES = {509: "Bandwidth Limit Exceeded"}


def error(status: int, headers: dict[str, str] | None = None) -> Reply:
    """Return an error: HTML, also for who asked for JSON."""
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    body = f"<html><head><title>{title}</title></head><body><h1>{status} {title}</h1></body></html>"
    return Reply(status=status, headers={"Content-Type": "text/html"} | (headers or {}), body=(body.encode(),))


def maintenance(status: str = MIGRATING) -> Reply:
    """Return a 503 of a server that is not ready yet, with its special XML element."""
    body = f'<?xml version="1.0" encoding="utf-8"?>\n<Response code="503" title="Maintenance" status="{status}"/>\n'
    return Reply(status=503, headers={"Content-Type": "text/xml;charset=utf-8"}, body=(body.encode(),))
