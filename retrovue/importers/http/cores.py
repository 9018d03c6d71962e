"""The cores of the processor that this process may use."""

import os
from contextlib import suppress
from pathlib import Path

_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""The limit of a container in cgroup v2: the microseconds of processor time that it may use in each period, or ``max``,
and the microseconds of a period.
"""


def cores() -> float:
    """Return how many cores of the processor this process may use, also as the limit of its container."""
    number = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = _LIMIT.read_text(encoding="ascii").split()
        return min(number, int(quota) / int(period))  # "max" is no limit
    return number
