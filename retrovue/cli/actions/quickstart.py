"""The quickstart: from a server's address to its first ingest, asking for what wasn't given as an option."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from retrovue.cli.actions.collections import read_mapping
from retrovue.cli.actions.ingest import ingest_source
from retrovue.cli.asking import ask, ask_secret, can_ask, checked_secret, read_secret
from retrovue.cli.errors import OK, InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import table
from retrovue.core.config import TOKEN
from retrovue.core.errors import RequestError
from retrovue.core.model import ConfigField, PathMapping, Secret, Source
from retrovue.core.paths import check_mapping
from retrovue.importers.plex.account import PlexAccount
from retrovue.ingest.documents import collection_identity
from retrovue.ingest.orchestrator import DEFAULT_CONCURRENCY
from retrovue.operations import curation, discovery
from retrovue.operations.catalogue import Store, list_sources
from retrovue.operations.survey import LibrarySurvey, Survey, add_mapping, survey

_ALL = "all"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of server that a quickstart can set up, in the words of those who run it."""

    type: str
    name: str
    address: str
    """An example of one."""
    token: str
    """What its token is called there."""
    sign_in: bool = False
    """Whether there is an account to sign in to with a browser."""


KINDS = {
    "plex": Kind("plex", "Plex", "http://192.168.1.10:32400", "X-Plex-Token", sign_in=True),
    "jellyfin": Kind("jellyfin", "Jellyfin", "http://192.168.1.10:8096", "API key"),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered by options."""

    kind: Kind
    url: str | None
    token_file: str | None
    sign_in: bool
    name: str | None
    libraries: tuple[str, ...]
    maps: tuple[str, ...]
    look_in: tuple[str, ...]
    yes: bool
    plex_tv: str


async def set_up(call: Invocation, answers: Answers) -> int:
    """Ask, show, and only then write: the source, its collections with their mappings, and the ingest."""
    maps = [read_mapping(text) for text in answers.maps]
    kind = answers.kind
    _require_answers(call, answers)
    field = ConfigField("token", kind.token, secret=True, required=False)
    token = read_secret(call, field, None, answers.token_file)
    async with opened(call, connections=DEFAULT_CONCURRENCY) as store:
        url = answers.url or ask(call, f"Address of the {kind.name} server (such as {kind.address}): ")
        credentials = await _credentials(call, answers, store, url, token)
        _say(call, ["Looking at the server and at the disks here ..."])
        settings: dict[str, Any] = {"base_url": url}
        found = await survey(store, kind.type, settings, credentials, maps=maps, roots=answers.look_in or None)
        _say(call, _overview(kind, url, found))
        chosen = await _choose(call, answers, found, settings, credentials)
        _say(call, ["", "This will be done:", *_plan(found, chosen, url)])
        if call.dry_run:
            return _told_dry_run(call, found, chosen)
        if not answers.yes and ask(call, "Do it? [Y/n] ").lower() not in {"", "y", "yes"}:
            raise InputError("Not confirmed; nothing was changed.", code="not_confirmed")
        source = await _write(store, answers, found, chosen, settings, credentials)
        _say(call, [""])
        # In here, so that an embedded database needn't be stopped and started in between.
        status = await ingest_source(call, str(source.id))
    _say(call, ["", "Next:", *_next(source)])
    return status


def _say(call: Invocation, lines: Sequence[str]) -> None:
    # The talk goes beside the data: the standard output has the ingest's report.
    if not call.output.quiet:
        call.output.notes(lines)


def _require_answers(call: Invocation, answers: Answers) -> None:
    if answers.sign_in and not answers.kind.sign_in:
        raise InputError(
            f"--sign-in is for Plex; a {answers.kind.name} server takes its {answers.kind.token}.",
            hint="Give it with --token-file.",
        )
    if can_ask(call):
        return
    token = answers.token_file is not None or answers.sign_in or bool(os.environ.get(TOKEN))
    missing = [] if answers.url else ["--url"]
    missing += [] if token else ["--token-file"]
    missing += [] if answers.libraries else ["--library"]
    missing += [] if answers.yes or call.dry_run else ["--yes"]
    if missing:
        raise InputError(
            f"There is no terminal to ask on, and these options are missing: {', '.join(missing)}.",
            code="answers_missing",
            hint="Give them, as `retrovue quickstart --help` shows; --library all takes every library.",
            context={"missing": missing},
        )


async def _credentials(
    call: Invocation, answers: Answers, store: Store, url: str, given: Secret | None
) -> dict[str, Secret]:
    kind = answers.kind
    if given is not None:
        return {"token": given}
    if not answers.sign_in:
        known = await _known_token(store, kind, url)
        if known is not None:
            _say(call, ["The token is known from last time."])
            return {"token": known}
        enter = "; only Enter: sign in with a browser" if kind.sign_in else ""
        typed = ask_secret(call, f"{kind.token} (nothing is shown{enter}): ")
        if typed or not kind.sign_in:
            return {"token": checked_secret(typed, "what was typed")}
    async with PlexAccount(answers.plex_tv) as account:
        pin = await account.ask_for_pin()
        minutes = f"{pin.expires_in / 60:.0f} minutes"
        # Also with --quiet: without it nobody could go on.
        call.output.notes([f"Sign in with any browser within {minutes}:", f"  {account.address(pin)}"])
        return {"token": await account.token(pin)}


async def _known_token(store: Store, kind: Kind, url: str) -> Secret | None:
    listings = await list_sources(store)
    same = [one.source for one in listings if one.source.type == kind.type and one.source.config.get("base_url") == url]
    return same[0].credentials.get("token") if same else None


def _overview(kind: Kind, url: str, found: Survey) -> list[str]:
    known = "" if found.source is None else f", the source {found.source.name!r}"
    rows = [
        (one.collection.name, number, one.collection.kind, _where(one), "yes" if one.collection.sync_enabled else "")
        for number, one in enumerate(found.libraries, 1)
    ]
    problems = [f"{one.collection.name}: {one.answer.reason}" for one in found.libraries if _hopeless(one)]
    return [
        f"{kind.name} server at {url}{known}: {len(rows)} {'library' if len(rows) == 1 else 'libraries'}",
        "",
        *table(("Library", "No.", "Kind", "Files here", "Enabled"), rows, numbers=(1,)),
        *(["", *problems] if problems else []),
    ]


def _where(one: LibrarySurvey) -> str:
    if one.answer.ingestible:
        return "found"
    return "not found" if one.unmapped else "no"


def _hopeless(one: LibrarySurvey) -> bool:
    """Whether no mapping would make the library ingestible."""
    return not one.answer.ingestible and not one.unmapped


async def _choose(
    call: Invocation, answers: Answers, found: Survey, settings: dict[str, Any], credentials: dict[str, Secret]
) -> list[LibrarySurvey]:
    """Let the operator pick, and say where the files are that weren't found."""
    picked = _named(answers.libraries, found.libraries) if answers.libraries else _ask_which(call, found.libraries)
    asking = can_ask(call) and not answers.yes
    chosen: list[LibrarySurvey] = []
    for one in picked:
        done = await _place(call, answers.kind, one, settings, credentials) if asking else one
        if done.answer.ingestible:
            chosen.append(done)
        elif asking:
            call.output.notes([f"{one.collection.name} is left out: {done.answer.reason}"])
        else:
            gives = " ".join(f"Give --map {location}=LOCAL." for location in done.unmapped)
            raise InputError(
                f"Library {one.collection.name!r} can't be ingested: {done.answer.reason}",
                code=done.answer.code or "not_ingestible",
                hint=f"Nothing was changed. {gives or 'Leave it out.'}",
                context={"missing": ["--map"] if done.unmapped else []},
            )
    if not chosen:
        raise InputError(
            "No library was picked that can be ingested; nothing was changed.",
            code="nothing_picked",
            hint="Run the command again, and say by --map where the files of a library are on this machine.",
        )
    return chosen


async def _place(
    call: Invocation, kind: Kind, one: LibrarySurvey, settings: dict[str, Any], credentials: dict[str, Secret]
) -> LibrarySurvey:
    """Ask where the files of a library are, as long as an answer comes that doesn't do."""
    while one.unmapped:
        location = one.unmapped[0]
        where = ask(call, f"{one.collection.name}: where is {location} on this machine? (only Enter: leave it out) ")
        if not where:
            break
        try:
            tried = await add_mapping(
                kind.type, settings, credentials, one, check_mapping(PathMapping(location, where))
            )
        except RequestError as exc:
            call.output.notes([exc.message])
            continue
        if tried.unmapped or tried.answer.ingestible:
            one = tried
        else:
            call.output.notes([tried.answer.reason or "That can't be."])
    return one


def _named(names: Sequence[str], libraries: Sequence[LibrarySurvey]) -> list[LibrarySurvey]:
    if _ALL in names:
        return [one for one in libraries if not _hopeless(one)]
    picked: list[LibrarySurvey] = []
    for name in names:
        fitting = [one for one in libraries if name in {one.collection.name, one.collection.external_id}]
        if not fitting:
            raise InputError(
                f"The server has no library {name!r}.",
                code="collection_not_found",
                hint=f"It has: {', '.join(one.collection.name for one in libraries)}.",
            )
        picked += fitting
    return list({one.collection.id: one for one in picked}.values())


def _ask_which(call: Invocation, libraries: Sequence[LibrarySurvey]) -> list[LibrarySurvey]:
    ready = [one for one in libraries if one.answer.ingestible]
    default = f"only Enter: the {len(ready)} found" if ready else "only Enter: none"
    while True:
        answer = ask(call, f"Which ones? (numbers such as 1 3 or 2-4, {_ALL}; {default}) ")
        if not answer:
            return ready
        if answer.lower() == _ALL:
            return [one for one in libraries if not _hopeless(one)]
        numbers = picked_numbers(answer, len(libraries))
        if numbers is not None:
            return [libraries[number - 1] for number in numbers]
        call.output.notes([f"Numbers from 1 to {len(libraries)}, please, or {_ALL}."])


def picked_numbers(answer: str, most: int) -> list[int] | None:
    """Read numbers and ranges, apart by blanks or commas; None if it isn't that, or if one is out of range."""
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


def _plan(found: Survey, chosen: Sequence[LibrarySurvey], url: str) -> list[str]:
    lines = [f"  use the source {found.source.name!r}" if found.source else f"  add a source for {url}"]
    for one in chosen:
        lines.append(f"  enable {one.collection.name}")
        lines += [f"    its files: {mapping.source_prefix} = {mapping.local_path}" for mapping in one.new_mappings]
    return [*lines, "  ingest what is enabled"]


def _told_dry_run(call: Invocation, found: Survey, chosen: Sequence[LibrarySurvey]) -> int:
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": True,
                "source": None if found.source is None else found.source.external_id,
                "collections": [
                    {
                        **(collection_identity(one.collection) | ({"id": None} if found.source is None else {})),
                        "path_mappings": [[mapping.source_prefix, mapping.local_path] for mapping in one.new_mappings],
                    }
                    for one in chosen
                ],
            }
        )
    else:
        call.output.lines(["Dry run: nothing was written."])
    return OK


