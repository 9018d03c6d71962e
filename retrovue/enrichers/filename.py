"""The enricher that reads title, year, season, episode, edition and ids from the path.

It reads ids and editions like the importer of directories, in the spellings of Plex, Jellyfin and Emby
(``{edition-Final Cut}``, ``{tmdb-78}``, ``[tmdbid-78]``). guessit reads the rest. It takes about 10 ms for a name, so
it runs in its own process, and only for assets that lack a field that a name may contain.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any, ClassVar

import anyio.to_process

from retrovue.core.config import clean_environment
from retrovue.core.errors import RequestError
from retrovue.core.model import Source
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.importers.filesystem import names, titles

_EDITION = re.compile(
    r"\b(cut|edition|version|extended|uncut|unrated|theatrical|remastered|restored|imax|criterion|redux|special)\b",
    re.IGNORECASE,
)
_CHUNK = 25
"""How many names the worker process gets at the same time; a cancellation waits for these."""


class FilenameEnricher(BaseEnricher):
    """Reads a file's name and those of the two directories above it."""

    type_name: ClassVar[str] = "filename"
    runs_on_pages: ClassVar[bool] = True
    batch_size: ClassVar[int] = 1000
    deadline_s: ClassVar[float] = 300.0
    reads_files: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        super().__init__(config, source)
        if find_spec("guessit") is None:
            raise RequestError(
                "The package guessit isn't installed.",
                code="no_guessit",
                hint="Install it: pip install 'retrovue[filename]'.",
            )
        self._always_guesses = str(config.get("overwrite", "")).lower() in {"true", "yes", "1"}

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Read the names of the first files of assets."""
        paths = ["/".join(PurePosixPath(asset.files[0].local_path).parts[-3:]) for asset in assets]
        answers = [_tags(path, asset.type) for path, asset in zip(paths, assets, strict=True)]
        due = [
            i for i, asset in enumerate(assets) if self._always_guesses or _lacks_details(asset, paths[i], answers[i])
        ]
        for start in range(0, len(due), _CHUNK):
            chunk = due[start : start + _CHUNK]
            plain = [(titles.without_tags(paths[i]), assets[i].type) for i in chunk]
            guesses = await anyio.to_process.run_sync(partial(guess, plain), cancellable=True)
            for i, guessed in zip(chunk, guesses, strict=True):
                answers[i] = guessed | answers[i]
        return [Enrichment(fields=fields) for fields in answers]


def _tags(path: str, kind: str) -> dict[str, Any]:
    """Read ids and the edition. Ids in the directory of a show belong to the show, not to the episode."""
    if not titles.has_tags(path):
        return {}
    *directories, file = path.split("/")
    found = names.describe([file], directories, "show" if kind == "episode" else "movie")
    fields = {"edition": found.edition, "provider_ids": found.ids, "show_provider_ids": found.show_ids}
    return {name: value for name, value in fields.items() if value}


def _lacks_details(asset: AssetView, path: str, tags: Mapping[str, Any]) -> bool:
    """Return whether the asset lacks a field that guessit may find in its path."""
    if asset.type == "episode":
        return asset.show_title is None or asset.season_number is None or asset.episode_number is None
    if asset.type != "movie":
        return False
    return asset.year is None or (asset.edition is None and "edition" not in tags and bool(_EDITION.search(path)))


def guess(paths: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return guessit's fields of some names, each given with the type of its asset. Runs in the worker process."""
    from guessit import guessit  # noqa: PLC0415 - slow to import, and used in the worker only

    for name in os.environ.keys() - clean_environment().keys():
        del os.environ[name]  # The worker inherits the environment, including secrets.
    return [_fields(guessit(path, {"type": "episode" if kind == "episode" else "movie"}), kind) for path, kind in paths]


_MOVIE_FIELDS = {"title": ("title", str), "year": ("year", int), "edition": ("edition", str)}
_EPISODE_FIELDS = {
    "show_title": ("title", str),
    "show_year": ("year", int),
    "edition": ("edition", str),
    "title": ("episode_title", str),
    "season_number": ("season", int),
    "episode_number": ("episode", int),
}
"""An asset's field → guessit's property and its type."""


def _fields(guessed: Mapping[str, Any], kind: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, (property_, type_) in (_EPISODE_FIELDS if kind == "episode" else _MOVIE_FIELDS).items():
        value = guessed.get(property_)
        # The first of several values: a file with two episodes gets the number of the first.
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, type_):
            fields[name] = value
    return fields
