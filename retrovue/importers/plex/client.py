"""The HTTP client as Plex Media Server is spoken to."""

from retrovue.importers.http.client import Answer, HttpClient, Refusal, Transport
from retrovue.importers.http.dialect import Dialect
from retrovue.importers.http.pace import Pace
from retrovue.importers.http.policy import HttpPolicy
from retrovue.model import Secret

__all__ = ["PLEX", "Answer", "PlexClient", "Refusal"]

PLEX = Dialect(
    product="Plex",
    port=32400,
    token_headers=lambda token: {"X-Plex-Token": token},
    headers={"X-Plex-Client-Identifier": "retrovue", "X-Plex-Product": "RetroVue"},
    total_header="X-Plex-Container-Total-Size",
    offset_header="X-Plex-Container-Start",
)


class PlexClient(HttpClient):
    """Asks one Plex server for JSON."""

    def __init__(
        self,
        base_url: str,
        token: Secret | None,
        policy: HttpPolicy,
        *,
        verify: bool = True,
        ca_file: str | None = None,
        transport: Transport | None = None,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(PLEX, base_url, token, policy, verify=verify, ca_file=ca_file, transport=transport, pace=pace)
