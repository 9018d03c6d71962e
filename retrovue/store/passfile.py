"""Passwords in a password file of libpq.

Source: https://www.postgresql.org/docs/18/libpq-pgpass.html
"""

import os
import re
from pathlib import Path

from msgspec import Struct

from retrovue.store.addresses import at_home

_LINE = re.compile(":".join([r"((?:\\.|[^\\:])*)"] * 5))
"""Host, port, database, user and password. A backslash precedes a colon or backslash in one of them."""


class Passwords(Struct, frozen=True):
    """The passwords of a password file."""

    path: Path
    lines: tuple[tuple[str, ...], ...] = ()
    """Host, port, database, user and password of each line."""
    fault: str | None = None
    """Why the file isn't used: other accounts may read it, or this account can't. None also if there is no file."""

    def find(self, host: str | None, port: int, database: str, user: str) -> str | None:
        """Return the password of the first matching line, or None. The host of a socket is ``localhost``."""
        wanted = ("localhost" if host is None or host.startswith("/") else host, str(port), database, user)
        for *fields, password in self.lines:
            if all(field in {"*", value} for field, value in zip(fields, wanted, strict=True)):
                return password
        return None


def read_passwords(file: str | None) -> Passwords:
    """Read a password file, by default ``.pgpass`` in the user's home. Lines that don't have its form are skipped."""
    path = Path(file) if file else at_home(".pgpass")
    try:
        with path.open("rb") as opened:
            if os.name == "posix" and os.fstat(opened.fileno()).st_mode & 0o077:
                return Passwords(path, fault="other accounts may read it")
            lines = opened.read().decode("utf-8", "replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return Passwords(path)
    except (OSError, ValueError) as exc:
        return Passwords(path, fault=f"it can't be read: {getattr(exc, 'strerror', None) or exc}")
    matches = (_LINE.match(line) for line in lines if not line.startswith("#"))
    return Passwords(
        path, tuple(tuple(re.sub(r"\\(.)", r"\1", field) for field in found.groups()) for found in matches if found)
    )
