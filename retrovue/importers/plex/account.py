"""Signing in to a Plex account with a browser, as plex.tv offers it to devices: by a PIN.

The client asks for a PIN, shows the address that belongs to it, and asks for the PIN again until its owner has signed
in there (https://forums.plex.tv/t/authenticating-with-plex/609370; fields: https://plexapi.dev, "Get a PIN").
"""

import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import anyio
import msgspec

from retrovue.core.errors import MalformedAnswer, SourceRefused
from retrovue.core.model import Secret
from retrovue.importers.http.client import Answer, HttpClient, Refusal, Transport
from retrovue.importers.http.policy import HttpPolicy
from retrovue.importers.plex.dialect import PLEX

PLEX_TV = "https://plex.tv"
SIGN_IN_PAGE = "https://app.plex.tv/auth"
POLL_S = 1.0


class Pin(msgspec.Struct, frozen=True, rename="camel"):
    """A PIN that waits for its owner to sign in."""

    id: int
    code: str
    """A strong one: too long to type, and part of the address."""
    expires_in: float = 900.0
    """Seconds."""
    auth_token: str | None = None
    """The account's token, once somebody has signed in."""

    def __repr__(self) -> str:
        return f"Pin({self.id})"


class PlexAccount:
    """Asks plex.tv; entered once."""

    def __init__(
        self, base_url: str = PLEX_TV, *, transport: Transport | None = None, policy: HttpPolicy | None = None
    ) -> None:
        self._client_identifier = f"retrovue-{uuid.uuid4()}"
        headers = {**PLEX.headers, "X-Plex-Client-Identifier": self._client_identifier}
        # The identifier tells clients apart: a PIN is shown to the client alone that asked for it.
        dialect = replace(PLEX, product="plex.tv", headers=headers)
        self._http = HttpClient(dialect, base_url, None, policy or HttpPolicy(read_timeout_s=20), transport=transport)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(exc_type, exc, traceback)

    async def ask_for_pin(self) -> Pin:
        """Ask for a PIN; raises SourceError."""
        return await self._pin(self._http.post("/api/v2/pins", {"strong": "true"}))

    def address(self, pin: Pin) -> str:
        """Return where the owner signs in, with any browser."""
        about: Mapping[str, str] = {
            "clientID": self._client_identifier,
            "code": pin.code,
            "context[device][product]": "RetroVue",
        }
        return f"{SIGN_IN_PAGE}#?{urlencode(about)}"

    async def token(self, pin: Pin) -> Secret:
        """Wait until somebody has signed in, and return the account's token.

        Raises SourceRefused with code ``sign_in_expired`` if nobody has until the PIN expires, and SourceError.
        """
        with anyio.move_on_after(pin.expires_in):
            while True:
                try:
                    token = (await self._pin(self._http.get(f"/api/v2/pins/{pin.id}", with_token=False))).auth_token
                except Refusal as exc:
                    if exc.status == 404:
                        break
                    raise
                if token:
                    return Secret(token)
                await anyio.sleep(POLL_S)
        raise SourceRefused(
            "Nobody has signed in at plex.tv in time.",
            code="sign_in_expired",
            hint="Run the command again for a new address, or give the token by --token-file.",
        )

    async def _pin(self, asked: Awaitable[Answer]) -> Pin:
        try:
            return msgspec.json.decode((await asked).body, type=Pin)
        except (MalformedAnswer, ValueError, RecursionError) as exc:
            raise MalformedAnswer(
                f"What answers at {self._http.origin} isn't plex.tv: it gives no PIN.",
                hint="Is there a proxy in between? The token can be given by --token-file instead.",
            ) from exc
