r"""Path mapping: which local file stands behind a path of the source.

Pure logic of the source's path system: nothing here touches a disk. A source's path may be Windows
(``P:\Films``), UNC (``\\nas\media``) or POSIX; the local side is always this machine's.
"""

import ntpath
import posixpath
import re
from collections.abc import Iterable
from typing import Literal

from retrovue.core.errors import RequestError
from retrovue.core.model import PathMapping
from retrovue.core.text import is_storable

PathSystem = Literal["windows", "posix"]

_DRIVE = re.compile(r"^[A-Za-z]:([\\/]|$)")


class UnmappedPath(ValueError):
    """The path can't be turned into a local one; the message says why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def path_system(path: str) -> PathSystem:
    """Tell whether a source's path is spelled the Windows way (drive or UNC) or the POSIX way."""
    return "windows" if _DRIVE.match(path) or path.startswith("\\\\") else "posix"


def components(path: str) -> tuple[str, ...]:
    """Split a source's path into its components, the root (``/``, ``p:``, ``//nas/share``) first.

    Windows paths take both slashes; their root is compared without regard to case (drive letters and server
    names have none), all other components exactly.
    """
    if path_system(path) == "windows":
        plain = path.replace("\\", "/")
        if plain.startswith("//"):
            head = [part for part in plain[2:].split("/") if part]
            root = "//" + "/".join(head[:2]).lower()
            rest = head[2:]
        else:
            root = plain[:2].lower()
            rest = [part for part in plain[2:].split("/") if part]
    else:
        root = "/" if path.startswith("/") else ""
        rest = [part for part in path.split("/") if part]
    return (root, *(part for part in rest if part != "."))


def stem(path: str) -> str:
    """Name the file of a source's path without its ending; never empty for a path that isn't."""
    name = ntpath.basename(path) if path_system(path) == "windows" else posixpath.basename(path)
    return posixpath.splitext(name)[0] or name or path


class PathMapper:
    """Turns a source's path into the local one: the longest prefix on a component boundary wins."""

    def __init__(self, mappings: Iterable[PathMapping]) -> None:
        self._by_prefix = {components(mapping.source_prefix): mapping.local_path for mapping in mappings}
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)
        # A POSIX path can only lie below a POSIX prefix. The longest comes first, each with its closing slash.
        self._posix = sorted(
            (
                ("/".join(("", *prefix[1:], "")), local.rstrip("/") + "/")
                for prefix, local in self._by_prefix.items()
                if prefix[0] == "/"
            ),
            key=lambda pair: -len(pair[0]),
        )

    def file(self, path: str) -> str:
        """Return the local path of a file.

        Raises UnmappedPath for a path outside every mapping, a relative one, one with a NUL or half a surrogate
        pair, and one that climbs out of the mapped directory by ``..``.
        """
        for prefix, local in self._posix:
            if path.startswith(prefix):
                below = path[len(prefix) :]
                if _is_plain(below):
                    return local + below
                break
        if not is_storable(path):
            raise UnmappedPath("bad_path", f"{path!r} holds a NUL or half a surrogate pair")
        cut = path.rfind("/")
        if path_system(path) == "windows":
            cut = max(cut, path.rfind("\\"))
        name = path[cut + 1 :]
        if name in {"", ".", ".."}:
            raise UnmappedPath("bad_path", f"{path!r} doesn't name a file")
        return posixpath.join(self.directory(path[: cut + 1]), name)

    def directory(self, path: str) -> str:
        """Return the local path of a directory, such as a library's location; raises UnmappedPath."""
        parts = components(path)
        if not parts[0]:
            raise UnmappedPath("unmapped_path", f"{path!r} is a relative path")
        for length in self._lengths:
            local = self._by_prefix.get(parts[:length])
            if local is not None and length <= len(parts):
                return posixpath.join(local, *_confined(path, parts[length:]))
        raise UnmappedPath("unmapped_path", f"no path mapping covers {path!r}")


def _is_plain(below: str) -> bool:
    """Whether a path below a prefix needs no second look: no empty, ``.`` or ``..`` component, nothing unstorable.

    Substring searches, as this is asked for every file of a library; one regular expression takes longer.
    """
    if "/." in below or "//" in below or below[:1] in ("", ".", "/") or below[-1] == "/":
        return False
    return is_storable(below)


def _confined(path: str, below: tuple[str, ...]) -> tuple[str, ...]:
    """Resolve ``..`` in what lies below a mapped directory; it must stay there."""
    if ".." not in below:
        return below
    relative = posixpath.normpath("/".join(below))
    if relative == ".." or relative.startswith("../"):
        raise UnmappedPath("path_outside_root", f"{path!r} climbs out of its mapped directory")
    return () if relative == "." else tuple(relative.split("/"))


def check_mapping(mapping: PathMapping) -> PathMapping:
    """Return the mapping with its local path in plain form.

    Raises RequestError for a source prefix that isn't absolute or a local path that isn't.
    """
    hint = "Write it as --map SOURCE=LOCAL, both absolute, e.g. --map /data/movies=/mnt/media/movies."
    root = components(mapping.source_prefix)[0] if mapping.source_prefix else ""
    if not root or ".." in components(mapping.source_prefix) or "\0" in mapping.source_prefix:
        raise RequestError(
            f"{mapping.source_prefix!r} is not an absolute path of the source.", code="bad_mapping", hint=hint
        )
    if not mapping.local_path.startswith("/") or "\0" in mapping.local_path:
        raise RequestError(
            f"{mapping.local_path!r} is not an absolute path of this machine.", code="bad_mapping", hint=hint
        )
    # normpath keeps two slashes at the beginning: /x and //x would be two identities of one file.
    return PathMapping(mapping.source_prefix, "/" + posixpath.normpath(mapping.local_path).lstrip("/"))
