r"""Path mapping: translate the paths of a source to local paths. This module doesn't access a disk.

A path of a source may be a Windows path (``P:\Films``), UNC (``\\nas\media``, ``//nas/media``, ``\\?\UNC\nas\media``)
or POSIX. A local path is POSIX. Prefixes are compared in the composed form of Unicode (NFC), as macOS writes names
decomposed; the part below a prefix keeps its bytes.
"""

import ntpath
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from retrovue.core.errors import RequestError
from retrovue.core.model import PathMapping
from retrovue.core.text import is_storable, quoted, storable

PathSystem = Literal["windows", "posix"]

_DRIVE = re.compile(r"^[A-Za-z]:([\\/]|$)")
_VERBATIM = re.compile(r"^[\\/]{2}[?.][\\/](?:(?P<unc>UNC)[\\/])?(?=.)", re.IGNORECASE)
r"""How Windows begins a path of any length: ``\\?\`` before a drive, ``\\?\UNC\`` before a host."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_UNC = re.compile(r"^//[^/]")
"""A UNC path with slashes. On a POSIX system two slashes at the beginning mean one."""


DISC_ENDINGS = (
    ".m2ts", ".ssif", ".mpls", ".bdmv", ".vob", ".ifo", ".bup", ".evo", "/bdmv", "\\bdmv", "eo_ts", "vd_ts",
)  # fmt: skip
"""The ends of the paths of disc files and disc directories. Few paths have them, so few are examined further."""
_DISC_FOLDER = re.compile(r"[\\/](?:BDMV|VIDEO_TS|HVDVD_TS)(?=[\\/]|$)", re.IGNORECASE)
_DISC_FILE = re.compile(r"[\\/](?:VIDEO_TS|VTS_[0-9]{2}_[0-9])\.(?:VOB|IFO|BUP)$", re.IGNORECASE)


DISC_FOLDER = "disc_folder"
"""The code of a file that is a part of a disc. A disc has one rejection, whatever the number of its files."""


class UnmappedPath(ValueError):
    """The path can't be mapped to a local path; the message says why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def path_system(path: str) -> PathSystem:
    """Return ``windows`` for a path with a drive or a UNC host, else ``posix``."""
    return "windows" if _DRIVE.match(path) or path.startswith("\\\\") else "posix"


def components(path: str) -> tuple[str, ...]:
    """Split a path of a source into its components. The first is the root: ``/``, ``p:`` or ``//nas/share``.

    A Windows path may use both slashes. Its root is returned in lower case, because drives and hosts ignore case; the
    other components keep their case. The root of a relative path is empty.
    """
    if path_system(path) == "windows" or _UNC.match(path):
        if verbatim := _VERBATIM.match(path):
            path = ("//" if verbatim["unc"] else "") + path[verbatim.end() :]
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


def comparable(path: str) -> tuple[str, ...]:
    """Return a path's components in the form that is used to compare paths."""
    return tuple(unicodedata.normalize("NFC", part) for part in components(path))


def stem(path: str) -> str:
    """Return the file name of a source's path without its extension. It is empty only if the path is empty."""
    name = ntpath.basename(path) if path_system(path) == "windows" else posixpath.basename(path)
    return posixpath.splitext(name)[0] or name or path


def disc_of(path: str) -> str | None:
    """Return the directory of the copied disc (DVD, Blu-ray or HD DVD) that contains the path; None if there is none.

    A camera writes ``.mts`` files to directories named as those of a Blu-ray: they are clips.
    """
    if path[-5:].lower().endswith(DISC_ENDINGS):
        if (folder := _DISC_FOLDER.search(path)) is not None:
            return path[: folder.start()] or "/"
        if (file := _DISC_FILE.search(path)) is not None:
            return path[: file.start()] or "/"
    return None


