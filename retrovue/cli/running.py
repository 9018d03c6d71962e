"""Running a command in the event loop, until its end or a signal's."""

import os
import signal
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import anyio

from retrovue.cli.app import run_command
from retrovue.cli.entry import SIGNALS, guessed_output, ignore_signals, leave
from retrovue.cli.session import Session

GRACE_SECONDS = 1.7
"""How long an interrupted command may clean up; it has to be gone within 2 s."""


def execute(arguments: Sequence[str]) -> NoReturn:
    """Run a command and end the process with its status."""
    anyio.run(partial(_run_and_leave, arguments))
    raise AssertionError("the command left without an exit status")


async def _run_and_leave(arguments: Sequence[str]) -> NoReturn:
    status = await run(arguments)
    ignore_signals()
    leave(status)


async def run(arguments: Sequence[str]) -> int:
    """Run a command to its end, or until a signal cancels it; returns the exit status.

    The first SIGINT or SIGTERM cancels the command, and what has been done is told; a second one ends the process
    at once.
    """
    session = Session(guessed_output(arguments))
    status: int | None = None
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def watch() -> None:
                async for number in signals:
                    session.stopped_by = number
                    break
                # From now on without the event loop, which may be busy.
                for each in SIGNALS:
                    signal.signal(each, lambda *_: os._exit(session.signal_status))
                scope.cancel()
                await anyio.sleep(GRACE_SECONDS)
                leave(_interrupted(session))

            group.start_soon(watch)
            # A task group would wrap what its body raises; a command raises nothing but its cancellation.
            with scope:
                status = await run_command(arguments, session)
            group.cancel_scope.cancel()
    if status is None:
        status = _interrupted(session)
    return 1 if session.output.lost and status == 0 else status


def _interrupted(session: Session) -> int:
    """Tell what is known; a command that had given its answer and was only closing has its own status."""
    if session.status is not None:
        return session.status
    if session.last_words is None:
        session.fail(session.interrupted())
    else:
        session.last_words()
    return session.signal_status
