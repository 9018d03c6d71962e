"""The entry point. It imports quickly, so that a signal during the start finds its handler."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from retrovue.cli.process import SIGNALS, ignore_signals, leave

if TYPE_CHECKING:
    from retrovue.cli.invocation import Invocation

GRACE_SECONDS = 1.7
"""How long an interrupted command may clean up, in seconds; the process has to end within 2 s."""


class _Stopped(BaseException):
    """A signal came before the event loop could handle it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def main() -> NoReturn:
    """Run the command that the arguments name, and exit."""
    # The imports create some 150,000 objects that all stay. Searching them for garbage takes a tenth of the start, so
    # the first collection comes after them. An ingest creates millions of objects, which are freed by their reference
    # counts. This is set here because a library must not decide it for its host program.
    gc.set_threshold(250_000, 20, 100)
    for number in SIGNALS:
        signal.signal(number, _stop)
    try:
        import anyio  # A signal during the import is handled here as well.

        anyio.run(_run_and_leave, sys.argv[1:])
    except _Stopped as stopped:
        ignore_signals()
        invocation = _invocation(sys.argv[1:])
        invocation.stopped_by = stopped.signal
        leave(_interrupted(invocation))
    raise AssertionError("the command left without an exit status")


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)


async def _run_and_leave(arguments: Sequence[str]) -> NoReturn:
    status = await run(arguments)
    ignore_signals()
    leave(status)


async def run(arguments: Sequence[str]) -> int:
    """Run a command to its end, or until a signal cancels it; return the exit status.

    The first SIGINT or SIGTERM cancels the command, which reports what it has done. A second one ends the process
    immediately.
    """
    import anyio

    from retrovue.cli.app import run_command

    invocation = _invocation(arguments)
    status: int | None = None
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def watch() -> None:
                async for number in signals:
                    invocation.stopped_by = number
                    break
                # The event loop may be busy, so from now on the process handles signals without it.
                for each in SIGNALS:
                    signal.signal(each, lambda *_: os._exit(invocation.signal_status))
                scope.cancel()
                await anyio.sleep(GRACE_SECONDS)
                leave(_interrupted(invocation))

            group.start_soon(watch)
            # A task group would wrap what its body raises; a command raises only its cancellation.
            with scope:
                status = await run_command(arguments, invocation)
            group.cancel_scope.cancel()
    if status is None:
        status = _interrupted(invocation)
    return 1 if invocation.output.lost and status == 0 else status


def _invocation(arguments: Sequence[str]) -> "Invocation":
    """Make the invocation with the output that the arguments request, even if they can't be parsed."""
    from retrovue.cli.invocation import Invocation
    from retrovue.cli.output import Output

    return Invocation(Output(as_json="--json" in arguments, as_events="--jsonl" in arguments))


def _interrupted(invocation: "Invocation") -> int:
    """Report what an interrupted command did, and return the exit status.

    A command that had printed its whole answer and was only closing keeps its own status.
    """
    if invocation.status is not None:
        return invocation.status
    if invocation.report_interruption is None:
        invocation.fail(invocation.interrupted())
    else:
        invocation.report_interruption()
    return invocation.signal_status
