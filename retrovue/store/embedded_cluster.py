"""The files of an embedded PostgreSQL: binaries, data directory, settings, locks, log.

Under the home there are

    pg18/           the data directory, and the socket in it unless its path won't do
    pg18.initdb/    a data directory in the making; it only ever becomes pg18 by a rename
    pg18.start      flock: exclusive while a command starts or stops the server
    pg18.hold       flock: shared by every command that uses the server; the last one out gets it exclusively
    pg18.life       flock: inherited by the server's own processes, so that it is free exactly when none is left
    pg18.log        what the server says, and pg18.log.1 before that

All of it is blocking work on local files; retrovue.store.embedded does what isn't a system call or two in threads.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from retrovue.core.errors import StoreUnavailable
from retrovue.store.embedded_programs import MAJOR, Account, explained, server_account

if sys.platform != "win32":
    import fcntl
    import pwd

ROLE = "retrovue"
PORT = 5432  # only names the socket's file: nothing listens on TCP
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # none of the caller's PG* variables, no secrets

_SOCKET_NAME = f".s.PGSQL.{PORT}"
_SOCKET_PATH_BYTES = 103  # sun_path holds 107 bytes and a NUL on Linux, 103 and a NUL on macOS
_LOG_BYTES = 1024 * 1024
_OWN_DIRECTORY = Path("/proc/self/cwd")

_SETTINGS = """\
# Written by RetroVue at every start. To tune the server use ALTER SYSTEM: it writes postgresql.auto.conf.
cluster_name = 'retrovue'
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 100
client_connection_check_interval = 500ms    # a killed client's locks are freed at once

shared_buffers = 256MB
wal_level = minimal                         # nothing replicates: bulk loads into new tables skip the WAL
max_wal_senders = 0
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_compression = off                       # the wheels are built without lz4, and pglz costs more than it saves
{durability}
timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'

