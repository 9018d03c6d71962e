"""Run programs for enrichers, without a shell, in their own process group."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import Process

from retrovue.core.config import clean_environment
from retrovue.core.errors import EnrichmentError

KILLED_WITHIN_S = 1.0
"""Seconds to wait for a process that has been killed."""


@asynccontextmanager
async def program(arguments: Sequence[str]) -> AsyncIterator[Process]:
    """Start a program; its whole process group is killed at the end of the block.

    It gets no secrets from the environment, because the data that it parses may be hostile. Its error output, which may
    have any length, is discarded. Raises EnrichmentError if it can't be started.
    """
    try:
        process = await anyio.open_process(
            list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True, env=clean_environment(),
        )  # fmt: skip
    except OSError as exc:
        raise EnrichmentError(
            f"The program {arguments[0]} can't be started: {exc.strerror}.", code="no_program"
        ) from exc
    try:
        yield process
    finally:
        # Also after a normal end: processes that the program has started are in its group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.move_on_after(KILLED_WITHIN_S, shield=True):
            await process.aclose()


async def output_of(arguments: Sequence[str], *, deadline_s: float, cap: int) -> tuple[int, bytes]:
    """Run a program to its end; returns its exit status (negative: the signal that ended it) and its output.

    Raises EnrichmentError if the program takes longer than the deadline or prints more than ``cap`` bytes.
    """
    with anyio.move_on_after(deadline_s):
        async with program(arguments) as process:
            if process.stdin is not None:
                await process.stdin.aclose()
            printed = bytearray()
            if process.stdout is not None:
                async for chunk in process.stdout:
                    printed += chunk
                    if len(printed) > cap:
                        message = f"{os.path.basename(arguments[0])} printed more than {cap:,} bytes."  # noqa: PTH119
                        raise EnrichmentError(message, code="output_too_large")
            return await process.wait(), bytes(printed)
    message = f"{os.path.basename(arguments[0])} didn't end within {deadline_s:g} s."  # noqa: PTH119
    raise EnrichmentError(message, code="program_timeout")
