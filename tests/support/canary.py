"""The secret that every token and password of the tests holds; wherever it is seen, something has leaked."""

from pathlib import Path

CANARY = "canary"

FOUND: list[str] = []
"""Where it was seen since the test began; the invariants look here after each test."""


def listen(where: str, *texts: str | bytes) -> None:
    """Search what a command has said or written."""
    FOUND.extend(
        f"a secret is in {where}"
        for text in texts
        if CANARY in (text if isinstance(text, str) else text.decode("latin-1"))
    )


def logs_with_it(home: Path) -> list[str]:
    """The log files below a directory that hold it."""
    return [path.name for path in sorted(home.glob("*.log*")) if CANARY.encode() in path.read_bytes()]


ADDRESS = f"http://me:{CANARY}@host.example/list?X-Plex-Token={CANARY}&page=1"
"""An address that holds it twice, as it stands in what plugins say."""
SHOWN = "http://me:…@host.example/list?X-Plex-Token=…&page=1"
"""What may be seen of that address."""
