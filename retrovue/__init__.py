"""RetroVue ingest: bring a large Plex library into a database that a broadcast scheduler can rely on.

For a service that embeds it::

    async with open_store(Settings.from_environment()) as store:
        async with ingest_source(store, "My Plex Server", IngestOptions(concurrency=4)) as run:
            async for event in run.events():
                print(event)
        print(run.summary.status)

The public API is ``retrovue.errors``, ``retrovue.testing`` and the names of this package, which ``__init__.pyi`` lists.
Everything else may change without notice.
"""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

# Each name has a line of its own. To parse the file as Python would take a tenth of the start of `retrovue --help`.
_LINES = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8").splitlines()
_MODULES = dict(sorted((words[3], words[1]) for words in map(str.split, _LINES) if words[:1] == ["from"]))
__all__ = list(_MODULES)

# A library leaves its log records to its host. Without this handler Python would print the warnings.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # Imported when first used: the database layer alone takes half a second, and `retrovue --help` doesn't need it.
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)
