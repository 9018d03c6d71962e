"""The importer for directories of media files on this machine, or on what is mounted here.

Each directory in the source's directory is a collection; files that lie there directly make one of their own, whose
key is ``.``. What is found there is described by names and sizes alone; enrichers read the files.
"""

import errno
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import quote, unquote_to_bytes

import anyio
import anyio.to_thread
import msgspec

from retrovue.core.errors import (
    CollectionGone,
    IncompleteEnumeration,
    RequestError,
    SourceError,
    SourceUnreachable,
    WrongIdentity,
)
from retrovue.core.model import (
    AssetDraft,
    Collection,
    ConfigField,
    DiscoveredCollection,
    Ingestibility,
    Page,
    PartDraft,
    Rejection,
    Scope,
    Secret,
    SourceIdentity,
)
from retrovue.core.text import is_storable
from retrovue.importers.base import BaseImporter
from retrovue.importers.filesystem import names
from retrovue.importers.filesystem.scope import InScope
from retrovue.importers.filesystem.walk import DirectoryChanged, DirectoryLoop, Found, Refused, Walk
from retrovue.importers.waiting import waiting_for_source

ROOT = "."
"""The key of the collection of files that lie directly in the source's directory."""
PAGE = 500
"""Titles of a page."""
DIRECTORIES_AT_ONCE = 200
"""Directories that are read for a page at most, so that one that finds nothing doesn't take for ever."""
THREADS = 4
"""Directories of one source that are read at the same time; a disk gains nothing by more."""
LOOK_S = 10.0
"""A mount whose server is gone blocks for minutes; a disk that spins up answers in less than this."""
READ_S = 300.0
"""For a page: 200 directories of a slow network mount."""
_AWAY = frozenset(
    {
        errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)  # fmt: skip

T = TypeVar("T")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A filesystem source's configuration."""

    path: str
    kind: Literal["movie", "show", "music", "clip", "mixed"] | None = None
    machine_identifier: str | None = None
    """The directory that was added; the paths of its assets begin with it."""


class FilesystemImporter(BaseImporter):
    """Reads directories of media files."""

    type_name: ClassVar[str] = "filesystem"
    vouches_for_drafts: ClassVar[bool] = True
    paths_are_local: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Secret] | None = None) -> None:
        super().__init__(config, credentials)
        try:
            self._settings = msgspec.convert(dict(config), Settings)
        except msgspec.ValidationError as exc:
            raise RequestError(
                f"The source's configuration can't be used: {exc}.",
                code="bad_config",
                hint=f"The kind is one of {', '.join(names.KINDS)}.",
            ) from exc
        if not os.path.isabs(self._settings.path) or "\0" in self._settings.path:  # noqa: PTH117 - as everywhere here
            raise RequestError(
                f"{self._settings.path!r} is not an absolute path.",
                code="bad_config",
                hint="Name the directory from the root, as in --path /srv/media: commands may run anywhere.",
            )
        self._path = "/" + os.path.normpath(self._settings.path).lstrip("/")
        self._threads = anyio.CapacityLimiter(THREADS)

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return (
            ConfigField("path", "Directory that holds a directory for each collection, e.g. /srv/media"),
            ConfigField(
                "kind",
                f"What its collections hold: {', '.join(names.KINDS)}; without it their names tell",
                required=False,
            ),
        )

    async def check_reachable(self) -> SourceIdentity:
        """Look whether the directory is there and can be read; it is its own identity."""
        expected = self._settings.machine_identifier
        if expected is not None and expected != self._path:
            raise WrongIdentity(
                f"The source was added for {expected}, not for {self._path}: its assets are known by their paths.",
                hint="Add the other directory as a source of its own.",
                context={"expected": expected, "found": self._path},
            )
        await self._look(self._path)
        return SourceIdentity(identifier=self._path, name=self._path)

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the directories in the source's directory, and that itself if it holds media files directly."""
        return await self._reading(LOOK_S, self._path, lambda: _collections(self._path, self._settings.kind))

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the collection's directory can be read."""
        path = self._directory(collection)
        try:
            await self._look(path)
        except SourceUnreachable as exc:
            return Ingestibility(ingestible=False, code=exc.code, reason=f"{exc.message} {exc.hint or ''}".strip())
        return Ingestibility(ingestible=True)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncGenerator[Page, None]:
        """Generate the collection's pages; a tree that changes is read once more, and then given up."""
        for _ in range(2):
            in_scope = None if scope.is_full else InScope(collection, scope)
            walk = self._walk(collection)
            try:
                while (found := await self._more(collection, walk)) is not None:
                    page = self._page(collection, found)
                    if in_scope is not None:
                        in_scope.take(page)
                    elif page.source_items:
                        yield page
            except DirectoryChanged as exc:
                changed = exc.path
                yield Page([], [], 0, restart=True)
                continue
            if in_scope is not None:
                yield in_scope.page()
            return
        raise IncompleteEnumeration(
            f"{names.shown([changed])!r} changed while {collection.name!r} was read: what was read isn't proven to be"
            " all of it.",
            hint="Try again when nothing is copied or moved there.",
            context={"directory": names.shown([changed]), "collection": collection.name},
        )

    def _walk(self, collection: Collection) -> Walk:
        extras = self._kind(collection) == "clip" or collection.name.casefold() in names.EXTRAS
        recursive = collection.external_id != ROOT
        return Walk(self._directory(collection), recursive=recursive, extras=extras)

    def _kind(self, collection: Collection) -> str:
        return self._settings.kind or collection.kind

    def _directory(self, collection: Collection) -> str:
        if collection.external_id == ROOT:
            return self._path
        name = os.fsdecode(unquote_to_bytes(collection.external_id))
        if "/" in name or "\0" in name or name in {"", ".", ".."}:
            raise CollectionGone(f"{collection.external_id!r} doesn't name a directory of the source.")
        return os.path.join(self._path, name)  # noqa: PTH118 - names that aren't UTF-8 pass through as they are

    async def _look(self, path: str) -> None:
        """Open a directory and read its first entry; raises SourceUnreachable if that can't be done."""

        def look() -> None:
            if os.path.islink(path) and path != self._path:  # noqa: PTH114
                raise NotADirectoryError(errno.ENOTDIR, "It is a symbolic link, and links aren't followed", path)
            with os.scandir(path) as entries:
                next(entries, None)

        await self._reading(LOOK_S, path, look)

    async def _more(self, collection: Collection, walk: Walk) -> list[Found | Refused] | None:
        return await self._reading(
            READ_S, self._directory(collection), lambda: walk.more(PAGE, DIRECTORIES_AT_ONCE), midway=True
        )

    async def _reading(self, deadline_s: float, path: str, read: Callable[[], T], *, midway: bool = False) -> T:
        """Read the disk in a worker thread, and translate what the system says about it."""
        try:
            with waiting_for_source(), anyio.fail_after(deadline_s):
                # The thread of a hung mount can't be stopped: it is left behind, and ends when the mount answers.
                return await anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError as exc:
            raise SourceUnreachable(
                f"The directory {names.shown([path])} didn't answer within {deadline_s:g} seconds.",
                code="directory_timeout",
                hint="Check the mount and the server behind it.",
            ) from exc
        except DirectoryLoop as exc:
            raise IncompleteEnumeration(
                f"The directory {names.shown([exc.path])} contains itself.", hint="Check the file system."
            ) from exc
        except OSError as exc:
            raise _translated(exc, path, midway=midway) from exc

    def _page(self, collection: Collection, found: Sequence[Found | Refused]) -> Page:
        top = self._directory(collection)
        kind = self._kind(collection)
        page = Page([], [], len(found))
        for one in found:
            names_of_parts = (one.name,) if isinstance(one, Refused) else tuple(part.name for part in one.parts)
            directory = "/".join((top.rstrip("/"), *one.directories))
            paths = [f"{directory}/{name}" for name in names_of_parts]
            uri = "file://" + quote(os.fsencode(paths[0]))
            known = names.read_name(names_of_parts, one.directories)
            if isinstance(one, Refused):
                reason = f"{names.shown(paths)!r} can't be used: {one.reason}"
                page.rejected.append(Rejection(one.code, reason, uri, known.title))
            elif not is_storable("".join(paths)):
                reason = f"the name of {names.shown(paths)!r} isn't valid UTF-8: rename the file or its directory"
                page.rejected.append(Rejection("undecodable_name", reason, uri, known.title))
            else:
                page.drafts.append(_draft(uri, paths, one, names.asset_type(kind, names_of_parts[0], known), known))
        return page


