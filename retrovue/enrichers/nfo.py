"""The enricher that reads sidecars: NFO files beside the media file, or in the directory of the film or show.

A film's sidecars are ``<file>.nfo`` and, if its directory contains only one title, ``movie.nfo``; an episode's are
``<file>.nfo`` and its show's ``tvshow.nfo``. The first sidecar that describes the asset is used. A sidecar that can't
be read doesn't prevent the others from being read.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

import anyio.to_thread
from msgspec import Struct, field

from retrovue.core.errors import EnrichmentError
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.enrichers.sidecars import Details, Sidecar, add_addresses, number, parse
from retrovue.importers.filesystem.sidecars import FILM, SHOW, SHOW_LEVELS, SUFFIX, holds_one_title

MAX_BYTES = 2 * 1024 * 1024
"""The largest sidecar, in bytes; that of a long-running show with its cast takes about 100 KiB."""
_FILM_ROOTS = ("movie", "musicvideo", "video")
_SHOW_FIELDS = {
    "title": "show_title",
    "year": "show_year",
    "provider_ids": "show_provider_ids",
    "studio": "studio",
    "content_rating": "content_rating",
    "tags": "tags",
}
"""For each field of a show, the field of its episodes."""


class NfoEnricher(BaseEnricher):
    """Reads the sidecar files of films and episodes."""

    type_name: ClassVar[str] = "nfo"
    batch_size: ClassVar[int] = 50
    deadline_s: ClassVar[float] = 60.0
    reads_files: ClassVar[bool] = True
    reads_sidecars: ClassVar[bool] = True

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Read the sidecars of assets, in a worker thread."""
        return await anyio.to_thread.run_sync(partial(_read_all, list(assets)), abandon_on_cancel=True)


def _read_all(assets: Sequence[AssetView]) -> list[Enrichment | Failure]:
    directories = Directories()
    return [read(asset, directories) for asset in assets]


