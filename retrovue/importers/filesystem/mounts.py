"""Find out whether the system reports all changes in a directory, or other machines may change it as well."""

import re
from pathlib import Path, PurePosixPath

_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs",
    "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
"""File systems that other machines may change; inotify reports only the changes of this machine."""
_LOCAL_FUSE = frozenset({"fuseblk", "fuse.lxcfs", "fusectl"})
_ESCAPE = re.compile(r"\\([0-7]{3})")


def remote_type(path: str, mounts: str | None = None) -> str | None:
    """Return the type of a file system at or below a path in which changes can be missed; None if there is none.

    ``mounts`` is the text of Linux's mountinfo; it is read by default. On other systems no directory is known to be
    remote. Blocks.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    wanted = PurePosixPath(path)
    above: tuple[int, str] = (-1, "")
    for line in mounts.splitlines():
        fields, _, after = line.partition(" - ")
        if len(words := fields.split()) < 5 or not after:
            continue
        point = PurePosixPath(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), words[4]))
        type_ = after.split(" ", 1)[0]
        if wanted.is_relative_to(point) and len(point.parts) >= above[0]:
            # Of several mounts at one path only the last one is visible.
            above = len(point.parts), type_
        elif point.is_relative_to(wanted) and _is_remote(type_):
            return type_
    return above[1] if _is_remote(above[1]) else None


def _is_remote(type_: str) -> bool:
    return type_ in _REMOTE or (type_.startswith("fuse") and type_ not in _LOCAL_FUSE)
