"""How one kind of media server is safe_text to: its name, its headers, and how it is told from others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from retrovue.core.errors import MalformedAnswer


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the HTTP client has to know about a kind of server."""

    product: str
    """What the server is called: ``Plex``."""
    port: int
    """Where it usually listens."""
    token_headers: Callable[[str], Mapping[str, str]]
    """The headers that carry a token; they go to the source's own origin only."""
    allowed_in_token: str = r"[\x21-\x7e]+"  # noqa: S105 - a pattern
    """What a token consists of; anything else can't be sent in its header."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """What every request says about the client."""
    total_header: str | None = None
    """Where an answer says how many rows the listing has, if not in its body."""
    offset_header: str | None = None
    """Where an answer says at which row it begins."""

    @property
    def example(self) -> str:
        """An address as an operator would give it."""
        return f"http://192.168.1.10:{self.port}"

    def stranger(self, origin: str, what: str) -> MalformedAnswer:
        """Make the error of an answer that no such server gives; ``what`` says why."""
        return MalformedAnswer(
            f"What answers at {origin} is not a {self.product} server: {what}.",
            code=f"not_{self.product.lower()}",
            hint=f"Check the source's base URL; {self.product} usually listens on port {self.port}.",
        )
