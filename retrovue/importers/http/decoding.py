"""Decode the answers of large listings in a second process, so that a run uses two cores of the processor.

Python executes one thread at a time, and making drafts takes a run's processor most of its time. The second process
has no state but the decoders of listings. An answer that it can't decode, or hasn't begun when its page is needed, is
decoded in the process of the run.
"""

import asyncio
import os
import pickle
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
from anyio.abc import TaskGroup

from retrovue.core.config import ONE_PROCESS
from retrovue.core.logs import logger
from retrovue.core.version import own_version
from retrovue.importers.http.decoder import PageDecoder, unpack
from retrovue.importers.http.decoder_process import ANSWER, END, HEAD, LENGTH, LISTING
from retrovue.importers.http.listing import Listing

if sys.platform == "linux":
    import fcntl

_MODULE = "retrovue.importers.http.decoder_process"
_AT_ONCE: Final = 2
"""The most answers that the second process has: one that it decodes, and the next one."""
_PIPE_BYTES: Final = 1 << 20
"""The size of its pipes, where that can be set: an answer with 1,000 films is written and read without waiting."""
_LAST_WORDS: Final = 2000
"""The most bytes of what it writes to standard error that are logged."""

_ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": f"{64 << 20}", "MALLOC_TRIM_THRESHOLD_": f"{128 << 20}"}
"""Settings of glibc by which the process keeps its memory: it needs as much for the next answer, and each page of it
that was given back costs a fault when it is used again.
"""

_log = logger(__name__)


class Work:
    """An answer for the second process."""

    def __init__(self, listing: int, body: bytes | bytearray, shared: int) -> None:
        self.body = body
        """The answer; empty when its page is there."""
        self.shared = shared
        """As for `PageDecoder.decode`."""
        self.is_sent = False
        self.packed: bytes = b""
        """The result of `pack`; empty if there is none, or not yet."""
        self.done = anyio.Event()
        self._listing = listing

    @property
    def head(self) -> bytes:
        """The head of its message."""
        return HEAD.pack(ANSWER, self._listing, self.shared, len(self.body))

    def finish(self, packed: bytes) -> None:
        """Take the result; empty if the answer has to be decoded in this process."""
        self.packed = packed
        if packed:
            self.body = b""
        self.done.set()


