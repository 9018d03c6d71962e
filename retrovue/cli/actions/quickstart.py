"""The quickstart: from a server's address to its first ingest, asking for what no option gives."""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from msgspec import Struct

from retrovue.cli.actions.collections import here, read_mapping
from retrovue.cli.actions.connect import Connection, ServerType, adding_source, connect, refuse
from retrovue.cli.actions.ingest import ingest_source
from retrovue.cli.asking import ask, can_ask, read_secret
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import table
from retrovue.core.config import TOKEN
from retrovue.core.errors import RequestError
from retrovue.core.model import ConfigField, PathMapping, Secret, Source
from retrovue.core.paths import check_mapping
from retrovue.ingest.documents import collection_identity
from retrovue.ingest.options import DEFAULT_CONCURRENCY
from retrovue.operations import curation, discovery
from retrovue.operations.catalogue import Store, list_sources
from retrovue.operations.survey import LibrarySurvey, Survey, add_mapping, enable_library, survey

_ALL = "all"
_SHOWN = 5
"""How many locations a message names."""


class Options(Struct, frozen=True):
    """The options of the command. Missing ones are asked for."""

    server: ServerType
    url: str | None
    tls: Mapping[str, Any]
    """The given settings for https."""
    token_file: str | None
    sign_in: bool
    name: str | None
    libraries: tuple[str, ...]
    maps: tuple[str, ...]
    look_in: tuple[str, ...]
    check_files: bool
    yes: bool
    plex_tv: str


async def set_up(call: Invocation, options: Options) -> int:
    """Ask, show the plan, write the source and its collections, and ingest; return the exit status."""
    _require_answers(call, options)
    maps = [here(read_mapping(text)) for text in options.maps]
    roots = [_directory(root) for root in options.look_in]
    token = ConfigField("token", options.server.token, secret=True, required=False)
    given = read_secret(call, token, None, options.token_file)
    async with opened(call, connections=DEFAULT_CONCURRENCY) as store:
        sources = [listing.source for listing in await list_sources(store)]
        connection = await connect(
            call,
            options.server,
            sources,
            options.url,
            given,
            tls=options.tls,
            sign_in=options.sign_in,
            plex_tv=options.plex_tv,
        )
        return await _Quickstart(call, options, store, sources, connection).run(maps, roots)


def _require_answers(call: Invocation, options: Options) -> None:
    if options.sign_in and not options.server.has_sign_in:
        raise InputError(
            f"--sign-in is for Plex; a {options.server.name} server takes its {options.server.token}.",
            hint="Give it with --token-file.",
        )
    if can_ask(call):
        return
    has_token = options.token_file is not None or options.sign_in or bool(os.environ.get(TOKEN))
    missing = [] if options.url else ["--url"]
    missing += [] if has_token else ["--token-file"]
    missing += [] if options.libraries else ["--library"]
    missing += [] if options.yes or call.dry_run else ["--yes"]
    if missing:
        raise InputError(
            f"There is no terminal to ask on, and these options are missing: {', '.join(missing)}.",
            code="answers_missing",
            hint="Give them, as `retrovue quickstart --help` shows; --library all takes every library.",
            context={"missing": missing},
        )


def _directory(root: str) -> str:
    directory = here(PathMapping("/", root)).local_path
    if not Path(directory).is_dir():
        raise InputError(
            f"The directory {directory} of --look-in doesn't exist.",
            code="missing_directory",
            hint="Mount it, or correct --look-in.",
        )
    return directory


