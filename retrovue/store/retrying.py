"""The one place in which transactions are run again."""

from collections.abc import Awaitable, Callable

import anyio

from retrovue.core.errors import StoreError

TRANSACTION_RETRIES = 3
"""How often a transaction is run again that the server ended in favour of another one."""
FIRST_PAUSE = 0.05
"""Seconds before the first retry; each further pause is twice as long, so that the other transaction can end."""
CONFLICTS = frozenset({"deadlock", "serialization_failure"})
"""The errors that the same transaction is not expected to meet again."""


async def retry_conflicts(transact: Callable[[], Awaitable[None]]) -> None:
    """Run a transaction; run it as a whole again, after a pause, if the server ended it in favour of another one.

    Raises the error of the last try after `TRANSACTION_RETRIES` retries, and any other error at once.
    """
    for retry in range(TRANSACTION_RETRIES):
        try:
            return await transact()
        except StoreError as exc:
            if exc.code not in CONFLICTS:
                raise
        await anyio.sleep(FIRST_PAUSE * 2**retry)
    return await transact()