# Statements, parameters and error texts carry data of the user: the client gets them, the log doesn't.
# "log" is the server's own life (start, stop, recovery); it leaves out what a single statement did wrong.
log_timezone = 'UTC'
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = 'none'
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_min_duration_statement = -1
log_checkpoints = off
log_lock_waits = off
log_autovacuum_min_duration = -1
"""
_DURABLE = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\n"
_SCRATCH = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"

# Peer authentication asks the kernel who is at the other end of the socket: there is no password, and no line
# for TCP. The map lets in the account that the server runs as, and root, who may read the files anyway.
_HBA = f"local all all peer map={ROLE}\n"


class FileLock:
    """A flock on a file; the kernel drops it when the last process that holds the descriptor is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def take(self, *, shared: bool = False) -> bool:
        """Take the lock, or change its mode, if that is possible at once; raises StoreUnavailable where there are none.

        Not every network file system has locks, and without them two servers could work on the same data.
        """
        try:
            fcntl.flock(self.fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreUnavailable(
                f"the file system of {self._path.parent} has no locks: {error.strerror or error}",
                hint="choose a RETROVUE_HOME on a local disk, or point RETROVUE_DATABASE_URL at a server of your own",
                context={"path": str(self._path)},
            ) from error
        return True

    def release(self) -> None:
        """Give the lock back, also on behalf of the processes that inherited it."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


@dataclass(frozen=True)
class Cluster:
    """One home's PostgreSQL, running or not."""

    home: Path
    account: Account
    durable: bool

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / f"pg{MAJOR}"

    @property
    def unfinished(self) -> Path:
        """Where initdb works before the result is renamed into place."""
        return self.home / f"pg{MAJOR}.initdb"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / f"pg{MAJOR}.log"

    @property
    def sockets(self) -> Path:
        """The directory of the server's socket.

        It is the data directory, unless that path is too long or has a comma. The other stands in /tmp rather than
        in XDG_RUNTIME_DIR: every command has to find the same, whatever its environment, and the latter goes at
        log-out, under a server that is still in use. It is named after the home's inode, so that a home has one
        whichever path leads to it, and one that is made anew has another.
        """
        path = os.fsencode(self.data / _SOCKET_NAME)
        if len(path) <= _SOCKET_PATH_BYTES and b"," not in path:  # to the drivers a comma separates two hosts
            return self.data
        identity = self.home.stat()
        digest = hashlib.sha256(f"{identity.st_dev}:{identity.st_ino}".encode()).hexdigest()
        return Path("/tmp") / f"retrovue-{digest[:16]}"  # noqa: S108 - owner and mode are checked before any use

    @property
    def socket_setting(self) -> str:
        """The socket's directory as the server is told: relative to its data directory if it can be."""
        return "." if self.sockets == self.data else str(self.sockets)

    def as_seen_by_server(self, directory: Path) -> str:
        """Return a path by which the server reaches a directory that it is started in.

        Root's home may lie behind a directory that the server's account can't enter (0700). The server inherits
        its working directory from root, and /proc/self/cwd names that without a walk through the parents. Where
        there is no /proc (macOS) the account must be able to walk there.
        """
        return str(_OWN_DIRECTORY if self.account.borrowed and _OWN_DIRECTORY.is_dir() else directory)

    def lock(self, name: str) -> FileLock:
        """Open one of the home's locks: start, hold or life."""
        with explained(self.home):
            return FileLock(self.home / f"pg{MAJOR}.{name}")

    def alive(self) -> bool:
        """Whether any process of the server is left."""
        with self.lock("life") as life:
            return not life.take(shared=True)

    def needs_initdb(self) -> bool:
        """Whether there is no data directory yet; raise if there is one that this version can't use."""
        with explained(self.home):
            try:
                major = (self.data / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
            except FileNotFoundError:
                if not self.data.is_dir() or not any(self.data.iterdir()):
                    return True
                major = ""
        if major == MAJOR:
            return False
        what = f"was written by PostgreSQL {major[:20]}" if major else "is damaged: it has no PG_VERSION"
        raise StoreUnavailable(
            f"the data directory {self.data} {what}; this version of RetroVue runs PostgreSQL {MAJOR}",
            hint="dump it with the version that wrote it and restore the dump, or move the directory away to begin "
            "with an empty catalogue, or point RETROVUE_DATABASE_URL at a server of your own",
            context={"data_directory": str(self.data), "found": major[:20], "expected": MAJOR},
        )

    def make_unfinished(self) -> None:
        """Make an empty directory for initdb, in the place of one that was left half done."""
        with explained(self.home):
            if self.unfinished.exists():
                shutil.rmtree(self.unfinished)
            self.unfinished.mkdir(mode=0o700)
            if self.account.borrowed:
                os.chown(self.unfinished, self.account.uid, self.account.gid)

    def finish(self) -> None:
        """Put the data directory that initdb made into its place."""
        with explained(self.home):
            self.unfinished.rename(self.data)
            if self.durable:
                home = os.open(self.home, os.O_RDONLY)
                try:
                    os.fsync(home)
                finally:
                    os.close(home)

    def configure(self) -> None:
        """Write the settings and clear away what a dead server left; only while no process of it is alive.

        PostgreSQL believes its pid files when any process has that pid; the life lock knows better.
        """
        self.claim_sockets()
        root = pwd.getpwuid(0).pw_name
        users = "".join(f'{ROLE} "{name}" {ROLE}\n' for name in dict.fromkeys((root, self.account.name)))
        with explained(self.home):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            for name in (_SOCKET_NAME, f"{_SOCKET_NAME}.lock"):
                (self.sockets / name).unlink(missing_ok=True)
            self._write("postgresql.conf", _SETTINGS.format(durability=_DURABLE if self.durable else _SCRATCH))
            self._write("pg_hba.conf", _HBA)
            self._write("pg_ident.conf", users)

    def claim_sockets(self) -> None:
        """Make the short directory of the socket if one is needed, and refuse one that somebody else made."""
        if self.sockets == self.data:
            return
        with explained(self.sockets):
            with contextlib.suppress(FileExistsError):
                self.sockets.mkdir(mode=0o700)
            found = self.sockets.lstat()
            if self.account.borrowed and stat.S_ISDIR(found.st_mode) and found.st_uid == 0:
                os.chown(self.sockets, self.account.uid, self.account.gid, follow_symlinks=False)
                found = self.sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.account.uid or stat.S_IMODE(found.st_mode) & 0o077:
            raise StoreUnavailable(
                f"{self.sockets} isn't a private directory of {self.account.name}: RetroVue won't open a socket in it",
                hint="find out who made it and remove it, or choose a RETROVUE_HOME with a shorter path",
                context={"socket_directory": str(self.sockets)},
            )

    def forget_sockets(self) -> None:
        """Remove the short directory of the socket once the server is gone."""
        if self.sockets != self.data:
            with contextlib.suppress(OSError):
                self.sockets.rmdir()

    def pid_in_file(self) -> int | None:
        """Return the pid of the server's pid file; it says nothing unless the life lock is held."""
        try:
            return int((self.data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def open_log(self) -> int:
        """Open the log for the server to write to, set aside first if it has grown past its bound."""
        with explained(self.home):
            if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
            return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def log_tail(self, offset: int) -> str:
        """Return the last lines that the server logged after an offset."""
        try:
            with self.log.open("rb") as log:
                log.seek(offset)
                return last_lines(log.read(64 * 1024))
        except OSError:
            return ""

    def _write(self, name: str, text: str) -> None:
        # The data directory belongs to the server's account: a new file and a rename never follow a link of its.
        draft = self.data / f"{name}.new"
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            if self.account.borrowed:
                os.fchown(fd, self.account.uid, self.account.gid)
            file.write(text)
        draft.replace(self.data / name)


def open_cluster(home: Path, *, durable: bool) -> Cluster:
    """Make the home if it is missing, and find out which account its server runs as."""
    with explained(home):
        home = home.expanduser().resolve()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Cluster(home, server_account(home / f"pg{MAJOR}"), durable)


def last_lines(output: bytes) -> str:
    """Return the last lines of a program's output, few enough for an error's context."""
    return "\n".join(output.decode(errors="replace").strip().splitlines()[-10:])[-2000:]
