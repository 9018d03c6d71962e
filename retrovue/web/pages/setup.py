"""The first setup in the browser: server or directory, then libraries and path mappings, then a summary to confirm."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retrovue.core.errors import RequestError, RetrovueError
from retrovue.core.model import PathMapping, Secret, Source
from retrovue.core.paths import check_mapping
from retrovue.core.text import quoted
from retrovue.operations.curation import update_source
from retrovue.operations.discovery import add_source, discover
from retrovue.operations.secrets import secret_reference
from retrovue.operations.survey import LibrarySurvey, add_mapping, enable_library, survey
from retrovue.web.forms import form_of, required, text
from retrovue.web.pages.runs import address_of_started, begin
from retrovue.web.rendering import render
from retrovue.web.state import PageState, state_of
from retrovue.web.surveys import Setup

TYPES = {"plex": "Plex", "jellyfin": "Jellyfin", "filesystem": "Directories of this machine"}
_SERVERS = ("plex", "jellyfin")


_GIVEN = ("type", "url", "path", "name", "files", "ca_file", "tls")
"""The fields that are filled in again after an error: all except the token."""


async def ask(request: Request) -> Response:
    """Show the form for a server and its token, or a directory."""
    return render(request, "setup.html", types=TYPES, given={}, problem=None)


async def look(request: Request) -> Response:
    """Survey the source: find its libraries, and their files on this machine."""
    form = await form_of(request)
    state = state_of(request)
    try:
        type_name = required(form, "type", "The type of the source")
        if type_name not in TYPES:
            raise RequestError("The page has no such type of source.", hint="Add it with `retrovue source add`.")
        config, credentials = _server(form) if type_name in _SERVERS else _directories(form)
        found = await survey(state.reads, type_name, config, credentials, check_files=form.get("files") != "elsewhere")
    except RetrovueError as exc:
        given = {name: text(form, name) for name in _GIVEN}
        return render(request, "setup.html", 400, types=TYPES, given=given, problem=exc)
    name = text(form, "name") or (found.source.name if found.source else TYPES[type_name])
    return RedirectResponse(f"/setup/{state.setups.add(Setup(type_name, name, config, credentials, found))}", 303)


def _server(form: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Secret]]:
    """Return the configuration and the credentials of a media server. Raises RequestError."""
    url = required(form, "url", "The address")
    token = required(form, "token", "The token")
    if secret_reference(token) is not None:
        # A reference would let a user of the page send files of this machine to a server of their choice.
        raise RequestError(
            "The page takes the token itself, not a reference to where it is kept.",
            code="bad_secret_reference",
            hint="Give the token now; `retrovue source update SOURCE --token-file PATH --keep-reference`"
            " replaces it by a reference afterwards.",
        )
    config: dict[str, Any] = {"base_url": url if "://" in url else f"http://{url}"}
    if (ca_file := text(form, "ca_file")) is not None:
        config["ca_file"] = _absolute(ca_file, "The file of authorities")
    if text(form, "tls") == "unverified":
        config["verify_tls"] = False
    return config, {"token": Secret(token)}


def _directories(form: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Secret]]:
    """Return the configuration of a source of directories. Raises RequestError."""
    return {"path": _absolute(required(form, "path", "The directory"), "The directory")}, {}


def _absolute(path: str, label: str) -> str:
    if not path.startswith("/"):
        raise RequestError(f"{label} isn't an absolute path: {quoted(path)}.", hint="Begin it with a slash.")
    return path


def _setup(request: Request) -> tuple[str, Setup]:
    key = request.path_params["key"]
    found = state_of(request).setups.get(key)
    if found is None:
        raise HTTPException(404, "Your entries have expired. Start again: nothing was changed.")
    return key, found


async def libraries(request: Request) -> Response:
    """Show the libraries that were found, with proposed path mappings."""
    key, setup = _setup(request)
    return render(request, "setup_libraries.html", key=key, setup=setup, chosen=None, problem=None)


async def choose(request: Request) -> Response:
    """Check the chosen libraries and mappings, and show what will be done; after confirmation, do it."""
    key, setup = _setup(request)
    state = state_of(request)
    form = await form_of(request)
    picked = {str(key) for key in form.getlist("library")}
    try:
        checked = [await _mapped(setup, library, form) for library in setup.found.libraries]
        setup = replace(setup, found=replace(setup.found, libraries=tuple(checked)))
        state.setups.replace(key, setup)
        chosen = [library for library in checked if library.collection.external_id in picked]
        if not chosen:
            raise RequestError("No library was chosen.", hint="Choose at least one.")
        if (unready := next((library for library in chosen if not library.answer.ingestible), None)) is not None:
            raise RequestError(
                f"{unready.collection.name} can't be ingested: {unready.answer.reason}",
                hint="Give the directories of its files on this machine, or leave it out.",
            )
        if form.get("action") == "ingest":
            source = await _write(state, setup, chosen)
            state.counting.forget()
            return RedirectResponse(address_of_started(await begin(state, source, "ingest")), 303)
    except RetrovueError as exc:
        return render(request, "setup_libraries.html", 400, key=key, setup=setup, chosen=None, problem=exc)
    return render(request, "setup_libraries.html", key=key, setup=setup, chosen=chosen, problem=None)


async def _mapped(setup: Setup, library: LibrarySurvey, form: Mapping[str, Any]) -> LibrarySurvey:
    """Survey a library again with the directories that were entered."""
    for number, location in enumerate(library.collection.locations):
        typed = text(form, f"local-{library.collection.external_id}-{number}")
        known = {mapping.source_prefix: mapping.local_path for mapping in library.collection.path_mappings}
        if typed is not None and known.get(location) != typed:
            mapping = check_mapping(PathMapping(location, typed))
            others = tuple(mapping for mapping in library.new_mappings if mapping.source_prefix != location)
            library = await add_mapping(
                setup.type_name, setup.config, setup.credentials, replace(library, new_mappings=others), mapping
            )
    return library


async def _write(state: PageState, setup: Setup, chosen: list[LibrarySurvey]) -> Source:
    """Store the source and its libraries, each in a transaction. After an interruption, start again."""
    store, source = state.reads, setup.found.source
    if source is None:
        source = await add_source(store, setup.type_name, setup.name, setup.config, setup.credentials)
    else:
        source = await update_source(store, str(source.id), config=setup.config, credentials=setup.credentials)
    await discover(store, str(source.id))
    for library in chosen:
        await enable_library(store, source, library)
    return source
