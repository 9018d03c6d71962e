"""Detect cancellation, by a cancel scope of anyio or directly by asyncio."""

import asyncio
import math

import anyio


def is_cancelled() -> bool:
    """Whether the current task is being cancelled.

    A CancelledError that nobody asked for is a bug: a task group would take it for a normal end.
    """
    task = asyncio.current_task()
    return anyio.current_effective_deadline() == -math.inf or task is None or task.cancelling() > 0
