"""The enricher that reads title, year, season, episode and edition from the path.

Plex's own tags (``{edition-Final Cut}``, ``{tmdb-78}``; support.plex.tv, "Naming and organizing your Movie files") are
read as they are written. For the rest there is guessit, which takes some 10 ms a name: it is only asked where
something is missing that a name may tell, in a process of its own.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any, ClassVar

import anyio.to_process

from retrovue.core.errors import RequestError
from retrovue.core.model import Source
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure

_TAG = re.compile(r"\{(edition|imdb|tmdb|tvdb)-([^{}]{1,200})\}", re.IGNORECASE)
_EDITION = re.compile(
    r"\b(cut|edition|version|extended|uncut|unrated|theatrical|remastered|restored|imax|criterion|redux|special)\b",
    re.IGNORECASE,
)
_CHUNK = 25
"""Names that a worker process gets at once: a cancellation has to wait for no more."""


class FilenameEnricher(BaseEnricher):
    """Reads what a file's name and the two directories above it say."""

    type_name: ClassVar[str] = "filename"
    runs_on_pages: ClassVar[bool] = True
    batch_size: ClassVar[int] = 1000
    deadline_s: ClassVar[float] = 300.0
    reads_files: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        super().__init__(config, source)
        if find_spec("guessit") is None:
            raise RequestError(
                "guessit isn't installed.", code="no_guessit", hint="Install it: pip install 'retrovue[filename]'."
            )
        self._asks_always = str(config.get("overwrite", "")).lower() in {"true", "yes", "1"}

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Read the names of these assets' files."""
        paths = [_shown(asset) for asset in assets]
        found = [_tags(path) for path in paths]
        due = [
            number
            for number, asset in enumerate(assets)
            if self._asks_always or _missing(asset, paths[number], found[number])
        ]
        for start in range(0, len(due), _CHUNK):
            chunk = due[start : start + _CHUNK]
            names = [(_TAG.sub("", paths[number]), assets[number].type) for number in chunk]
            guesses = await anyio.to_process.run_sync(partial(guess, names), cancellable=True)
            for number, guessed in zip(chunk, guesses, strict=True):
                found[number] = guessed | found[number]
        return [Enrichment(fields=fields) for fields in found]


def _shown(asset: AssetView) -> str:
    return "/".join(PurePosixPath(asset.files[0].local_path).parts[-3:])


def _tags(path: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for kind, value in _TAG.findall(path):
        if kind.lower() == "edition":
            fields["edition"] = value.strip()
        else:
            fields.setdefault("provider_ids", {})[kind.lower()] = value.strip()
    return fields


def _missing(asset: AssetView, path: str, known: Mapping[str, Any]) -> bool:
    if asset.type == "episode":
        return asset.show_title is None or asset.season_number is None or asset.episode_number is None
    if asset.type != "movie":
        return False
    return asset.year is None or (asset.edition is None and "edition" not in known and bool(_EDITION.search(path)))


def guess(names: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Let guessit read some names, each with the type of its asset; runs in a worker process."""
    from guessit import guessit  # noqa: PLC0415 - slow, and needed in the worker only

    found: list[dict[str, Any]] = []
    for name, kind in names:
        guessed = guessit(name, {"type": "episode"} if kind == "episode" else {"type": "movie"})
        found.append(_fields(guessed, kind))
    return found


def _fields(guessed: Mapping[str, Any], kind: str) -> dict[str, Any]:
    def one(name: str, wanted: type) -> Any:
        value = guessed.get(name)
        # The first of several: a file with two episodes is found under the first of them.
        value = value[0] if isinstance(value, list) and value else value
        return value if isinstance(value, wanted) else None

    fields = {"year": one("year", int), "edition": one("edition", str)}
    if kind == "episode":
        fields |= {
            "show_title": one("title", str),
            "title": one("episode_title", str),
            "season_number": one("season", int),
            "episode_number": one("episode", int),
        }
    else:
        fields["title"] = one("title", str)
    return {name: value for name, value in fields.items() if value is not None}
