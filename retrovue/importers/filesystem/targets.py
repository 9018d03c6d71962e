"""Choose the directories of a collection to read, if not all of them are read.

A key is the path of a directory relative to the collection's, with slashes; it is empty for the collection's own
directory. A key that ends with a slash means the directory and everything below it, any other key the directory alone.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

EVERYTHING = "/"
"""The key of the collection's directory with everything below it."""


class Target(NamedTuple):
    """A directory to read."""

    names: tuple[str, ...]
    """The path relative to the collection's directory."""
    deep: bool
    """Whether everything below it is read as well."""


class Targets:
    """Tells a walk which directories to read."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Raises ValueError for a key that isn't the path of a directory below another one."""
        self._targets = [_target(key) for key in keys]
        self.are_all = any(target.deep and not target.names for target in self._targets)
        """Whether the whole collection is read."""
        self._unreached = {target.names for target in self._targets}

    def leads(self, directories: tuple[str, ...]) -> bool:
        """Return whether a directory is a target, is below one, or is on the way to one."""
        return self.holds(directories) or any(
            target.names[: len(directories)] == directories for target in self._targets
        )

    def holds(self, directories: tuple[str, ...]) -> bool:
        """Whether the titles of a directory are wanted."""
        return self.are_all or any(
            directories == target.names or (target.deep and directories[: len(target.names)] == target.names)
            for target in self._targets
        )

    def reach(self, directories: tuple[str, ...]) -> bool:
        """Note that a directory was read; return whether its titles are needed."""
        if self._unreached and directories in self._unreached:
            self._unreached.remove(directories)
        return self.are_all or self.holds(directories)

    def missing(self, top: str) -> str | None:
        """Return a target that doesn't exist below the directory ``top``; None if all exist. Blocks.

        A target that exists and wasn't read is left out by the rules of a walk.
        """
        paths = (os.path.join(top, *directories) for directories in sorted(self._unreached))  # noqa: PTH118 - as in Walk
        return next((path for path in paths if not os.path.lexists(path)), None)


def _target(key: str) -> Target:
    names = tuple(key.removesuffix("/").split("/")) if key.removesuffix("/") else ()
    if "\0" in key or any(name in {"", ".", ".."} for name in names):
        raise ValueError(key)
    return Target(names, key.endswith("/"))
