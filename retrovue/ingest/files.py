"""Look for a sample of the listed files on this machine, before anything of a collection is written.

A server lists its library even if the disk isn't mounted here. Without this check an ingest would create assets that
can't be played.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec import Struct, field

from retrovue.core.errors import FilesNotFound
from retrovue.core.model import Collection
from retrovue.core.paths import UnmappedPath
from retrovue.importers.locations import MOUNT_DEADLINE_S, has_entries, other_spelling

SAMPLE = 50
"""The most files of a location that are looked for. The search ends when one is found."""
_A_PAGE = 10
"""The most of these files that are taken from one page, spread over the page."""
_ENOUGH = 5
"""If this many files of one location are missing, the collection fails although other locations have their files."""


class _Place(Struct):
    """A location, and the result of looking for its files."""

    location: str
    """The location as the source spells it; empty for files outside of all locations."""
    local: str | None
    """The local directory of the location."""
    found: bool = False
    missing: list[str] = field(default_factory=list[str])
    """The local paths of files that weren't found."""

    @property
    def open(self) -> bool:
        return not self.found and len(self.missing) < SAMPLE


async def any_exists(paths: Sequence[str], deadline_s: float = MOUNT_DEADLINE_S) -> bool:
    """Return whether one of some local files is there; False as well if their file system doesn't answer in time."""
    try:
        with anyio.fail_after(deadline_s):
            return await anyio.to_thread.run_sync(lambda: any(map(os.path.exists, paths)), abandon_on_cancel=True)
    except TimeoutError:
        return False


def by_location(locations: Sequence[str], paths: Sequence[str]) -> list[Sequence[str]]:
    """Return the paths in each location, in the locations' order; a path is in the first one that holds it.

    The locations are those of `places_of`.
    """
    if len(locations) == 1:
        return [paths]
    left, parted = paths, list[Sequence[str]]()
    for location in locations:
        parted.append([path for path in left if path.startswith(location)])
        left = [path for path in left if not path.startswith(location)]
    return parted


def places_of(collection: Collection) -> list[str]:
    """Return the locations in which files are looked for, "" for all others.

    The longest come first, because a location may be inside another one.
    """
    roots = sorted(collection.locations, key=len, reverse=True)
    return roots if len(roots) == 1 else [*roots, ""]


def sample_of(locations: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return those of a page's files that are looked for: some of each location (`places_of`), spread over the page."""
    return [path for files in by_location(locations, paths) for path in _spread(files)]


def _spread(files: Sequence[str]) -> Sequence[str]:
    return files[:: max(1, len(files) // _A_PAGE)][:_A_PAGE]


class FileCheck:
    """Looks for files of one collection.

    Call `look()` for each page while `wanted`, then `finish()` before the merge.
    """

    def __init__(
        self,
        collection: Collection,
        to_local: Callable[[str], str],
        *,
        deadline_s: float = MOUNT_DEADLINE_S,
        exists: Callable[[Path], bool] = Path.exists,
    ) -> None:
        """``to_local`` maps a path of the source, or raises UnmappedPath.

        ``deadline_s`` is the time-out for the files of a page.
        """
        self._collection = collection
        self._to_local = to_local
        self._deadline_s = deadline_s
        self._exists = exists
        self._locations = places_of(collection)
        self._places = [_Place(place, self._directory(place) if place else None) for place in self._locations]

    @property
    def wanted(self) -> bool:
        """Whether there is a location of which no file has been found yet."""
        return any(place.open for place in self._places)

    async def look(self, paths: Sequence[str]) -> None:
        """Look for some of a page's files, given as the source spells their paths.

        Raises FilesNotFound as soon as a whole sample of a location is missing, or if its directory doesn't answer.
        """
        parted = zip(self._places, by_location(self._locations, paths), strict=True)
        samples = [(place, self._sample(files)) for place, files in parted if place.open and files]
        if not any(sample for _, sample in samples):
            return
        try:
            with anyio.fail_after(self._deadline_s):
                # A dead mount blocks the thread. It is left behind, and ends when the mount answers.
                found = await anyio.to_thread.run_sync(self._search, samples, abandon_on_cancel=True)
        except TimeoutError:
            raise FilesNotFound(
                f"A file of {self._collection.display_name} was looked for, and its file system didn't answer within"
                f" {self._deadline_s:g} seconds: {samples[0][1][0]}",
                code="directory_timeout",
            ) from None
        for (place, _), (there, missing) in zip(samples, found, strict=True):
            place.found |= there
            place.missing += missing
        for place in self._places:
            if not place.found and len(place.missing) >= SAMPLE:
                await self._refuse([place])

    async def finish(self) -> None:
        """Raise FilesNotFound if no file of the collection was found, or none of one location."""
        lost = [place for place in self._places if place.missing and not place.found]
        if lost and any(place.found for place in self._places):
            lost = [place for place in lost if len(place.missing) >= _ENOUGH or await self._is_empty(place)]
        if lost:
            await self._refuse(lost)

    def _directory(self, location: str) -> str | None:
        try:
            return self._to_local(f"{location.rstrip('/')}/x").removesuffix("/x")
        except UnmappedPath:
            return None

    def _sample(self, files: Sequence[str]) -> list[str]:
        sample: list[str] = []
        for path in _spread(files):
            try:
                sample.append(self._to_local(path))
            except UnmappedPath:
                continue  # The draft is rejected anyway.
        return sample

    def _search(self, samples: Sequence[tuple[_Place, Sequence[str]]]) -> list[tuple[bool, list[str]]]:
        return [self._first(files) for _, files in samples]

    def _first(self, files: Sequence[str]) -> tuple[bool, list[str]]:
        """Return whether one of the files exists, and the missing ones before it."""
        for number, file in enumerate(files):
            try:
                if self._exists(Path(file)):
                    return True, list(files[:number])
            except (OSError, ValueError):
                continue  # A program that can't read the directory can't play the file either.
        return False, list(files)

    async def _is_empty(self, place: _Place) -> bool:
        try:
            with anyio.fail_after(self._deadline_s):
                return place.local is not None and not await anyio.to_thread.run_sync(
                    has_entries, place.local, abandon_on_cancel=True
                )
        except (OSError, ValueError):
            return False

    async def _refuse(self, lost: Sequence[_Place]) -> None:
        name, first = self._collection.display_name, lost[0].missing[0]
        empty = [place for place in lost if await self._is_empty(place)]
        context = {"locations": [place.location for place in lost if place.location], "missing": lost[0].missing[:10]}
        if empty:
            raise FilesNotFound(
                f"The directory {empty[0].local}, which stands for {empty[0].location}, is empty, but the source lists"
                f" files of {name} in it, such as {first}.",
                code="location_empty",
                context=context,
            )
        where = "" if len(self._places) == 1 or not lost[0].location else f" in {lost[0].location}"
        spelling = await anyio.to_thread.run_sync(other_spelling, first, abandon_on_cancel=True)
        there = "" if spelling is None else " It is there in another form of Unicode."
        raise FilesNotFound(
            f"None of {len(lost[0].missing)} files of {name}{where} that were looked for is on this machine, such as"
            f" {first}.{there}",
            context=context,
        )
