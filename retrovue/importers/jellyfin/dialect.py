"""How a Jellyfin server is safe_text to."""

from importlib.metadata import version

from retrovue.importers.http.dialect import Dialect

_CLIENT = f'MediaBrowser Client="RetroVue", Device="RetroVue", DeviceId="retrovue", Version="{version("retrovue")}"'


def _token_headers(token: str) -> dict[str, str]:
    # The only place for a token that current servers accept without a legacy switch, besides the URL.
    return {"Authorization": f'{_CLIENT}, Token="{token}"'}


JELLYFIN = Dialect(
    product="Jellyfin",
    port=8096,
    token_headers=_token_headers,
    # It stands in quotes, and some versions decode it as they do an URL.
    allowed_in_token=r"[A-Za-z0-9._~-]+",  # noqa: S106 - a pattern
)
