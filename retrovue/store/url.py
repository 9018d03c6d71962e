"""The URL of a database, in its parts."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    import sqlalchemy

_PATTERN = (
    r"(?P<drivername>[\w+]+)://"
    r"(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<address>[^/?]+)\]|(?P<name>[^/:?]+))?(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)


class URL(Struct, frozen=True):
    """The parts of a database's URL. SQLAlchemy reads and writes them in the same way."""

    drivername: str
    username: str | None = None
    password: str | None = None
    host: str | None = None
    port: int | None = None
    database: str | None = None
    query: Mapping[str, str] = MappingProxyType({})
    """The parameters behind the question mark. Of one that is given several times, it is the last value."""

    def __repr__(self) -> str:
        """Show no password."""
        return self.render_as_string()

    def __str__(self) -> str:
        return self.render_as_string()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show no password in rich's output, for example of a traceback with local variables."""
        return [("url", self.render_as_string())]

    def __hash__(self) -> int:
        return hash(self.render_as_string(hide_password=False))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL. Raises ValueError if the text isn't one, or its port isn't a number."""
        found = re.match(_PATTERN, text)
        if found is None:
            raise ValueError("not a URL")
        username, password, database = (
            None if found[part] is None else unquote(found[part]) for part in ("username", "password", "database")
        )
        return cls(
            found["drivername"],
            username,
            password,
            found["name"] or found["address"],
            int(found["port"]) if found["port"] else None,
            database,
            dict(parse_qsl(found["query"] or "")),
        )

    @classmethod
    def of(cls, url: "sqlalchemy.URL") -> Self:
        """Take the parts of a URL of SQLAlchemy. Several values of a parameter are separated by commas."""
        query = {name: value if isinstance(value, str) else ",".join(value) for name, value in url.query.items()}
        return cls(url.drivername, url.username, url.password, url.host, url.port, url.database, query)

    def set(self, **parts: Any) -> Self:
        """Return a URL with other parts."""
        return replace(self, **parts)

    def render_as_string(self, *, hide_password: bool = True) -> str:
        """Return the URL as a text, with ``***`` for its password unless ``hide_password`` is false."""
        password = "" if self.password is None else f":{'***' if hide_password else quote(self.password, safe=' +')}"
        user = "" if self.username is None else f"{quote(self.username, safe=' +')}{password}@"
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host or ""
        port = "" if self.port is None else f":{self.port}"
        database = "" if self.database is None else f"/{quote(self.database, safe=' +/')}"
        query = "&".join(f"{quote_plus(name)}={quote_plus(self.query[name])}" for name in sorted(self.query))
        return f"{self.drivername}://{user}{host}{port}{database}{f'?{query}' if query else ''}"