def _draft(uri: str, paths: Sequence[str], found: Found, type_: str, known: names.Name) -> AssetDraft:
    parts = tuple(PartDraft(path, file.size) for path, file in zip(paths, found.parts, strict=True))
    episode = type_ == "episode"
    return AssetDraft(
        source_uri=uri,
        type=type_,
        title=known.title,
        show_title=known.show_title if episode else None,
        season_number=known.season if episode else None,
        episode_number=known.episode if episode else None,
        year=known.year,
        container=names.extension(found.parts[0].name),
        parts=parts,
    )


def _collections(path: str, kind: str | None) -> list[DiscoveredCollection]:
    """List a directory's directories, in the order of their names. Blocks."""
    directories: list[str] = []
    holds_files = False
    with os.scandir(path) as entries:
        for entry in entries:
            if names.is_ignored(entry.name) or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            elif not holds_files:
                holds_files = names.is_media(entry.name) and not names.is_extra(entry.name)
    found = [
        DiscoveredCollection(_key(name), names.shown([name]), kind or names.kind_of(name), (_key(f"{path}/{name}"),))
        for name in sorted(directories)
    ]
    if holds_files:
        own = names.shown([os.path.basename(path)]) or path  # noqa: PTH119
        found.insert(0, DiscoveredCollection(ROOT, own, kind or names.kind_of(own), (path,)))
    return found


def _key(name: str) -> str:
    """Return a name as it is, but for ``%`` and bytes that aren't UTF-8, which text can't hold: they are escaped."""
    escaped = name.replace("%", "%25")
    return "".join(quote(os.fsencode(one)) if "\udc80" <= one <= "\udcff" else one for one in escaped)


def _translated(exc: OSError, path: str, *, midway: bool) -> SourceError:
    where = names.shown([os.fsdecode(exc.filename) if isinstance(exc.filename, str | bytes) else path])
    said = exc.strerror or type(exc).__name__
    missing = isinstance(exc, FileNotFoundError | NotADirectoryError)
    if midway and not missing and exc.errno not in _AWAY:
        return IncompleteEnumeration(
            f"The directory {where} can't be read ({said}): what was read isn't all of the collection.",
            code="unreadable_directory",
            hint="Let this account read it, or leave it out with an empty file named .ignore in the one above.",
            context={"directory": where},
        )
    code = "missing_directory" if missing else "unreadable_directory"
    return SourceUnreachable(
        f"The directory {where} can't be read ({said}).",
        code=code,
        hint="Is a disk not mounted? Check the path." if missing else "Check its permissions and the mount.",
        context={"directory": where},
    )