class PathMapper:
    """Translates a source's paths to local paths.

    A prefix ends at a component; the longest prefix that matches applies.
    """

    def __init__(self, mappings: Iterable[PathMapping]) -> None:
        self._by_prefix = {comparable(mapping.source_prefix): mapping.local_path for mapping in mappings}
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)
        # A fast path for POSIX: the prefixes with a trailing slash, the longest first.
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

        Raises UnmappedPath for a path that no mapping covers, that is relative, that holds a NUL or a lone surrogate,
        or that leaves the mapped directory by ``..``.
        """
        for prefix, local in self._posix:
            if path.startswith(prefix):
                below = path[len(prefix) :]
                if _is_plain(below):
                    return local + below
                break
        if not is_storable(path):
            raise UnmappedPath("bad_path", f"{quoted(path)} holds a NUL or a lone surrogate")
        cut = path.rfind("/")
        if path_system(path) == "windows":
            cut = max(cut, path.rfind("\\"))
        name = path[cut + 1 :]
        if name in {"", ".", ".."}:
            raise UnmappedPath("bad_path", f"{quoted(path)} doesn't name a file")
        directory = path[: cut + 1]
        if not components(directory)[0]:
            kind = "an address, not a path" if _ADDRESS.match(path) else "a relative path"
            raise UnmappedPath("unmapped_path", f"{quoted(path)} is {kind}")
        return posixpath.join(self.directory(directory), name)

    def directory(self, path: str) -> str:
        """Return the local path of a directory, such as a location of a collection. Raises UnmappedPath."""
        parts = components(path)
        if not parts[0]:
            raise UnmappedPath("unmapped_path", f"{quoted(path)} is a relative path")
        for parts_ in (parts, components("/" + path.lstrip("/"))) if path.startswith("//") else (parts,):
            key = tuple(unicodedata.normalize("NFC", part) for part in parts_)
            for length in self._lengths:
                local = self._by_prefix.get(key[:length])
                if local is not None and length <= len(key):
                    return posixpath.join(local, *_confined(path, parts_[length:]))
        raise UnmappedPath("unmapped_path", f"no path mapping covers {quoted(path)}{self._in_other_case(path)}")

    def _in_other_case(self, path: str) -> str:
        """Say that a prefix differs from a path only in the case of its letters."""
        key = [part.casefold() for part in comparable(path)]
        alike = (prefix for prefix in self._by_prefix if [part.casefold() for part in prefix] == key[: len(prefix)])
        return "" if next(alike, None) is None else "; one differs only in the case of its letters"


def _is_plain(below: str) -> bool:
    """Return whether a path below a prefix is storable and has no empty, ``.``, ``..`` or hidden component.

    It searches for substrings: it is called for every file of a library, and a regular expression takes longer.
    """
    if "/." in below or "//" in below or below[:1] in ("", ".", "/") or below[-1] == "/":
        return False
    return ("\0" not in below and below.isascii()) or is_storable(below)


def _confined(path: str, below: tuple[str, ...]) -> tuple[str, ...]:
    """Resolve ``..`` in the components below a mapped directory. Raises UnmappedPath if the result is outside."""
    if ".." not in below:
        return below
    relative = posixpath.normpath("/".join(below))
    if relative == ".." or relative.startswith("../"):
        raise UnmappedPath("path_outside_root", f"{quoted(path)} leaves its mapped directory")
    return () if relative == "." else tuple(relative.split("/"))


def user_path(text: str, what: str) -> Path:
    """Return the absolute path for a path that an operator wrote, with ``~`` and ``~user`` expanded.

    Raises RequestError (``bad_path``) for a user who doesn't exist, a loop of links, and a path that isn't UTF-8 text.
    ``what`` names the path in the message.
    """
    try:
        text.encode()
        path = Path(text).expanduser().absolute()
        path.resolve()
        return path
    except UnicodeEncodeError:
        problem = "it isn't UTF-8 text"
    except RuntimeError as exc:  # pathlib raises these for a loop of links and for an unknown user.
        problem = "its links form a loop" if "loop" in str(exc) else "its user doesn't exist"
    except (OSError, ValueError) as exc:
        problem = exc.strerror or str(exc) if isinstance(exc, OSError) else "it holds a NUL"
    raise RequestError(f"{what} {storable(text)} can't be used: {problem}.", code="bad_path")


def check_mapping(mapping: PathMapping) -> PathMapping:
    """Return the mapping with its local path normalised.

    Raises RequestError if the source prefix or the local path isn't absolute.
    """
    hint = "Write it as --map SOURCE=LOCAL, both absolute, e.g. --map /data/movies=/mnt/media/movies."
    root = components(mapping.source_prefix)[0] if mapping.source_prefix else ""
    if not root or ".." in components(mapping.source_prefix) or "\0" in mapping.source_prefix:
        raise RequestError(
            f"{quoted(mapping.source_prefix)} is not an absolute path of the source.", code="bad_mapping", hint=hint
        )
    if not mapping.local_path.startswith("/") or "\0" in mapping.local_path:
        raise RequestError(
            f"{quoted(mapping.local_path)} is not an absolute path of this machine.", code="bad_mapping", hint=hint
        )
    # normpath keeps two slashes at the beginning, but /x and //x must have the same identity.
    return PathMapping(mapping.source_prefix, "/" + posixpath.normpath(mapping.local_path).lstrip("/"))
