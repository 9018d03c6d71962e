"""A worker as a process, with little patience: ``python -m tests.support.worker_process NAME``."""

import sys

import anyio

from retrovue.core.config import Settings
from retrovue.service.worker import work_jobs
from retrovue.store.opening import open_store
from tests.support.working import QUICK


async def main(name: str) -> None:
    async with open_store(Settings.from_environment(), connections=4) as store:
        await work_jobs(store, name, times=QUICK, on_joined=lambda: print("there", flush=True))  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