async def _write(
    store: Store,
    answers: Answers,
    found: Survey,
    chosen: Sequence[LibrarySurvey],
    settings: dict[str, Any],
    credentials: dict[str, Secret],
) -> Source:
    """Write all of it, each step in a transaction; after an interruption another run goes on from there."""
    source = found.source
    if source is None:
        name = answers.name or await _free_name(store, answers.kind.name)
        source = await discovery.add_source(store, answers.kind.type, name, settings, credentials)
    elif source.config.get("base_url") != settings["base_url"] or source.credentials != credentials:
        source = await curation.update_source(store, str(source.id), config=settings, credentials=credentials)
    await discovery.discover(store, str(source.id))
    for one in chosen:
        await curation.update_collection(
            store, one.collection.external_id, source_reference=str(source.id), map=one.new_mappings, enabled=True
        )
    return source


async def _free_name(store: Store, wanted: str) -> str:
    taken = {listing.source.name for listing in await list_sources(store)}
    names = (wanted if number == 1 else f"{wanted} {number}" for number in count(1))
    return next(name for name in names if name not in taken)


def _next(source: Source) -> list[str]:
    commands = {
        f"retrovue source ingest {source.external_id}": "what is new, as often as you like",
        f"retrovue source ingest {source.external_id} --retry-failed": "only what failed",
        "retrovue asset list": "what came in; `asset approve` lets it be broadcast",
        "retrovue doctor": "whether all is well",
    }
    return [line for command, what in commands.items() for line in (f"  {command}", f"      {what}")]
