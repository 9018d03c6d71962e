"""plex.tv on the loopback interface, as far as signing in by a PIN goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrovue.simulator import replies
from retrovue.simulator.faults import Action
from retrovue.simulator.request import Reply, Request, read_request
from retrovue.simulator.serving import SimulatedServer

_PINS = "/api/v2/pins"


@dataclass(slots=True)
class _Pin:
    client: str
    code: str
    token: str | None = None


class SimulatedAccount(SimulatedServer):
    """A simulated plex.tv with one account, whose owner signs in when the test says so."""

    def __init__(self, *, token: str, expires_in: int = 900) -> None:
        super().__init__()
        self._token = token
        self._expires_in = expires_in
        self._pins: dict[int, _Pin] = {}

    def sign_in(self) -> None:
        """Sign in for every PIN that waits."""
        for pin in self._pins.values():
            pin.token = self._token

    def expire(self) -> None:
        """Forget all PINs, as happens when their time is over."""
        self._pins.clear()

    def read(self, method: str, target: str, headers: dict[str, str]) -> Request:
        """Read a request."""
        return read_request(method, target, headers, None)

    def refusal(self, request: Request) -> Reply | None:
        """Refuse a client that doesn't say who it is."""
        return None if request.headers.get("x-plex-client-identifier") else _answer(400, {"errors": [{"code": 1000}]})

    def from_library(self, request: Request, actions: Sequence[Action]) -> Reply:  # noqa: ARG002 - the servers' signature
        """Make a PIN, or show one to the client that asked for it."""
        client = request.headers["x-plex-client-identifier"]
        if request.method == "POST" and request.path == _PINS:
            number = 308_667_304 + len(self._pins)
            code = f"strong-code-{number}" if request.query.get("strong") == "true" else f"{number % 10_000}"
            self._pins[number] = _Pin(client, code)
            return _answer(201, self._shown(number))
        place, _, name = request.path.rpartition("/")
        pin = self._pins.get(int(name)) if place == _PINS and name.isdecimal() else None
        if request.method != "GET" or pin is None or pin.client != client:
            return _answer(404, {"errors": [{"code": 1020, "message": "Code not found or expired", "status": 404}]})
        return _answer(200, self._shown(int(name)))

    def _shown(self, number: int) -> dict[str, Any]:
        pin = self._pins[number]
        return {
            "id": number,
            "code": pin.code,
            "product": "RetroVue",
            "trusted": False,
            "clientIdentifier": pin.client,
            "expiresIn": self._expires_in,
            "authToken": pin.token,
            "newRegistration": None,
        }


def _answer(status: int, document: dict[str, Any]) -> Reply:
    if status == 400:
        return replies.error(400)
    return Reply(status=status, headers={"Content-Type": "application/json"}, body=(json.dumps(document).encode(),))