class Directories(Struct):
    """What the assets of a batch share: the shows' sidecars, and whether a directory contains only one title."""

    shows: dict[Path, Sidecar | Failure | None] = field(default_factory=dict[Path, Sidecar | Failure | None])
    single: dict[Path, bool] = field(default_factory=dict[Path, bool])
    fingerprints: dict[Path, str] = field(default_factory=dict[Path, str])

    def load(self, path: Path) -> Sidecar | Failure | None:
        """Read and parse a sidecar; None if there is none."""
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
                self.fingerprints[path] = f"{len(raw)}:{path.stat().st_mtime_ns}"
            if len(raw) > MAX_BYTES:
                return Failure("nfo_too_large", f"{path.name} is larger than {MAX_BYTES:,} bytes.")
            return parse(raw, path.name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            return Failure("unreadable_sidecar", f"The sidecar can't be read: {exc.strerror}.")
        except EnrichmentError as exc:
            return Failure(exc.code, exc.message)

    def show(self, directory: Path) -> Sidecar | Failure | None:
        """Read the ``tvshow.nfo`` of a directory, once."""
        if directory not in self.shows:
            self.shows[directory] = self.load(directory / SHOW)
        return self.shows[directory]

    def holds_one_title(self, directory: Path) -> bool:
        """Return whether all media files of a directory are versions or parts of one title."""
        if directory not in self.single:
            self.single[directory] = holds_one_title(directory)
        return self.single[directory]


def read(asset: AssetView, directories: Directories | None = None) -> Enrichment | Failure:
    """Read an asset's sidecars. Without a sidecar about the asset there are no fields, which isn't a failure.

    A sidecar that can't be read is a Failure if no other sidecar describes the asset, else a warning in the data.
    """
    directories = directories or Directories()
    media = Path(asset.files[0].local_path)
    answer = _Answer()
    own = media.with_suffix(SUFFIX)
    if asset.type == "episode":
        _add_episode(answer, asset, directories.load(own), own.name)
        paths = [own]
        for directory in list(media.parents)[:SHOW_LEVELS]:
            paths.append(directory / SHOW)
            if (show := directories.show(directory)) is not None:
                _add_show(answer, show)
                break
    else:
        paths = [own, media.with_name(FILM)]
        for path in paths:
            sidecar = directories.load(path)
            if sidecar is None or (path != own and not directories.holds_one_title(media.parent)):
                continue
            if _add_film(answer, sidecar):
                break
    marks = {
        (path.name if path.name == SHOW else str(path)): directories.fingerprints[path]
        for path in paths
        if path in directories.fingerprints
    }
    return answer.finish({"sidecars": marks} if marks else None)


class _Answer(Struct):
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: list[str] = field(default_factory=list[str])
    failures: list[Failure] = field(default_factory=list[Failure])

    def add(self, fields: dict[str, Any], warnings: Sequence[str] = ()) -> None:
        """Add fields. Those of an earlier sidecar aren't replaced."""
        self.fields = fields | self.fields
        self.warnings += [warning for warning in warnings if warning not in self.warnings]

    def finish(self, fingerprint: dict[str, Any] | None) -> Enrichment | Failure:
        # If a sidecar with the episode's name describes another episode, its numbers are doubtful.
        foreign = any(failure.code == "nfo_of_another" for failure in self.failures)
        if foreign or (self.failures and not self.fields):
            return self.failures[0]
        data: dict[str, Any] = {}
        if self.warnings:
            data["warnings"] = self.warnings
        if self.failures:
            data["unused"] = [{"code": failure.code, "message": failure.message} for failure in self.failures]
        return Enrichment(fields=self.fields, fingerprint=fingerprint, data=data or None)


def _add_film(answer: _Answer, sidecar: Sidecar | Failure) -> bool:
    """Add the fields of a film from a sidecar; return whether the sidecar describes a film."""
    if isinstance(sidecar, Failure):
        answer.failures.append(sidecar)
        return False
    roots = sorted((root for root in sidecar.roots if root.tag in _FILM_ROOTS), key=lambda r: _FILM_ROOTS.index(r.tag))
    if roots:
        details = Details(roots[0], sidecar.text)
        answer.add(details.fields, details.warnings)
    elif ids := add_addresses({}, sidecar.text, "movie"):
        answer.add({"provider_ids": ids})
    return bool(roots)


def _add_episode(answer: _Answer, asset: AssetView, sidecar: Sidecar | Failure | None, name: str) -> None:
    if isinstance(sidecar, Failure):
        answer.failures.append(sidecar)
    elif sidecar is not None and (roots := [root for root in sidecar.roots if root.tag == "episodedetails"]):
        root = _choose(roots, asset)
        if root is None:
            answer.failures.append(Failure("nfo_of_another", f"{name} doesn't describe this episode."))
        else:
            details = Details(root, sidecar.text)
            answer.add(details.fields, details.warnings)
    elif sidecar is not None and (ids := add_addresses({}, sidecar.text, "episodedetails")):
        answer.add({"provider_ids": ids})


def _choose(roots: Sequence[Element], asset: AssetView) -> Element | None:
    """Return the ``<episodedetails>`` that describes the asset."""
    for root in roots:
        numbers = number(root, "season"), number(root, "episode")
        if asset.episode_number is not None and numbers == (asset.season_number, asset.episode_number):
            return root
    # Without numbers to compare, the first one is the best guess; a single one without a number belongs to the file.
    unnumbered = len(roots) == 1 and number(roots[0], "episode") is None
    return roots[0] if unnumbered or asset.episode_number is None else None


def _add_show(answer: _Answer, sidecar: Sidecar | Failure) -> None:
    if isinstance(sidecar, Failure):
        answer.failures.append(sidecar)
        return
    for root in sidecar.roots:
        if root.tag == "tvshow":
            details = Details(root, sidecar.text)
            answer.add({_SHOW_FIELDS[name]: value for name, value in details.fields.items() if name in _SHOW_FIELDS})
            return
    if ids := add_addresses({}, sidecar.text, "tvshow"):
        answer.add({"show_provider_ids": ids})
