"""The importer for directories of media files, local or mounted.

Each directory in the source's directory is a collection, with its name as the key. Media files directly in the source's
directory are another collection, with the key ``.``. The importer reads names and sizes only; enrichers read the files.
"""

import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import quote, unquote_to_bytes

import anyio
import anyio.to_thread
import msgspec

from retrovue.core.answers import ChangesRead, DiscoveredCollection, Ingestibility, SourceIdentity
from retrovue.core.bounds import LONGEST_WAIT_S
from retrovue.core.errors import (
    ChangesUnknown,
    CollectionGone,
    IncompleteEnumeration,
    RequestError,
    SourceError,
    SourceUnreachable,
    WrongIdentity,
)
from retrovue.core.model import Collection, ConfigField, Secret
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import Scope
from retrovue.core.text import quoted
from retrovue.importers.base import BaseImporter, ChangeHint
from retrovue.importers.configuration import convert_settings
from retrovue.importers.filesystem import exclusions, names
from retrovue.importers.filesystem.drafts import PageMaker
from retrovue.importers.filesystem.precedence import Precedence
from retrovue.importers.filesystem.selection import Selection
from retrovue.importers.filesystem.targets import EVERYTHING, Targets
from retrovue.importers.filesystem.titles import shown
from retrovue.importers.filesystem.walk import DirectoryChanged, DirectoryLoop, Title, Unusable, Walk
from retrovue.importers.filesystem.watching import Directories, watching
from retrovue.importers.waiting import waiting_for_source

