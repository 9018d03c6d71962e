"""Settings of the web page: where it is served, and who may use it."""

import ipaddress
import os
import platform
import re
from collections.abc import Mapping

from msgspec import Struct

from retrovue.core.config import PAGE_TOKEN, WEBHOOK_SECRET
from retrovue.core.errors import RequestError, require_within
from retrovue.core.model import Secret
from retrovue.core.text import quoted
from retrovue.operations.secrets import secret_reference

SHORTEST_TOKEN = 16
_IN_ADDRESS = re.compile(r"[A-Za-z0-9._~-]+")
LARGEST_PORT = 65_535


class PageSettings(Struct, frozen=True):
    """Where the page is served, and who may use it."""

    host: str = "127.0.0.1"
    """The address to listen on: that of an interface, ``0.0.0.0`` or ``::`` for all interfaces, or a name."""
    port: int = 8686
    """The port to listen on; 0 lets the system choose one."""
    token: str | None = None
    """The token that a person has to enter, at least 16 characters. None if only this machine can reach the page."""
    allowed_hosts: frozenset[str] = frozenset()
    """Further host names by which browsers may reach the page, such as that of a reverse proxy; in lower case."""

    def __post_init__(self) -> None:
        require_within("A port", self.port, 0, LARGEST_PORT, code="bad_port")
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise RequestError(
                f"The token of the page has {len(self.token)} characters.",
                code="bad_page_token",
                hint=f"Give {PAGE_TOKEN} at least {SHORTEST_TOKEN}: openssl rand -hex 16 makes one.",
            )
        if self.token is None and not self.is_local:
            raise RequestError(
                f"The page can't be served at {quoted(self.host)} without a token: other machines could use it.",
                code="page_token_needed",
                hint=f"Set {PAGE_TOKEN}, to a token or to file:/PATH of a file with one; or serve at 127.0.0.1.",
            )

    @classmethod
    def from_environment(
        cls, host: str, port: int, allowed_hosts: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
    ) -> "PageSettings":
        """Read the token from the environment, which holds it or a reference to it. Raises RequestError."""
        text = (os.environ if environ is None else environ).get(PAGE_TOKEN)
        token = None if not text else (secret_reference(text) or Secret(text)).resolved().reveal().strip()
        return cls(host, port, token, frozenset(name.lower() for name in allowed_hosts))

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach the page."""
        return self.host == "localhost" or _is_loopback(self.host)

    def allows(self, name: str) -> bool:
        """Return whether browsers may reach the page by a host name, given without port and brackets.

        Another site can make a name point here (DNS rebinding), but not a numeric address.
        """
        name = name.lower().removesuffix(".")
        if name in self.allowed_hosts or name in {"localhost", self.host.lower()}:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return not self.is_local and name == platform.node().lower()
        return address.is_loopback or not self.is_local


def webhook_secret(environ: Mapping[str, str] | None = None) -> str | None:
    """Read the secret of webhooks from the environment, which holds it or a reference to it; None if it isn't set.

    Raises RequestError if the secret is too short, or can't be part of an address.
    """
    text = (os.environ if environ is None else environ).get(WEBHOOK_SECRET)
    if not text:
        return None
    secret = (secret_reference(text) or Secret(text)).resolved().reveal().strip()
    if len(secret) < SHORTEST_TOKEN or _IN_ADDRESS.fullmatch(secret) is None:
        raise RequestError(
            "The secret of webhooks can't be used: it is too short, or has characters that addresses don't have.",
            code="bad_webhook_secret",
            hint=f"Give {WEBHOOK_SECRET} at least {SHORTEST_TOKEN} letters and digits: openssl rand -hex 16 makes one.",
        )
    return secret


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
