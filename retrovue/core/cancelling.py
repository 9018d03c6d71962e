"""Cancellation, by a scope of anyio or by a host that knows nothing of scopes."""

import asyncio
import math

import anyio


def is_cancelled() -> bool:
    """Whether somebody asked for this task to be cancelled; a task group takes a stray cancellation for a good end."""
    task = asyncio.current_task()
    return anyio.current_effective_deadline() == -math.inf or task is None or task.cancelling() > 0