class _Quickstart(Struct):
    """A quickstart whose server was found. ``run`` asks which libraries to ingest, and where their files are."""

    call: Invocation
    options: Options
    store: Store
    sources: Sequence[Source]
    """The sources of the catalogue."""
    connection: Connection

    async def run(self, maps: Sequence[PathMapping], roots: Sequence[str]) -> int:
        call, options = self.call, self.options
        self._say(["Reading the server, and looking for its files on this machine ..."])
        with adding_source():
            found = await survey(
                self.store, *self._server(), maps=maps, roots=roots or None, check_files=options.check_files
            )
        self._say(self._overview(found))
        chosen = await self._choose(found)
        self._say(["", "This will be done:", *self._plan(found, chosen)])
        if call.dry_run:
            return _report_dry_run(call, found, chosen)
        if not options.yes and not self._agreed():
            raise InputError("Not confirmed; nothing was changed.", code="not_confirmed")
        source = await self._write(found, chosen)
        self._say([""])
        # In the same open catalogue, so that an embedded database needn't stop and start again.
        status = await ingest_source(call, str(source.id))
        self._say(["", "Next:", *_next(source)])
        return status

    def _server(self) -> tuple[str, dict[str, Any], dict[str, Secret]]:
        return self.options.server.type, self.connection.config, self.connection.credentials

    def _say(self, lines: Sequence[str]) -> None:
        # On standard error, because standard output has the report of the ingest.
        if not self.call.output.quiet:
            self.call.output.notes(lines)

    def _overview(self, found: Survey) -> list[str]:
        known = "" if found.source is None else f", the source '{found.source.name}'"
        rows = [
            (
                library.collection.name,
                number,
                library.collection.kind,
                _files_here(library),
                "yes" if library.collection.sync_enabled else "",
            )
            for number, library in enumerate(found.libraries, 1)
        ]
        problems = [
            f"{library.collection.name}: {library.answer.reason}"
            for library in found.libraries
            if not _can_be_ingested(library)
        ]
        noun = "library" if len(rows) == 1 else "libraries"
        return [
            f"{self.options.server.name} server at {self.connection.config['base_url']}{known}: {len(rows)} {noun}",
            "",
            *table(("Library", "No.", "Kind", "Files here", "Enabled"), rows, numbers=(1,)),
            *(["", *problems] if problems else []),
        ]

    async def _choose(self, found: Survey) -> list[LibrarySurvey]:
        """Return the libraries that the operator wants, with mappings of all their locations."""
        names = self.options.libraries
        wanted = _named(names, found.libraries) if names else self._ask_which(found.libraries)
        asking = can_ask(self.call) and not self.options.yes
        chosen: list[LibrarySurvey] = []
        for library in wanted:
            mapped = await self._ask_where(library) if asking else library
            if mapped.answer.ingestible:
                chosen.append(mapped)
            elif asking:
                self.call.output.notes([f"{library.collection.name} is left out: {_reason(mapped)}"])
            else:
                raise InputError(
                    f"Library '{library.collection.name}' can't be ingested: {_reason(mapped)}",
                    code=mapped.answer.code or "not_ingestible",
                    hint=f"Nothing was changed. {_way_out(mapped)}",
                    context={"missing": ["--map"] if mapped.unmapped else []},
                )
        if not chosen:
            raise InputError(
                "No library was picked that can be ingested; nothing was changed.",
                code="nothing_picked",
                hint="Run the command again, and say by --map where the files of a library are on this machine.",
            )
        return chosen

    def _ask_which(self, libraries: Sequence[LibrarySurvey]) -> list[LibrarySurvey]:
        ready = [library for library in libraries if library.answer.ingestible and _is_wanted_unnamed(library)]
        default = f"only Enter: the {len(ready)} found" if ready else "only Enter: none"
        while True:
            answer = ask(self.call, f"Which ones? (numbers such as 1 3 or 2-4, {_ALL}; {default}) ")
            if not answer:
                return ready
            if answer.lower() == _ALL:
                return [library for library in libraries if _is_wanted_unnamed(library)]
            numbers = picked_numbers(answer, len(libraries))
            if numbers is not None:
                return [libraries[number - 1] for number in numbers]
            if named := _fitting(answer, libraries):
                return named
            self.call.output.notes([f"Numbers from 1 to {len(libraries)}, please, the name of a library, or {_ALL}."])

    async def _ask_where(self, library: LibrarySurvey) -> LibrarySurvey:
        """Ask where a library's files are, until each location has a mapping or the operator leaves the library out."""
        while library.unmapped:
            location = library.unmapped[0]
            question = f"{library.collection.name}: where is {location} on this machine? (only Enter: leave it out) "
            where = ask(self.call, question)
            if not where:
                break
            connection = self.connection
            try:
                mapping = check_mapping(here(PathMapping(location, where)))
                tried = await add_mapping(
                    self.options.server.type, connection.config, connection.credentials, library, mapping
                )
            except RequestError as exc:
                refuse(self.call, exc)
                continue
            if tried.answer.ingestible or (tried.unmapped and not tried.lost):
                library = tried
            else:
                self.call.output.notes([tried.answer.reason or "The library can't be ingested from there."])
        return library

    def _agreed(self) -> bool:
        while True:
            answer = ask(self.call, "Do it? [Y/n] ").lower()
            if answer in {"", "y", "yes"}:
                return True
            if answer in {"n", "no"}:
                return False

    def _plan(self, found: Survey, chosen: Sequence[LibrarySurvey]) -> list[str]:
        url = self.connection.config["base_url"]
        lines = [f"  use the source '{found.source.name}'" if found.source else f"  add a source for {url}"]
        for library in chosen:
            lines.append(f"  enable {library.collection.name}")
            lines += [f"    its files: {new.source_prefix} = {new.local_path}" for new in library.new_mappings]
        return [*lines, "  ingest what is enabled"]

    async def _write(self, found: Survey, chosen: Sequence[LibrarySurvey]) -> Source:
        """Write the source and its collections, each in a transaction. After an interruption, run it again."""
        source, config, credentials = found.source, self.connection.config, self.connection.credentials
        self._say(["Adding the source ..." if source is None else "Looking up its libraries ..."])
        if source is None:
            name = self.options.name or self._free_name()
            source = await discovery.add_source(self.store, self.options.server.type, name, config, credentials)
        elif source.config != {**source.config, **config} or source.credentials != credentials:
            source = await curation.update_source(self.store, str(source.id), config=config, credentials=credentials)
        await discovery.discover(self.store, str(source.id))
        for library in chosen:
            self._say([f"Enabling {library.collection.name} ..."])
            await enable_library(self.store, source, library)
        return source

    def _free_name(self) -> str:
        name = self.options.server.name
        taken = {source.name for source in self.sources}
        names = (name if number == 1 else f"{name} {number}" for number in count(1))
        return next(free for free in names if free not in taken)


