"""Decode the answers of large listings in a second process, so that a run uses two cores of the processor.

Python executes one thread at a time, and making drafts takes a run's processor most of its time. The second process
has no state but the decoders of listings. An answer that it can't decode is decoded in the process of the run. While a
page is needed and nothing else is to be done, the run also decodes answers that wait.
"""

import asyncio
import os
import pickle
import sys
from collections import deque
from contextlib import suppress
from contextvars import Context
from mmap import mmap
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Final, cast

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import TaskGroup

from retrovue.core.config import ONE_PROCESS, clean_environment
from retrovue.core.logs import logger
from retrovue.core.version import own_version
from retrovue.importers.http import decoder_process
from retrovue.importers.http.cores import cores
from retrovue.importers.http.decoder import PageDecoder, unpack
from retrovue.importers.http.decoder_process import ANSWER, END, HEAD, LENGTH, LISTING, OUTLINE
from retrovue.importers.http.listing import LARGE_ANSWER, Listing
from retrovue.importers.http.work import Work

_PROGRAM = f"""
import sys
version, fd, size, *sys.path = sys.argv[1:]
from {decoder_process.__name__} import main
main(version, int(fd), int(size))
"""
"""The code of the second process. It takes the import path of this process before it imports RetroVue."""
_AT_ONCE: Final = 2
"""The most answers that the second process has: one that it decodes, and the next one."""
_IDLE_S: Final = 0.0002
"""A pass of the event loop that takes no longer had nothing else to do."""
_OUTLINES_PER_ROW: Final = 4
"""The outlines that take as long as a row that is decoded in full."""
_LAST_WORDS: Final = 2000
"""The most bytes of what it writes to standard error that are logged."""

_ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": f"{64 << 20}", "MALLOC_TRIM_THRESHOLD_": f"{128 << 20}"}
"""Settings of glibc by which the process keeps the memory that it frees. The next answer needs as much, and memory that
was returned to the system costs a page fault for each 4 KiB when it is used again.
"""
_ENDED_WITHIN_S: Final = 2.0
"""Seconds to wait for the process after it was killed."""

_log = logger(__name__)


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
        if not self._may_start:
            self.started.set()
        self._is_over = False
        """Whether it takes no answers any more."""
        self._is_closed = False
        self._failure: str | None = None
        """What has gone wrong with it, once that is logged."""
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
        self._needed: deque[Work] = deque()
        """Answers that wait, and whose page is needed: they come first."""
        self._waiting: deque[Work] = deque()
        """The other answers that wait."""
        self._sent: deque[Work] = deque()
        self._listings = 0
        self._decoders: dict[int, PageDecoder[Any, Any, Any]] = {}
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
        self._decoders[self._listings] = decoder
        pickled = pickle.dumps(decoder)
        self._write(HEAD.pack(LISTING, self._listings, 0, 0, len(pickled)) + pickled)
        return self._listings

    def end_listing(self, number: int) -> None:
        """Drop the answers of a listing that wait, and let the process forget its decoder."""
        for queue in (self._needed, self._waiting):
            others = [work for work in queue if work.listing != number]
            queue.clear()
            queue.extend(others)
        self._decoders.pop(number, None)
        self._write(HEAD.pack(END, number, 0, 0, 0))

    def take(self, work: Work) -> Work:
        """Take an answer, to be decoded in turn."""
        self._waiting.append(work)
        self._send()
        return work

    async def result(self, work: Work) -> Listing[Any, Any] | None:
        """Return the decoded answer; None if it has to be decoded in this process.

        ``work.body`` then has the answer, or is empty if the result couldn't be read.
        """
        if not (work.done.is_set() or await self._has_begun(work)):
            return None
        await self._help(work)
        with anyio.move_on_after(self.patience_s):
            await work.done.wait()
        if work.listing_here is not None:
            return work.listing_here
        if not work.done.is_set():
            self._fail(f"It hasn't decoded an answer in {self.patience_s:g} s.")
        packed, work.packed = work.packed, b""
        try:
            return unpack(packed) if packed else None
        except msgspec.MsgspecError as exc:
            self._fail(f"It has written what can't be read: {exc}.")
            return None

    async def _has_begun(self, work: Work) -> bool:
        """Wait until it is the turn of an answer; return False if this process has nothing else to do meanwhile."""
        if work.slot is not None:
            return True
        self.give_up(work)
        self._needed.append(work)
        try:
            with anyio.move_on_after(self.patience_s):
                while work in self._needed and not self._is_over and not await _is_idle():
                    pass
            return work not in self._needed
        finally:
            self.give_up(work)

    async def _help(self, work: Work) -> None:
        """Until an answer is done, decode others that wait for their turn, while there is nothing else to do."""
        while self._waiting and not work.done.is_set():
            if await _is_idle() and self._waiting and not work.done.is_set():
                other = self._waiting.pop()
                other.decode(self._decoders[other.listing])

    def give_up(self, work: Work) -> None:
        """Don't decode an answer that isn't needed any more, unless its turn has come."""
        for queue in (self._needed, self._waiting):
            with suppress(ValueError):
                queue.remove(work)

    async def aclose(self) -> None:
        """End the process, and wait until it has ended."""
        self._may_start, self._is_closed = False, True
        self._stop()
        if self._transport is not None:
            _log.debug("A second process has decoded %d answers", self.decoded)
            self._transport.close()
            with anyio.move_on_after(_ENDED_WITHIN_S, shield=True):
                await self._exited.wait()
        if self._memory is not None:
            self._memory.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the process that was started."""
        self._transport = cast("asyncio.SubprocessTransport", transport)  # that of uvloop has another base class

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
        """Stop using the process if it doesn't read any more."""
        if fd == 0:
            self._stop()

    def process_exited(self) -> None:
        """Stop using the process when it has ended."""
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - given by asyncio
        """Tell why the process isn't used any more: all that it has written has been read now."""
        if not self._is_closed and self._failure is None:
            words = self._last_words.decode(errors="replace").strip()
            self._tell(f"It has ended{f', and has written: {words}' if words else '.'}")
        self._exited.set()

    async def _start(self) -> None:
        if not self._may_start:
            return
        self._may_start = False
        try:
            await self._start_process()
        except (OSError, RuntimeError, ValueError) as exc:
            self._stop()
            self._tell(f"It couldn't be started: {exc}.")
            if self._transport is not None:
                self._transport.close()

    async def _start_process(self) -> None:
        # It imports the same files as this process.
        path = [entry or str(Path.cwd()) for entry in cast("list[object]", sys.path) if isinstance(entry, str)]
        environment = _ALLOCATOR | clean_environment()
        size, pipe = _AT_ONCE * LARGE_ANSWER, asyncio.subprocess.PIPE
        loop = asyncio.get_running_loop()
        fd = os.memfd_create("retrovue-answers")
        try:
            os.ftruncate(fd, size)
            self._memory = mmap(fd, size)
            starting = loop.subprocess_exec(
                lambda: self, sys.executable, "-P", "-c", _PROGRAM, own_version(), str(fd), str(size), *path,
                stdin=pipe, stdout=pipe, stderr=pipe, env=environment, pass_fds=(fd,), start_new_session=True,
            )  # fmt: skip
            # A cancellation would leave a process without an owner. It serves all collections, so it logs without the
            # context of one.
            with anyio.CancelScope(shield=True):
                await loop.create_task(starting, context=Context())
        finally:
            os.close(fd)

    def _begin(self) -> None:
        if self._transport is not None:
            self._input = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
            self._free = [number * LARGE_ANSWER for number in range(_AT_ONCE)]
            self.started.set()

    def _send(self) -> None:
        while (waiting := self._needed or self._waiting) and self._free:
            if self._memory is None or self._is_over:
                return
            work = waiting.popleft()
            start = work.slot = self._free.pop()
            self._sent.append(work)
            end = start + len(work.body)
            self._memory[start:end] = work.body
            kind = OUTLINE if work.outline else ANSWER
            self._write(HEAD.pack(kind, work.listing, work.shared, start, len(work.body)))

    def _take_result(self, work: Work, length: int) -> None:
        if self._memory is not None and work.slot is not None:
            self.decoded += length > 0
            work.finish(self._memory[work.slot : work.slot + length])
            self._free.append(work.slot)

    def _write(self, message: bytes) -> None:
        if self._input is not None:
            self._input.write(message)

    def _fail(self, failure: str) -> None:
        """Decode all answers in this process from now on, and end the other one."""
        self._stop()
        self._tell(failure)
        if self._transport is not None:
            self._transport.close()

    def _tell(self, failure: str) -> None:
        if self._failure is None:
            self._failure = failure
            _log.warning("The run goes on without its second process, which decoded answers. %s", failure)

    def _stop(self) -> None:
        self._is_over, self._input = True, None
        self.started.set()
        while self._sent:
            self._sent.popleft().finish(b"")


