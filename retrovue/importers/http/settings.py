"""The settings of a source that is read over HTTP, and the properties of each kind of server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from retrovue.core.bounds import LARGEST, LONGEST_WAIT_S, SLOWEST_RATE
from retrovue.core.errors import MalformedAnswer
from retrovue.core.model import ConfigField
from retrovue.importers.configuration import convert_settings
from retrovue.importers.locations import MOUNT_DEADLINE_S

READ_AHEAD_BYTES = 16 * 1024 * 1024
"""The most bytes of undecoded answers that wait, over all collections: about five pages of 1,000 films."""

_Wait = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT_S)]
_Deadline = Annotated[float, msgspec.Meta(gt=0, le=LONGEST_WAIT_S)]


class Dialect(Struct, frozen=True):
    """What the HTTP client has to know about one kind of server."""

    product: str
    """The name of the server in messages."""
    port: int
    """The default port."""
    token_headers: Callable[[str], Mapping[str, str]]
    """Makes the headers that carry a token. They are sent to the origin of the source only."""
    allowed_in_token: str = r"[\x21-\x7e]+"  # noqa: S105 - a pattern
    """A pattern of the tokens that its headers can carry."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Headers of every request."""
    total_header: str | None = None
    """The response header with the number of rows of the whole listing, if the body doesn't have it."""
    offset_header: str | None = None
    """The response header with the number of the first row."""
    web_apps: frozenset[str] = frozenset()
    """Hosts of web pages that show the servers, but aren't servers themselves."""
    xml_root: bytes | None = None
    """The root element of its answers in XML, if it has any."""

    @property
    def example(self) -> str:
        """An address as an operator would type it."""
        return f"http://192.168.1.10:{self.port}"

    def wrong_server(self, origin: str, reason: str) -> MalformedAnswer:
        """Make the error for an answer that no server of this kind gives."""
        return MalformedAnswer(
            f"What answers at {origin} is not a {self.product} server: {reason}.",
            code=f"not_{self.product.lower()}",
            hint=f"Check the source's base URL; {self.product} usually listens on port {self.port}.",
        )


class HttpPolicy(Struct, frozen=True):
    """Time-outs, retries and limits of the client, in seconds and bytes."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=LARGEST)] = 4
    """The most attempts of one request, including the first."""
    base_wait_s: _Wait = 0.5
    """The longest wait before the first retry; it doubles with each retry, and the actual wait is random."""
    max_wait_s: _Wait = 30.0
    """The longest wait before any retry, even if the server's Retry-After is longer."""
    connect_timeout_s: _Deadline = 10.0
    read_timeout_s: _Deadline = 60.0
    """The longest time between two pieces of an answer. Sorting a big library takes the server many seconds before the
    first byte.
    """
    page_deadline_s: _Deadline = 120.0
    """The longest time of one attempt with its whole body: an answer in small pieces never exceeds the time-out of a
    read.
    """
    total_deadline_s: _Deadline = 300.0
    """The longest time of all attempts of a request, with the waits between them."""
    collection_deadline_s: _Deadline = 6 * 3600.0
    """The longest time of all pages of one library: each page may be within its deadline and all together take days."""
    body_cap: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024 * 1024
    """The most decoded bytes of one answer. A page of 1,000 films is about 3 MB."""
    gzip: bool = False
    """Whether to request compressed answers: faster over the internet, wasted CPU at home."""


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a source's configuration that all media servers share. The policy's settings are stored beside it."""

    base_url: str
    machine_identifier: str | None = None
    """The identifier of the server that answered when the source was added."""
    max_requests_per_second: Annotated[float, msgspec.Meta(ge=SLOWEST_RATE)] | None = None
    """The most requests in a second; None: only the server's answers limit the rate."""
    mount_timeout_s: _Deadline = MOUNT_DEADLINE_S
    """The deadline for the check of one local directory, in seconds."""
    verify_tls: bool = True
    ca_file: str | None = None
    """A PEM file with the authorities that are trusted instead of the system's."""
    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    """The number of rows of a page."""


SettingsT = TypeVar("SettingsT", bound=HttpSettings)


def read_settings(config: Mapping[str, Any], kind: type[SettingsT]) -> tuple[SettingsT, HttpPolicy]:
    """Read a source's configuration; each of the two parts ignores the keys of the other.

    Raises RequestError with code ``bad_config`` if a value doesn't fit.
    """
    return convert_settings(config, kind), convert_settings(config, HttpPolicy)


def setting_fields(server: str, token: str, dialect: Dialect, page_size: int) -> Sequence[ConfigField]:
    """Return the settings of a media server. ``server`` and ``token`` describe the two that are always required."""
    policy = HttpPolicy()

    def optional(name: str, description: str, kind: Literal["text", "flag", "file"] = "text") -> ConfigField:
        return ConfigField(name, description, required=False, kind=kind)

    return (
        ConfigField("base_url", f"Address of the {server}, e.g. {dialect.example}"),
        ConfigField("token", token, secret=True),
        optional(
            "max_requests_per_second",
            f"Most requests to send in a second, at least {SLOWEST_RATE:g};"
            " without it the server's answers set the pace",
        ),
        optional("ca_file", "PEM file of the authorities to trust in place of the system's, for https", "file"),
        optional("verify_tls", "Whether to check the server's certificate; default: yes", "flag"),
        optional("page_size", f"Items to ask for at a time, 1 to 1000; default: {page_size}"),
        optional("mount_timeout_s", f"Longest check of a local directory; default: {MOUNT_DEADLINE_S:g} seconds"),
        optional("connect_timeout_s", f"Longest time to connect; default: {policy.connect_timeout_s:g} seconds"),
        optional("read_timeout_s", f"Longest silence within an answer; default: {policy.read_timeout_s:g} seconds"),
        optional("page_deadline_s", f"Longest attempt of a request; default: {policy.page_deadline_s:g} seconds"),
        optional("total_deadline_s", f"Longest time for its attempts; default: {policy.total_deadline_s:g} seconds"),
        optional(
            "collection_deadline_s", f"Longest reading of a library; default: {policy.collection_deadline_s:g} seconds"
        ),
        optional("attempts", f"Attempts of a request; default: {policy.attempts}"),
        optional("base_wait_s", f"Longest wait before the second attempt; default: {policy.base_wait_s:g} seconds"),
        optional("max_wait_s", f"Longest wait before any attempt; default: {policy.max_wait_s:g} seconds"),
        optional("body_cap", f"Most bytes of an answer; default: {policy.body_cap}"),
        optional("gzip", "Whether to ask for compressed answers; default: no", "flag"),
    )
