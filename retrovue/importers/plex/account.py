"""Signs in to a Plex account with a browser, by a PIN of plex.tv.

The client asks for a PIN, shows its address, and asks for the PIN again until the owner has signed in there
(https://forums.plex.tv/t/authenticating-with-plex/609370; fields: https://plexapi.dev, "Get a PIN").
"""

import uuid
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import anyio
import msgspec
from msgspec.structs import replace

from retrovue.core.errors import MalformedAnswer, SourceRefused
from retrovue.core.model import Secret
from retrovue.importers.http.answers import Answer
from retrovue.importers.http.client import HttpClient, Transport
from retrovue.importers.http.refusals import Refusal
from retrovue.importers.http.settings import HttpPolicy
from retrovue.importers.plex.importer import PLEX

PLEX_TV = "https://plex.tv"
SIGN_IN_PAGE = "https://app.plex.tv/auth"
POLL_S = 1.0


class Pin(msgspec.Struct, frozen=True, rename="camel"):
    """A PIN that waits for its owner to sign in."""

    id: int
    code: str
    """Too long to type; part of the address."""
    expires_in: float = 900.0
    """Seconds."""
    auth_token: str | None = None
    """The account's token, once somebody has signed in."""

    def __repr__(self) -> str:
        return f"Pin({self.id})"


class PlexAccount:
    """A client of plex.tv: enter it once, `ask_for_pin()`, show `address()`, await `token()`."""

    def __init__(
        self, base_url: str = PLEX_TV, *, transport: Transport | None = None, policy: HttpPolicy | None = None
    ) -> None:
        self._client_identifier = f"retrovue-{uuid.uuid4()}"
        headers = {**PLEX.headers, "X-Plex-Client-Identifier": self._client_identifier}
        # plex.tv shows a PIN only to the client that asked for it, known by this identifier.
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
        """Return the address where the owner signs in with a browser."""
        about: Mapping[str, str] = {
            "clientID": self._client_identifier,
            "code": pin.code,
            "context[device][product]": "RetroVue",
        }
        return f"{SIGN_IN_PAGE}#?{urlencode(about)}"

    async def token(self, pin: Pin) -> Secret:
        """Wait until the owner has signed in, and return the account's token.

        Raises SourceRefused with code ``sign_in_expired`` if the PIN expires first, and SourceError.
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