ROOT = "."
"""The key of the collection of the files directly in the source's directory."""
PAGE = 500
"""The most titles of a page."""
DIRECTORIES_AT_ONCE = 200
"""The most directories that are read in one step, which has a deadline."""
SILENT_S = 1.0
"""After so many seconds without a page an empty one is yielded, because whoever waits for a page has a deadline."""
THREADS = 4
"""Directories of one source that are read at the same time; more isn't faster on a disk."""
_DISCONNECTED = frozenset(
    {
        errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)  # fmt: skip

T = TypeVar("T")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a filesystem source."""

    path: str
    kind: Literal["movie", "show", "music", "clip", "mixed"] | None = None
    machine_identifier: str | None = None
    """The directory of the source; the paths of its assets begin with it."""
    mount_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_WAIT_S)] = 10.0
    """The deadline for one directory: a disk spins up in less, and a mount blocks for minutes if its server is gone."""
    read_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_WAIT_S)] = 300.0
    """The deadline for 200 directories of a slow network mount."""


class FilesystemImporter(BaseImporter):
    """Reads directories of media files."""

    type_name: ClassVar[str] = "filesystem"
    drafts_are_checked: ClassVar[bool] = True
    paths_are_local: ClassVar[bool] = True
    marks_sidecars: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Secret] | None = None) -> None:
        super().__init__(config, credentials)
        self._settings = convert_settings(config, Settings, hint=f"The kind is one of {', '.join(names.KINDS)}.")
        if not os.path.isabs(self._settings.path) or "\0" in self._settings.path:  # noqa: PTH117 - as everywhere here
            raise RequestError(
                f"{quoted(self._settings.path)} is not an absolute path.",
                code="bad_config",
                hint="Name the directory from the root, as in --path /srv/media: commands may run anywhere.",
            )
        self._path = "/" + os.path.normpath(self._settings.path).lstrip("/")
        self._threads = anyio.CapacityLimiter(THREADS)
        self._precedence = Precedence()

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Return the settings of a source."""
        return (
            ConfigField("path", "Directory that holds a directory for each collection, e.g. /srv/media", kind="file"),
            ConfigField(
                "kind",
                f"What its collections hold: {', '.join(names.KINDS)}; without it their names tell",
                required=False,
            ),
            ConfigField("mount_timeout_s", "Longest check of a directory; default: 10 seconds", required=False),
            ConfigField("read_timeout_s", "Longest time to read 200 directories; default: 300 seconds", required=False),
        )

    async def check_reachable(self) -> SourceIdentity:
        """Check that the source's directory can be read; its path is its identity."""
        expected = self._settings.machine_identifier
        if expected is not None and expected != self._path:
            raise WrongIdentity(
                f"The source was added for {expected}, not for {self._path}: its assets are known by their paths.",
                hint="Add the other directory as a new source.",
                context={"expected": expected, "found": self._path},
            )
        await self._look(self._path)
        return SourceIdentity(identifier=self._path, name=self._path)

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the directories in the source's directory, and the directory itself first if it contains media files."""
        return await self._in_thread(
            self._settings.mount_timeout_s, self._path, lambda: _collections(self._path, self._settings.kind)
        )

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Return whether the collection's directory can be read."""
        path = self._directory(collection)
        try:
            await self._look(path)
        except SourceUnreachable as exc:
            return Ingestibility(ingestible=False, code=exc.code, reason=f"{exc.message} {exc.hint or ''}".strip())
        return Ingestibility(ingestible=True)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncGenerator[Page | Outline, None]:
        """Yield the collection's pages; start again, once, if the tree changes meanwhile."""
        outlines = scope.is_full and collection.assets_count > 0
        async with aclosing(self._walked(collection, outlines=outlines)) as pages:
            if scope.is_full:
                async for page in pages:
                    yield page
                return
            selection = Selection(collection, scope, self._directory(collection))
            async for page in pages:
                if isinstance(page, Outline):
                    selection.add(await page.read())
                elif page.restart:
                    selection = Selection(collection, scope, self._directory(collection))
                    yield page
                else:
                    selection.add(page)
            yield selection.page()

    async def items(self, collection: Collection, keys: Sequence[str]) -> AsyncGenerator[Page, None]:
        """Yield the pages of single directories, by the keys that `change_hints` names, without a total of all items.

        Raises ChangesUnknown if one of them doesn't exist.
        """
        try:
            Targets(keys)
        except ValueError as exc:
            raise ChangesUnknown(
                f"{quoted(str(exc))} isn't the path of a directory in {collection.display_name}."
            ) from exc
        async with aclosing(self._walked(collection, keys)) as pages:
            async for page in pages:
                yield await page.read() if isinstance(page, Outline) else page
        yield Page([], [], 0, changes=ChangesRead(None))

    @asynccontextmanager
    async def change_hints(self, collections: Sequence[Collection]) -> AsyncIterator[AsyncIterator[ChangeHint]]:
        """Watch the directories of collections until the block ends; those on network file systems are polled."""
        directories = Directories(
            {collection.external_id: self._directory(collection) for collection in collections}, ROOT
        )
        for path in directories.by_library.values():
            await self._look(path)
        async with watching(directories) as hints:
            yield hints

    async def _walked(
        self, collection: Collection, keys: Sequence[str] = (EVERYTHING,), *, outlines: bool = False
    ) -> AsyncGenerator[Page | Outline, None]:
        """Yield the pages of a walk to the directories of keys; start again, once, if the tree changes meanwhile.

        With ``outlines`` a page without rejections is yielded as an outline.
        """
        top = self._directory(collection)
        maker = PageMaker(top, self._kind(collection))
        for _ in range(2):
            targets = Targets(keys)
            walk = self._walk(collection, targets)
            try:
                async with aclosing(self._batches(collection, walk)) as batches:
                    async for titles in batches:
                        warnings = {f"left_out_{reason}": count for reason, count in walk.left_out.items()}
                        walk.left_out.clear()
                        outline = maker.outline(titles) if outlines and titles else None
                        if warnings or outline is None:
                            page = maker.page(titles if outline is None else [])
                            page.warnings = warnings
                            yield page
                        if outline is not None:
                            yield outline
            except DirectoryChanged as exc:
                changed = shown([exc.path])
                yield Page([], [], 0, restart=True)
                continue
            missing = await self._in_thread(self._settings.mount_timeout_s, top, partial(targets.missing, top))
            if missing is not None:
                raise ChangesUnknown(f"The directory {shown([missing])} isn't there any more.")
            return
        raise IncompleteEnumeration(
            f"{quoted(changed)} changed while {collection.display_name} was read:"
            " it isn't proven that all of it was read.",
            hint="Try again when nothing is copied or moved there.",
            context={"directory": changed, "collection": collection.name},
        )

    def _walk(self, collection: Collection, targets: Targets | None = None) -> Walk:
        extras = self._kind(collection) == "clip" or collection.name.casefold() in exclusions.EXTRAS
        recursive = collection.external_id != ROOT
        return Walk(self._directory(collection), recursive=recursive, extras=extras, targets=targets)

    def _kind(self, collection: Collection) -> str:
        return self._settings.kind or collection.kind

    def _directory(self, collection: Collection) -> str:
        if collection.external_id == ROOT:
            return self._path
        name = os.fsdecode(unquote_to_bytes(collection.external_id))
        if "/" in name or "\0" in name or name in {"", ".", ".."}:
            raise CollectionGone(f"{quoted(collection.external_id)} doesn't name a directory of the source.")
        return os.path.join(self._path, name)  # noqa: PTH118 - names that aren't UTF-8 pass through as they are

    async def _look(self, path: str) -> None:
        """Open a directory and read its first entry; raise SourceUnreachable if that fails."""

        def look() -> None:
            if os.path.islink(path) and path != self._path:  # noqa: PTH114
                raise NotADirectoryError(errno.ENOTDIR, "It is a symbolic link, and links aren't followed", path)
            with os.scandir(path) as entries:
                next(entries, None)

        await self._in_thread(self._settings.mount_timeout_s, path, look)

    async def _batches(self, collection: Collection, walk: Walk) -> AsyncGenerator[list[Title | Unusable], None]:
        """Yield the titles of each page, and an empty list each time that reading them takes longer than `SILENT_S`.

        Walks that don't wait for the disk run one after the other: each system call of a thread may hand over to
        another one, which costs more than reading a directory from the system's cache.
        """
        titles: list[Title | Unusable] = []
        began = anyio.current_time()
        place = self._precedence.place()
        try:
            await self._precedence.turn(place)
            while (more := await self._more(collection, walk, PAGE - len(titles))) is not None:
                titles += more
                if len(titles) == PAGE:
                    full, titles = titles, []
                    yield full
                    began = anyio.current_time()
                elif anyio.current_time() - began >= SILENT_S:
                    yield []
                    began = anyio.current_time()
                await self._precedence.turn(place)
            if titles or walk.left_out:
                yield titles
        finally:
            self._precedence.rest(place)

    async def _more(self, collection: Collection, walk: Walk, most: int) -> list[Title | Unusable] | None:
        return await self._in_thread(
            self._settings.read_timeout_s,
            self._directory(collection),
            lambda: walk.more(most, DIRECTORIES_AT_ONCE),
            midway=True,
        )

    async def _in_thread(self, deadline_s: float, path: str, read: Callable[[], T], *, midway: bool = False) -> T:
        """Read the disk in a worker thread; raise its errors, and a missed deadline, as SourceError."""
        try:
            with waiting_for_source(), anyio.fail_after(deadline_s):
                # A thread that waits for a dead mount can't be stopped, so it is abandoned. It ends when the mount
                # answers.
                return await anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError as exc:
            raise SourceUnreachable(
                f"The directory {shown([path])} didn't answer within {deadline_s:g} seconds.",
                code="directory_timeout",
                hint="Check the mount and the server behind it, or allow more time:"
                f" `retrovue source update SOURCE {'--read-timeout' if midway else '--mount-timeout'} SECONDS`.",
            ) from exc
        except DirectoryLoop as exc:
            raise IncompleteEnumeration(
                f"The directory {shown([exc.path])} contains itself.", hint="Check the file system."
            ) from exc
        except OSError as exc:
            raise _source_error(exc, path, midway=midway) from exc


def _collections(path: str, kind: str | None) -> list[DiscoveredCollection]:
    """List the collections of a source's directory, in the order of their names. Blocks."""
    directories: list[str] = []
    holds_files = False
    with os.scandir(path) as entries:
        for entry in entries:
            if exclusions.is_ignored(entry.name) or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            elif not holds_files:
                holds_files = exclusions.is_media(entry.name) and not exclusions.is_extra(entry.name)
    collections = [
        DiscoveredCollection(_key(name), shown([name]), kind or names.kind_of(name), (_key(f"{path}/{name}"),))
        for name in sorted(directories)
    ]
    if holds_files:
        own_name = shown([os.path.basename(path)]) or path  # noqa: PTH119
        collections.insert(0, DiscoveredCollection(ROOT, own_name, kind or names.kind_of(own_name), (path,)))
    return collections


def _key(name: str) -> str:
    """Return a name with ``%`` and bytes that aren't UTF-8 percent-encoded, because a key has to be storable text."""
    return "".join(quote(os.fsencode(c)) if c == "%" or "\udc80" <= c <= "\udcff" else c for c in name)


def _source_error(exc: OSError, path: str, *, midway: bool) -> SourceError:
    where = shown([os.fsdecode(exc.filename) if isinstance(exc.filename, str | bytes) else path])
    error = exc.strerror or type(exc).__name__
    missing = isinstance(exc, FileNotFoundError | NotADirectoryError)
    if midway and not missing and exc.errno not in _DISCONNECTED:
        return IncompleteEnumeration(
            f"The directory {where} can't be read ({error}): what was read isn't all of the collection.",
            code="unreadable_directory",
            hint="Let this account read it, or leave it out with an empty file named .ignore in the one above.",
            context={"directory": where},
        )
    code = "missing_directory" if missing else "unreadable_directory"
    return SourceUnreachable(
        f"The directory {where} can't be read ({error}).",
        code=code,
        hint="Is the disk mounted? Check the path." if missing else "Check its permissions and the mount.",
        context={"directory": where},
    )