def _can_be_ingested(library: LibrarySurvey) -> bool:
    """Return whether the library is ingestible, or may be once mappings are added."""
    return library.answer.ingestible or bool(library.unmapped)


def _is_wanted_unnamed(library: LibrarySurvey) -> bool:
    """Return whether the library is taken without being named: it can be ingested, and isn't a library of photos."""
    return _can_be_ingested(library) and library.collection.kind not in {"photo", "photos"}


def _named(names: Sequence[str], libraries: Sequence[LibrarySurvey]) -> list[LibrarySurvey]:
    if _ALL in names:
        return [library for library in libraries if _is_wanted_unnamed(library)]
    picked: dict[str, LibrarySurvey] = {}
    for name in names:
        fitting = _fitting(name, libraries)
        if not fitting:
            raise InputError(
                f"The server has no library '{name}'.",
                code="collection_not_found",
                hint=f"It has: {', '.join(library.collection.name for library in libraries)}.",
            )
        picked |= {library.collection.external_id: library for library in fitting}
    return list(picked.values())


def _fitting(name: str, libraries: Sequence[LibrarySurvey]) -> list[LibrarySurvey]:
    """Return the libraries of a name or a key; if there are none, those of that name in other letter case."""
    exact = [library for library in libraries if name in {library.collection.name, library.collection.external_id}]
    return exact or [library for library in libraries if library.collection.name.casefold() == name.casefold()]


def _reason(library: LibrarySurvey) -> str:
    """Return why a library can't be ingested, without a command: its collection may not be in the catalogue yet."""
    if library.unmapped and not library.lost:
        shown = ", ".join(library.unmapped[:_SHOWN])
        more = f" and {len(library.unmapped) - _SHOWN} more" if len(library.unmapped) > _SHOWN else ""
        return f"It isn't known where {shown}{more} is on this machine."
    return library.answer.reason or "It isn't ingestible."


def _way_out(library: LibrarySurvey) -> str:
    if library.unmapped:
        return " ".join(f"Give --map {location}=LOCAL." for location in library.unmapped)
    if library.lost:
        return "Correct --map, or give --no-check-files if the files are meant to be on another machine."
    return "Leave it out."


def picked_numbers(answer: str, most: int) -> list[int] | None:
    """Read numbers and ranges separated by blanks or commas; None for other text, or a number out of range."""
    numbers: set[int] = set()
    for word in re.split(r"[\s,]+", answer.strip()):
        span = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", word)
        if span is None:
            return None
        first, last = int(span[1]), int(span[2] or span[1])
        if not 1 <= first <= last <= most:
            return None
        numbers |= set(range(first, last + 1))
    return sorted(numbers)


def _files_here(library: LibrarySurvey) -> str:
    """Return whether the files of a library were found on this machine, as a cell of the table."""
    if library.empty:
        return "empty"
    return "found" if library.answer.ingestible else "not found" if library.unmapped else "no"


def _report_dry_run(call: Invocation, found: Survey, chosen: Sequence[LibrarySurvey]) -> int:
    unknown = {"id": None} if found.source is None else {}
    collections = [
        {
            **collection_identity(library.collection),
            **unknown,
            "path_mappings": [[new.source_prefix, new.local_path] for new in library.new_mappings],
        }
        for library in chosen
    ]
    source = None if found.source is None else found.source.external_id
    document = {"dry_run": True, "source": source, "collections": collections}
    return call.answer(document, ["Dry run: nothing was written."])


def _next(source: Source) -> list[str]:
    commands = {
        f"retrovue source ingest {source.external_id}": "ingest what is new, as often as you like",
        f"retrovue source ingest {source.external_id} --retry-failed": "ingest only what failed",
        "retrovue asset list": "list the assets; `asset approve` lets them be broadcast",
        "retrovue doctor": "check that everything is well",
    }
    return [line for command, purpose in commands.items() for line in (f"  {command}", f"      {purpose}")]