class Decoding(asyncio.SubprocessProtocol):
    """The second process of an importer. It is started when many rows are expected, and ended by `aclose()`."""

    rows_worth: ClassVar[int] = 10_000
    """The rows of all listings from which it is started: it takes a tenth of a second of a core to start."""
    patience_s: ClassVar[float] = 30.0
    """The longest time that it may take for an answer. It then counts as broken, and is ended."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        """Set when it takes answers, and when it turns out that it never will."""
        self.decoded = 0
        """How many answers it has decoded."""
        self._is_possible = _cores() > 1 and _is_python(sys.executable) and not os.environ.get(ONE_PROCESS)
        self._expected = 0
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        """Where messages are written; None before it is ready, and when it has ended."""
        self._received = bytearray()
        self._last_words = bytearray()
        self._waiting: deque[Work] = deque()
        self._sent: deque[Work] = deque()
        self._listings = 0
        self._exited = anyio.Event()

    @property
    def pid(self) -> int | None:
        """The number of the process; None if none was started."""
        return None if self._transport is None else self._transport.get_pid()

    @property
    def is_ready(self) -> bool:
        """Whether it takes answers."""
        return self._input is not None

    def expect(self, rows: int, tasks: TaskGroup) -> None:
        """Take the size of a listing; start the process in a task of the group if it is worth its start."""
        self._expected += rows
        if self._is_possible and self._transport is None and self._expected >= self.rows_worth:
            tasks.start_soon(self._start)

    def add_listing(self, decoder: PageDecoder[Any, Any, Any]) -> int:
        """Send the decoder of a listing; return the number of the listing."""
        self._listings += 1
        pickled = pickle.dumps(decoder)
        self._write(HEAD.pack(LISTING, self._listings, 0, len(pickled)), pickled)
        return self._listings

    def end_listing(self, number: int) -> None:
        """Let the process forget the decoder of a listing."""
        self._write(HEAD.pack(END, number, 0, 0))

    def take(self, work: Work) -> Work:
        """Take an answer, to be decoded in turn."""
        self._waiting.append(work)
        self._send()
        return work

    async def result(self, work: Work) -> Listing[Any, Any] | None:
        """Return the decoded answer; None if it has to be decoded in this process."""
        if not work.is_sent:
            self.give_up(work)
            return None
        with anyio.move_on_after(self.patience_s):
            await work.done.wait()
        if not work.done.is_set():
            self._give_up_all(f"It hasn't decoded an answer in {self.patience_s:g} s.")
        packed, work.packed = work.packed, b""
        return unpack(packed) if packed else None

    def give_up(self, work: Work) -> None:
        """Don't decode an answer that isn't needed any more, unless its turn has come."""
        with suppress(ValueError):
            self._waiting.remove(work)

    async def aclose(self) -> None:
        """End the process, and wait until it has ended."""
        self._is_possible = False
        self._input = None
        if self._transport is not None:
            _log.debug("A second process has decoded %d answers", self.decoded)
            self._transport.close()
            with anyio.CancelScope(shield=True):
                await self._exited.wait()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what the process has written."""
        if fd == 2:
            self._last_words += data
            del self._last_words[:-_LAST_WORDS]
            return
        received = self._received
        received += data
        while len(received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            message = bytes(memoryview(received)[LENGTH.size : end])
            del received[:end]
            if self._sent:
                self.decoded += bool(message)
                self._sent.popleft().finish(message)
            elif self._is_possible:
                self._begin(message)
            self._send()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - given by asyncio
        """Give up if the process has closed a pipe."""
        if fd != 2:
            self._give_up_all("It has ended.")

    def process_exited(self) -> None:
        """Give up when the process has ended."""
        self._give_up_all("It has ended.")
        self._exited.set()

    async def _start(self) -> None:
        if not self._is_possible or self._transport is not None:
            return
        self._is_possible = False
        # It gets no secret, and imports the same files as this process.
        given = {name: value for name, value in os.environ.items() if not name.startswith("RETROVUE_")}
        environment = _ALLOCATOR | given
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        pipe = asyncio.subprocess.PIPE
        try:
            # A cancellation would leave a process without an owner.
            with anyio.CancelScope(shield=True):
                transport, _ = await asyncio.get_running_loop().subprocess_exec(
                    lambda: self, sys.executable, "-P", "-m", _MODULE,
                    stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True,
                )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as exc:
            _log.warning("No second process could be started to decode answers: %s. The run goes on.", exc)
            self.started.set()
            return
        self._is_possible = True
        self._transport = transport
        for fd in (0, 1):
            _enlarge(transport.get_pipe_transport(fd))

    def _begin(self, version: bytes) -> None:
        """Begin to send answers, if the files of the program haven't been replaced since this process was started."""
        if version.decode() != own_version():
            self._give_up_all("It is of another version.")
        elif self._transport is not None:
            channel = self._transport.get_pipe_transport(0)
            self._input = channel if isinstance(channel, asyncio.WriteTransport) else None
            self.started.set()

    def _send(self) -> None:
        while self._waiting and self._input is not None and len(self._sent) < _AT_ONCE:
            work = self._waiting.popleft()
            work.is_sent = True
            self._sent.append(work)
            self._write(work.head, work.body)

    def _write(self, *pieces: bytes | bytearray) -> None:
        for piece in pieces:
            if self._input is not None:
                self._input.write(piece)

    def _give_up_all(self, reason: str) -> None:
        """Decode all answers in this process from now on, and end the other one."""
        if self._is_possible:
            words = self._last_words.decode(errors="replace").strip()
            _log.warning(
                "The second process for decoding answers isn't used any more. %s The run goes on.%s",
                reason,
                f" It has written: {words}" if words else "",
            )
        self._is_possible = False
        self._input = None
        self.started.set()
        sent, self._sent = self._sent, deque()
        for work in sent:
            work.finish(b"")
        if self._transport is not None:
            self._transport.close()


class DecodingAhead:
    """Decodes the answers of one listing in the second process."""

    def __init__(self, process: Decoding, decoder: PageDecoder[Any, Any, Any]) -> None:
        self._process = process
        self._decoder = decoder
        self._number: int | None = None

    def expect(self, rows: int, tasks: TaskGroup) -> None:
        """Take the number of rows that the listing still has; a task of the group may start the process."""
        self._process.expect(rows, tasks)

    def take(self, body: bytes | bytearray, shared: int) -> Work | None:
        """Take an answer; return None if there is no process.

        ``shared`` is the number of its rows that belong to the window before.
        """
        if not self._process.is_ready:
            return None
        if self._number is None:
            self._number = self._process.add_listing(self._decoder)
        return self._process.take(Work(self._number, body, shared))

    async def result(self, work: Work) -> Listing[Any, Any] | None:
        """Return the decoded answer; None if it has to be decoded in this process, from ``work.body``."""
        return await self._process.result(work)

    def give_up(self, work: Work) -> None:
        """Don't decode an answer that isn't needed any more, unless its turn has come."""
        self._process.give_up(work)

    def end(self) -> None:
        """Take the end of the listing."""
        if self._number is not None:
            self._process.end_listing(self._number)


def _cores() -> int:
    """Return how many cores of the processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_python(executable: str | None) -> bool:
    """Return whether a program is Python itself, and not one in which Python is embedded."""
    return executable is not None and Path(executable).name.lower().startswith("python")


def _enlarge(channel: asyncio.BaseTransport | None) -> None:
    """Enlarge the buffer of a pipe, where the system can."""
    pipe = None if channel is None else channel.get_extra_info("pipe")
    if pipe is not None and sys.platform == "linux":
        with suppress(OSError):  # beyond what the system allows a user
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
