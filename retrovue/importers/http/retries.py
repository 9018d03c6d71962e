"""Repeat a request that got no usable answer."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio

from retrovue.importers.http.answers import Answer
from retrovue.importers.http.refusals import Transient
from retrovue.importers.http.settings import HttpPolicy

if TYPE_CHECKING:
    from tenacity import RetryCallState


async def answered(attempt: Callable[[], Awaitable[Answer]], policy: HttpPolicy) -> Answer:
    """Return the answer of the first attempt that gets one. Raises Transient when the policy allows no other attempt.

    tenacity is imported and used from the first failure on: it takes as long as the rest of our client.
    """
    try:
        return await attempt()
    except Transient as exc:
        failed: Transient | None = exc

    async def attempt_or_failure() -> Answer:
        nonlocal failed
        if failed is None:
            return await attempt()
        error, failed = failed, None
        raise error

    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt  # noqa: PLC0415 - rarely needed

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Transient),
        stop=stop_after_attempt(policy.attempts),
        wait=partial(wait_s, policy),
        sleep=anyio.sleep,
        reraise=True,
    )
    return await retrying(attempt_or_failure)


def wait_s(policy: HttpPolicy, state: "RetryCallState") -> float:
    """Return the seconds before the next attempt: random ones, or as many as the server has asked for."""
    from tenacity import wait_random_exponential  # noqa: PLC0415 - rarely needed

    backoff = float(wait_random_exponential(multiplier=policy.base_wait_s, max=policy.max_wait_s)(state))
    failed = state.outcome.exception() if state.outcome else None
    asked = failed.retry_after if isinstance(failed, Transient) else None
    return min(backoff if asked is None else max(asked, backoff), policy.max_wait_s)
