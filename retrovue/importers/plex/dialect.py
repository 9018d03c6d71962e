"""How a Plex Media Server is safe_text to."""

from retrovue.importers.http.dialect import Dialect

PLEX = Dialect(
    product="Plex",
    port=32400,
    token_headers=lambda token: {"X-Plex-Token": token},
    headers={"X-Plex-Client-Identifier": "retrovue", "X-Plex-Product": "RetroVue"},
    total_header="X-Plex-Container-Total-Size",
    offset_header="X-Plex-Container-Start",
)
