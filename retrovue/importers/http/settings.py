"""What can be set of every source that is safe_text to over HTTP."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import msgspec

from retrovue.core.bounds import LONGEST_WAIT_S, SLOWEST_RATE
from retrovue.core.errors import RequestError
from retrovue.importers.http.policy import HttpPolicy, make_policy
from retrovue.importers.locations import MOUNT_DEADLINE_S

READ_AHEAD_BYTES = 16 * 1024 * 1024
"""Bodies that wait undecoded, over all collections at once: five pages of 1,000 films of Plex."""


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a source's configuration that all media servers share."""

    base_url: str
    machine_identifier: str | None = None
    """Who answered when the source was added."""
    max_requests_per_second: Annotated[float, msgspec.Meta(ge=SLOWEST_RATE)] | None = None
    """None lets the server's answers alone set the pace."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_WAIT_S)] | None = None
    """For a single read of an answer."""
    mount_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_WAIT_S)] = MOUNT_DEADLINE_S
    verify_tls: bool = True
    ca_file: str | None = None
    http: dict[str, Any] = {}
    """Fields of HttpPolicy."""
    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    """Rows of a page. PMS has announced to refuse more than 1,000."""

    def policy(self) -> HttpPolicy:
        """Make the HTTP policy; raises RequestError with code ``bad_config`` if a setting of it doesn't fit."""
        policy = make_policy(self.http)
        return policy if self.timeout_s is None else replace(policy, read_timeout_s=self.timeout_s)


SettingsT = TypeVar("SettingsT", bound=HttpSettings)


def read_settings(config: Mapping[str, Any], kind: type[SettingsT]) -> SettingsT:
    """Read a source's configuration; raises RequestError with code ``bad_config``."""
    try:
        return msgspec.convert(dict(config), kind, strict=False)
    except msgspec.ValidationError as exc:
        raise RequestError(
            f"The source's configuration can't be used: {exc}.",
            code="bad_config",
            hint="Give a value that fits; that of a known source is corrected with `retrovue source update`.",
        ) from exc
