"""Connect to a media server: ask for its address and then its token, until the server accepts them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from msgspec import Struct

from retrovue.cli.asking import ask, ask_secret, can_ask, checked_secret
from retrovue.cli.invocation import Invocation
from retrovue.core.errors import RequestError, RetrovueError, SourceError, SourceRefused
from retrovue.core.model import Secret, Source
from retrovue.operations.survey import check_server


class ServerType(Struct, frozen=True):
    """A type of server that the quickstart can set up."""

    type: str
    name: str
    example: str
    """An example of an address."""
    token: str
    """The name that the server uses for its token."""
    where: str
    """Where an operator finds the token."""
    has_sign_in: bool = False
    """Whether a browser can sign in to get a token."""


SERVER_TYPES = {
    "plex": ServerType(
        "plex",
        "Plex",
        "http://192.168.1.10:32400",
        "X-Plex-Token",
        "In Plex Web, open an item's menu, Get Info, View XML: the address of that page ends with X-Plex-Token=...",
        has_sign_in=True,
    ),
    "jellyfin": ServerType(
        "jellyfin",
        "Jellyfin",
        "http://192.168.1.10:8096",
        "API key",
        "In Jellyfin, an administrator makes one in the Dashboard under API Keys.",
    ),
}


_TLS = ("ca_file", "verify_tls")
"""The settings for https."""


class Connection(Struct, frozen=True):
    """The settings with which a server was reached."""

    config: dict[str, Any]
    credentials: dict[str, Secret]


async def connect(
    call: Invocation,
    server: ServerType,
    sources: Sequence[Source],
    url: str | None,
    token: Secret | None,
    *,
    tls: Mapping[str, Any],
    sign_in: bool,
    plex_tv: str,
) -> Connection:
    """Return the address and token of a server; ask for those that are None, unless one of ``sources`` has them.

    ``tls`` are settings for https. They replace those of a known source.

    An answer is checked immediately, and the question is repeated until the server accepts the answer. Blocks while it
    asks. Raises InputError if nobody can be asked, and SourceError if an option's value can't be used.
    """
    known = [source for source in sources if source.type == server.type]

    def config_for(url: str) -> dict[str, Any]:
        stored = next((source.config for source in known if source.config.get("base_url") == url), {})
        return {"base_url": url, **{name: stored[name] for name in _TLS if name in stored}, **tls}

    if url is None:
        url = await _ask_address(call, server, known, config_for)
    else:
        url = _complete(url)
        if can_ask(call):
            await _check_address(server, config_for(url))
    config = config_for(url)
    if token is None and not sign_in:
        for source in known:
            same = source.config.get("base_url") == url
            stored = source.credentials.get("token") if same else None
            if stored is not None and await _accepted(call, server, config, stored):
                call.output.notes([] if call.output.quiet else ["The token is known from last time."])
                token = stored
                break
    if token is None:
        token = await (_sign_in(call, plex_tv) if sign_in else _ask_token(call, server, config, plex_tv))
    return Connection(config, {"token": token})


async def _ask_address(
    call: Invocation, server: ServerType, known: Sequence[Source], config_for: Callable[[str], Mapping[str, Any]]
) -> str:
    default = known[0].config.get("base_url") if len(known) == 1 else None
    hint = f"only Enter: {default}" if default else f"such as {server.example}"
    while True:
        answer = ask(call, f"Address of the {server.name} server ({hint}): ") or default
        if not answer:
            continue
        url = _complete(answer)
        try:
            await _check_address(server, config_for(url))
        except (RequestError, SourceError) as exc:
            refuse(call, exc)
        else:
            return url


def _complete(address: str) -> str:
    """Add the scheme to an address without one."""
    return address if "://" in address else f"http://{address}"


async def _check_address(server: ServerType, config: Mapping[str, Any]) -> None:
    with suppress(SourceRefused):  # The server answers, and only wants a token.
        await check_server(server.type, config, {})


async def _ask_token(call: Invocation, server: ServerType, config: Mapping[str, Any], plex_tv: str) -> Secret:
    if not call.output.quiet:
        call.output.notes([f"Where to find the {server.token}: {server.where}"])
    enter = "; only Enter: sign in with a browser" if server.has_sign_in else ""
    while True:
        typed = ask_secret(call, f"{server.token} (nothing is shown{enter}): ")
        try:
            sign_in = not typed and server.has_sign_in
            token = await _sign_in(call, plex_tv) if sign_in else checked_secret(typed, "what was typed")
        except (RequestError, SourceError) as exc:
            refuse(call, exc)
            continue
        if await _accepted(call, server, config, token):
            return token


async def _accepted(call: Invocation, server: ServerType, config: Mapping[str, Any], token: Secret) -> bool:
    try:
        await check_server(server.type, config, {"token": token})
    except (RequestError, SourceRefused) as exc:
        refuse(call, exc)
        return False
    return True


async def _sign_in(call: Invocation, plex_tv: str) -> Secret:
    from retrovue.importers.plex.account import PlexAccount  # it imports httpx, which is slow

    async with PlexAccount(plex_tv) as account:
        pin = await account.ask_for_pin()
        minutes = f"{pin.expires_in / 60:.0f} minutes"
        # Printed even with --quiet, because nobody could sign in without it.
        call.output.notes([f"Sign in with any browser within {minutes}:", f"  {account.address(pin)}"])
        return await account.token(pin)


@contextmanager
def adding_source() -> Iterator[None]:
    """Replace the hint about a refused token: its command is for a source that is in the catalogue already."""
    try:
        yield
    except SourceRefused as exc:
        hint = "Check the token, and run the command again."
        raise SourceRefused(exc.message, code=exc.code, hint=hint, context=exc.context) from exc


def refuse(call: Invocation, error: RetrovueError) -> None:
    """Print why an answer can't be used, before the question is repeated."""
    hint = [f"  {error.hint}"] if error.hint and not isinstance(error, SourceRefused) else []  # see `adding_source`
    call.output.notes([error.message, *hint])
