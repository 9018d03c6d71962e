"""The program as a process, again and again: killed at each of its failpoints, or sent a signal at a round trip."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from tests.support.faults.failpoints import Order


class Processes:
    """Runs one command after the other, each in a process of its own."""

    def __init__(
        self, orders: IO[bytes], answers: IO[bytes], environment: Mapping[str, str], directory: Path, *, keeps: bool
    ) -> None:
        """``keeps``: listings of any size are kept, each page at once."""
        self._keeps = keeps
        self._orders = orders
        self._answers = answers
        self._environment = dict(environment)
        self._out = directory / "out"
        self._points = directory / "points"

    def start(self, *arguments: str, kill_at: int = 0, points: bool = False) -> int:
        """Make the process of a command, which begins when it is waited for; returns its process id."""
        order = Order(
            list(arguments),
            self._environment,
            str(self._out),
            kill_at,
            self._keeps,
            str(self._points) if points else None,
        )
        self._orders.write(msgspec.json.encode(order) + b"\n")
        self._orders.flush()
        return self._number()

    def wait(self) -> int:
        """Let it begin and end; returns the exit status, or the negative number of the signal that killed it."""
        self._orders.write(b"\n")
        self._orders.flush()
        return self._number()

    def run(self, *arguments: str, kill_at: int = 0, points: bool = False) -> int:
        """Run a command to its end."""
        self.start(*arguments, kill_at=kill_at, points=points)
        return self.wait()

    def _number(self) -> int:
        line = self._answers.readline()
        assert line, "the process that starts the others has ended"
        return int(line)

    @property
    def out(self) -> bytes:
        """What the last command wrote to its standard output."""
        return self._out.read_bytes()

    @property
    def points(self) -> list[str]:
        """The failpoints that the last command passed."""
        return self._points.read_text("utf-8").splitlines()


@contextmanager
def processes(environment: Mapping[str, str], directory: Path, *, keeps: bool = False) -> Iterator[Processes]:
    """Have a process from which commands are forked."""
    arguments = [sys.executable, "-m", "tests.support.faults.failpoints"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(arguments, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield Processes(server.stdin, server.stdout, environment, directory, keeps=keeps)
        server.stdin.close()
