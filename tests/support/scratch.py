"""Where the session's PostgreSQL keeps its files: in memory, if the machine has room for them there.

To make and drop a database creates and removes some thousand files: in memory that takes a tenth of the processor time.
"""

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_PREFIX = "retrovue-tests-"
_VARIABLE = "RETROVUE_TESTS_SCRATCH"
_ROOM = 2 * 1024**3
"""Bytes that have to be free. The databases of the whole suite take some 600 MB, and there is the log."""


def make_scratch() -> Path | None:
    """Make the directory of this session and name it to the processes of its workers; None where there is no room."""
    _remove_abandoned()
    try:
        if shutil.disk_usage(_MEMORY).free < _ROOM:
            return None
        made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY))
    except OSError:  # no such directory, or not for us
        return None
    made.chmod(0o711)  # PostgreSQL's account goes through it
    os.environ[_VARIABLE] = str(made)
    return made


def scratch() -> Path | None:
    """The directory of this session; None if it has none."""
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else None


def remove_scratch(made: Path) -> None:
    """Remove the directory of this session, after its server has ended."""
    del os.environ[_VARIABLE]
    shutil.rmtree(made)


def _remove_abandoned() -> None:
    """Remove those of sessions that were killed; their servers end when they notice that their files are gone."""
    for one in _MEMORY.glob(f"{_PREFIX}*"):
        pid = one.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(one, ignore_errors=True)
