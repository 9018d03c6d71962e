"""The files of an embedded PostgreSQL: data directory, settings, locks, log.

The home contains

    pg18/           the data directory; also the socket, unless the path is too long for one
    pg18.initdb/    the data directory while initdb works; renamed to pg18 when it is complete
    pg18.start      lock: exclusive while a command starts or stops the server
    pg18.hold       lock: shared by each command that uses the server; the last one can take it exclusively
    pg18.life       lock: inherited by the processes of the server, so it is free when none is left
    pg18.log        the server's log, and pg18.log.1 the one before

All functions block; retrovue.store.embedded calls the slow ones in threads.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Self

from msgspec import Struct

from retrovue.core.errors import StoreUnavailable
from retrovue.store.embedded_programs import MAJOR, Account, explained, server_account

if sys.platform != "win32":
    import fcntl
    import pwd

ROLE = "retrovue"
PORT = 5432  # It only names the socket's file; nothing listens on TCP.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # without the caller's PG* variables and secrets

_SOCKET_NAME = f".s.PGSQL.{PORT}"
_SOCKET_PATH_BYTES = 103  # sun_path holds 107 bytes and a NUL on Linux, 103 and a NUL on macOS.
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
wal_buffers = 32MB                          # several merges make 100 MB of log a second
wal_writer_delay = 10ms                     # the log's own process writes it, so that no merge has to
wal_level = minimal                         # nothing replicates: bulk loads into new tables skip the WAL
max_wal_senders = 0
max_wal_size = 3GB                          # no checkpoint while a million assets are ingested: 1.2 GB of log
checkpoint_timeout = 15min
wal_compression = off                       # the wheels are built without lz4, and pglz costs more than it saves
{durability}
timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'

# Statements, parameters and error texts contain the user's data: only the client gets them.
# The level "log" reports start, stop and recovery, but no errors of statements.
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

# Peer authentication gets the client's account from the kernel, so there are no passwords, and no line for TCP. The map
# admits the account of the server, and root, which can read the files anyway.
_HBA = f"local all all peer map={ROLE}\n"


class FileLock:
    """A flock on a file. The kernel releases it when the last process with the descriptor ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def take(self, *, shared: bool = False) -> bool:
        """Take the lock or change its mode, without waiting; return whether that succeeded.

        Raises StoreUnavailable on a file system without locks, where two servers could use the same data.
        """
        try:
            fcntl.flock(self.fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreUnavailable(
                f"The file system of {self._path.parent} has no locks: {error.strerror or error}.",
                hint="Choose a RETROVUE_HOME on a local disk, or point RETROVUE_DATABASE_URL at a server of your own.",
                context={"path": str(self._path)},
            ) from error
        return True

    def release(self) -> None:
        """Release the lock, also for the processes that inherited it."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class Cluster(Struct, frozen=True):
    """The PostgreSQL of one home, running or not."""

    home: Path
    account: Account
    durable: bool

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / f"pg{MAJOR}"

    @property
    def unfinished(self) -> Path:
        """The directory in which initdb works."""
        return self.home / f"pg{MAJOR}.initdb"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / f"pg{MAJOR}.log"

    @property
    def sockets(self) -> Path:
        """The directory of the server's socket: the data directory, unless its path is too long or contains a comma.

        Otherwise it is a directory in /tmp. XDG_RUNTIME_DIR isn't suitable: it depends on the environment and is
        removed at log-out. The name is made from the inode of the home, so it is the same for every path to the home,
        and differs if the home is created again.
        """
        path = os.fsencode(self.data / _SOCKET_NAME)
        if len(path) <= _SOCKET_PATH_BYTES and b"," not in path:  # Drivers read a comma as the separator of hosts.
            return self.data
        identity = self.home.stat()
        digest = hashlib.sha256(f"{identity.st_dev}:{identity.st_ino}".encode()).hexdigest()
        return Path("/tmp") / f"retrovue-{digest[:16]}"  # noqa: S108 - owner and mode are checked before any use

    @property
    def socket_setting(self) -> str:
        """The socket's directory as a setting of the server, relative to the data directory if possible."""
        return "." if self.sockets == self.data else str(self.sockets)

    def as_seen_by_server(self, directory: Path) -> str:
        """Return a path to the server's working directory that the server's account can open.

        The account may lack the right to enter a parent directory of root's home. The server inherits its working
        directory, and /proc/self/cwd names it without the parents. Without /proc (macOS) the account needs that right.
        """
        return str(_OWN_DIRECTORY if self.account.borrowed and _OWN_DIRECTORY.is_dir() else directory)

    def lock(self, name: str) -> FileLock:
        """Open a lock of the home: start, hold or life."""
        with explained(self.home):
            return FileLock(self.home / f"pg{MAJOR}.{name}")

    def alive(self) -> bool:
        """Whether any process of the server is running."""
        with self.lock("life") as life:
            return not life.take(shared=True)

    def needs_initdb(self) -> bool:
        """Whether the data directory is missing. Raises StoreUnavailable if it is damaged or has another version."""
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
            f"The data directory {self.data} {what}; this version of RetroVue runs PostgreSQL {MAJOR}.",
            hint="Dump it with the version that wrote it and restore the dump, or move the directory away to begin "
            "with an empty catalogue, or point RETROVUE_DATABASE_URL at a server of your own.",
            context={"data_directory": str(self.data), "found": major[:20], "expected": MAJOR},
        )

    def make_unfinished(self) -> None:
        """Create an empty directory for initdb; remove one that an interrupted initdb left."""
        with explained(self.home):
            if self.unfinished.exists():
                shutil.rmtree(self.unfinished)
            self.unfinished.mkdir(mode=0o700)
            if self.account.borrowed:
                os.chown(self.unfinished, self.account.uid, self.account.gid)

    def finish(self) -> None:
        """Rename the directory of initdb to the data directory."""
        with explained(self.home):
            self.unfinished.rename(self.data)
            if self.durable:
                home = os.open(self.home, os.O_RDONLY)
                try:
                    os.fsync(home)
                finally:
                    os.close(home)

    def configure(self) -> None:
        """Write the settings and remove the pid and socket files of an earlier server. Call it only before a start.

        PostgreSQL would refuse to start if another process had the pid in the file. The life lock proves that no server
        is running.
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
        """Create the socket's directory in /tmp if needed. Raises StoreUnavailable if another account owns it."""
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
                f"{self.sockets} isn't a private directory of {self.account.name}: RetroVue won't open a socket in it.",
                hint="Find out who created it and remove it, or choose a RETROVUE_HOME with a shorter path.",
                context={"socket_directory": str(self.sockets)},
            )

    def forget_sockets(self) -> None:
        """Remove the socket's directory in /tmp after the server has ended."""
        if self.sockets != self.data:
            with contextlib.suppress(OSError):
                self.sockets.rmdir()

    def pid_in_file(self) -> int | None:
        """Return the pid in the server's pid file, or None. It is valid only while the life lock is taken."""
        try:
            return int((self.data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def open_log(self) -> int:
        """Open the log for the server. A log larger than 1 MiB is renamed to .1 first."""
        with explained(self.home):
            if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
            return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def log_tail(self, offset: int) -> str:
        """Return the last lines of the log after an offset in bytes."""
        try:
            with self.log.open("rb") as log:
                log.seek(offset)
                return last_lines(log.read(64 * 1024))
        except OSError:
            return ""

    def _write(self, name: str, text: str) -> None:
        # The server's account may create links in its data directory. A new file and a rename don't follow them.
        copy = self.data / f"{name}.new"
        copy.unlink(missing_ok=True)
        fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            if self.account.borrowed:
                os.fchown(fd, self.account.uid, self.account.gid)
            file.write(text)
        copy.replace(self.data / name)


def open_cluster(home: Path, *, durable: bool) -> Cluster:
    """Create the home if it is missing, and choose the account of its server."""
    with explained(home):
        home = home.expanduser().resolve()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Cluster(home, server_account(home / f"pg{MAJOR}"), durable)


def last_lines(output: bytes) -> str:
    """Return the last ten lines of a program's output, at most 2,000 characters."""
    return "\n".join(output.decode(errors="replace").strip().splitlines()[-10:])[-2000:]
