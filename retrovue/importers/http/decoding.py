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
from mmap import mmap
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
from retrovue.importers.http.settings import LARGE_ANSWER

_MODULE = "retrovue.importers.http.decoder_process"
_AT_ONCE: Final = 2
"""The most answers that the second process has: one that it decodes, and the next one."""
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
        self.listing = listing
        """The number of its listing."""
        self.body = body
        """The answer; empty when its page is there."""
        self.shared = shared
        """As for `PageDecoder.decode`."""
        self.slot: int | None = None
        """Where the second process has it or had it in the shared memory; None while it waits."""
        self.packed = b""
        """The result of `pack`; empty if there is none, or not yet."""
        self.done = anyio.Event()

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
        self._may_start = _is_useful()
        self._is_over = False
        self._expected = 0
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        """Where messages are written; None before it is ready, and when it is over."""
        self._memory: mmap | None = None
        """A slot for each answer that it has. The result replaces the answer there."""
        self._free: list[int] = []
        """The slots that hold nothing."""
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
        if self._may_start and self._expected >= self.rows_worth:
            tasks.start_soon(self._start)

    def add_listing(self, decoder: PageDecoder[Any, Any, Any]) -> int:
        """Send the decoder of a listing; return the number of the listing."""
        self._listings += 1
        pickled = pickle.dumps(decoder)
        self._write(HEAD.pack(LISTING, self._listings, 0, 0, len(pickled)) + pickled)
        return self._listings

    def end_listing(self, number: int) -> None:
        """Let the process forget the decoder of a listing."""
        self._write(HEAD.pack(END, number, 0, 0, 0))

    def take(self, work: Work) -> Work:
        """Take an answer, to be decoded in turn."""
        self._waiting.append(work)
        self._send()
        return work

    async def result(self, work: Work) -> Listing[Any, Any] | None:
        """Return the decoded answer; None if it has to be decoded in this process."""
        if work.slot is None:
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
        self._may_start, self._is_over, self._input = False, True, None
        if self._transport is not None:
            _log.debug("A second process has decoded %d answers", self.decoded)
            self._transport.close()
            with anyio.CancelScope(shield=True):
                await self._exited.wait()
        if self._memory is not None:
            self._memory.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the process that was started."""
        if isinstance(transport, asyncio.SubprocessTransport):
            self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what the process has written."""
        if fd == 2:
            self._last_words += data
            del self._last_words[:-_LAST_WORDS]
            return
        received = self._received
        received += data
        while len(received) >= LENGTH.size and not self._is_over:
            (length,) = LENGTH.unpack_from(received)
            del received[: LENGTH.size]
            if self._sent:
                self._take_result(self._sent.popleft(), length)
            else:
                self._begin()
            self._send()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - given by asyncio
        """Give up if the process has closed a pipe."""
        if fd == 0:
            self._give_up_all("It has ended.")

    def process_exited(self) -> None:
        """Give up when the process has ended."""
        self._give_up_all("It has ended.")
        self._exited.set()

    async def _start(self) -> None:
        if not self._may_start:
            return
        self._may_start = False
        # It gets no secret, and imports the same files as this process.
        given = {name: value for name, value in os.environ.items() if not name.startswith("RETROVUE_")}
        environment = _ALLOCATOR | given
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        size, pipe = _AT_ONCE * LARGE_ANSWER, asyncio.subprocess.PIPE
        try:
            fd = os.memfd_create("retrovue-answers")
            try:
                os.ftruncate(fd, size)
                self._memory = mmap(fd, size)
                # A cancellation would leave a process without an owner.
                with anyio.CancelScope(shield=True):
                    await asyncio.get_running_loop().subprocess_exec(
                        lambda: self, sys.executable, "-P", "-m", _MODULE, own_version(), str(fd), str(size),
                        stdin=pipe, stdout=pipe, stderr=pipe, env=environment, pass_fds=(fd,), start_new_session=True,
                    )  # fmt: skip
            finally:
                os.close(fd)
        except (OSError, RuntimeError, ValueError) as exc:
            _log.warning("No second process could be started to decode answers: %s. The run goes on.", exc)
            self._is_over = True
            self.started.set()

    def _begin(self) -> None:
        channel = None if self._transport is None else self._transport.get_pipe_transport(0)
        if isinstance(channel, asyncio.WriteTransport):
            self._input = channel
            self._free = [number * LARGE_ANSWER for number in range(_AT_ONCE)]
        self.started.set()

    def _send(self) -> None:
        while self._waiting and self._free and self._memory is not None and not self._is_over:
            work = self._waiting.popleft()
            start = work.slot = self._free.pop()
            self._sent.append(work)
            end = start + len(work.body)
            self._memory[start:end] = work.body
            self._write(HEAD.pack(ANSWER, work.listing, work.shared, start, len(work.body)))

    def _take_result(self, work: Work, length: int) -> None:
        if self._memory is not None and work.slot is not None:
            self.decoded += length > 0
            work.finish(self._memory[work.slot : work.slot + length])
            self._free.append(work.slot)

    def _write(self, message: bytes) -> None:
        if self._input is not None:
            self._input.write(message)

    def _give_up_all(self, reason: str) -> None:
        """Decode all answers in this process from now on, and end the other one."""
        if self._is_over:
            return
        words = self._last_words.decode(errors="replace").strip()
        _log.warning(
            "The second process for decoding answers isn't used any more. %s The run goes on.%s",
            reason,
            f" It has written: {words}" if words else "",
        )
        self._is_over, self._input = True, None
        self.started.set()
        while self._sent:
            self._sent.popleft().finish(b"")
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


def _is_useful() -> bool:
    """Return whether a second process can be started, has a core of its own, and is wanted."""
    # A program in which Python is embedded would start another one of itself.
    is_python = Path(sys.executable or "").name.lower().startswith("python")
    return is_python and hasattr(os, "memfd_create") and _cores() > 1 and not os.environ.get(ONE_PROCESS)


def _cores() -> int:
    """Return how many cores of the processor this process may use."""
    return len(os.sched_getaffinity(0))
