"""The directories of a benchmark: media files that hold nothing but have a size, as many as a library has."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio.to_thread

from benchmarks.scenarios import Layout

_SIZE = 700_000_000
"""Bytes that each file claims to have; none of them is on the disk."""


@asynccontextmanager
async def trees(layouts: Sequence[Layout], scratch: Path) -> AsyncIterator[dict[Layout, Path]]:
    """Make the tree of each layout, until the block ends."""
    made = {layout: scratch / f"tree-{number}" for number, layout in enumerate(layouts)}
    try:
        for layout, root in made.items():
            await anyio.to_thread.run_sync(_make, root, layout)
        yield made
    finally:
        with anyio.CancelScope(shield=True):
            for root in made.values():
                await anyio.to_thread.run_sync(partial(shutil.rmtree, root, ignore_errors=True))


def _make(root: Path, layout: Layout) -> None:
    root.mkdir()
    for number, size in enumerate(layout.sizes, start=1):
        collection = root / f"Movies {number:03}"
        collection.mkdir()
        for place in range(size):
            name = f"A film whose number is {place:07} ({1950 + place % 70})"
            directory = f"{collection}/{name}" if layout.disk == "nested" else str(collection)
            if layout.disk == "nested":
                os.mkdir(directory)  # noqa: PTH102 - a million of them
            file = os.open(f"{directory}/{name}.mkv", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.ftruncate(file, _SIZE + place)
            os.close(file)