class DecodingAhead:
    """Decodes the answers of one listing in the second process."""

    def __init__(self, process: Decoding, decoder: PageDecoder[Any, Any, Any], *, outline: bool = False) -> None:
        """With ``outline`` only the outlines of answers are decoded."""
        self._process = process
        self._decoder = decoder
        self._outline = outline
        self._number: int | None = None
        self._is_expected = False
        self._is_ended = False

    def expect(self, rows: int, tasks: TaskGroup) -> None:
        """Take the number of rows that the listing still has; a task of the group may start the process.

        Only the first number of a listing counts.
        """
        if not self._is_expected:
            self._is_expected = True
            self._process.expect(rows // _OUTLINES_PER_ROW if self._outline else rows, tasks)

    def take(self, body: bytes | bytearray, shared: int) -> Work | None:
        """Take an answer; return None if there is no process.

        ``shared`` is the number of its rows that belong to the window before.
        """
        # A request that was given up may still be answered.
        if self._is_ended or not self._process.is_ready:
            return None
        if self._number is None:
            self._number = self._process.add_listing(self._decoder)
        return self._process.take(Work(self._number, body, shared, outline=self._outline))

    async def result(self, work: Work) -> Listing[Any, Any] | None:
        """Return the decoded answer; None if it has to be decoded in this process: see `Decoding.result`."""
        return await self._process.result(work)

    def give_up(self, work: Work) -> None:
        """Don't decode an answer that isn't needed any more, unless its turn has come."""
        self._process.give_up(work)

    def end(self) -> None:
        """Take the end of the listing."""
        self._is_ended = True
        if self._number is not None:
            self._process.end_listing(self._number)


async def _is_idle() -> bool:
    """Let the event loop go round once; return whether it had nothing else to do."""
    began = perf_counter()
    await anyio.lowlevel.checkpoint()
    return perf_counter() - began < _IDLE_S


def _is_useful() -> bool:
    """Return whether a second process can be started, has a core of its own, and is wanted."""
    # A program in which Python is embedded would start another one of itself.
    is_python = Path(sys.executable or "").name.lower().startswith("python")
    return is_python and hasattr(os, "memfd_create") and cores() >= 2 and not os.environ.get(ONE_PROCESS)
