"""Other processes: commands that share a server, and the servers as the system sees them."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psutil  # type: ignore[import-untyped,unused-ignore]
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

Furnish = Callable[[Path], None]
"""Gives a cluster to a home that has none."""
_CLIENT = Path(__file__).with_name("embedded_client.py")


class Client:
    """A command in a process of its own."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self.process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def hear(self) -> str:
        return (await self._lines.receive_until(b"\n", 4096)).decode()

    async def tell(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(b"\n")

    async def enter(self) -> int:
        await self.tell()
        return int(await self.hear())

    async def leave(self) -> None:
        await self.tell()
        assert await self.hear() == "left"
        assert await self.process.wait() == 0

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def client(home: Path, *arguments: str) -> AsyncIterator[Client]:
    """Start a command that is ready to enter."""
    command: Sequence[str] = (sys.executable, str(_CLIENT), str(home), *arguments)
    async with await anyio.open_process(command, stdin=subprocess.PIPE, stderr=None) as process:
        started = Client(process)
        try:
            assert await started.hear() == "ready"
            yield started
        finally:
            if process.returncode is None:
                process.kill()


def servers(home: Path) -> list[psutil.Process]:
    """The first processes of all servers on a home, as the system's process table has them."""
    found = [process for process in psutil.process_iter() if _serves(process, home)]
    return [process for process in found if process.ppid() not in {other.pid for other in found}]


def _serves(process: psutil.Process, home: Path) -> bool:
    try:
        alive = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        return alive and Path(process.cwd()) == (home / "pg18").resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
