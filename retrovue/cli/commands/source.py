"""The commands for sources."""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import asyncclick as click

from retrovue.cli.errors import InputError, NarrowingForbidden
from retrovue.cli.invocation import Invocation
from retrovue.cli.options import (
    FULL_EVERY,
    POSITIVE,
    RATE,
    SPAN,
    SWEEP_EVERY,
    Action,
    confirmed,
    examples,
    followed,
    intervals,
    keep_changes,
    keep_details,
    patience,
    removals,
    shared,
)
from retrovue.cli.plugin_options import PluginCommand, PluginType, source_settings, source_types
from retrovue.core.errors import Problem

NARROWING = ("--title", "--season", "--episode")
MESSAGE = (
    "Per-title/season/episode ingest is only supported at the collection level. "
    "Use: retrovue collection ingest <collection_id> [--title ... --season ... --episode ...]"
)
_WITH_VALUE = (
    *NARROWING, "--concurrency", "--max-rps", "--patience", "--enrichment-concurrency", "--keep-details",
    "--keep-changes", "--max-removals", "--confirm-removals", "--database-url",
)  # fmt: skip


_keep_reference = click.option(
    "--keep-reference", is_flag=True, help="Read the secret from its file or variable in each run; never store it."
)


class IngestCommand(click.Command):
    """``source ingest`` and ``source sync``.

    An error in their arguments also gives a complete document of a source ingest.
    """

    async def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Refuse --title, --season and --episode, and then parse."""
        if parent is not None:
            given: dict[str, Any] = {"dry_run": "--dry-run" in args, "strict": "--strict" in args}
            run: dict[str, Any] = {"mode": "sync" if info_name == "sync" else "ingest", "atomic": "--atomic" in args}
            parent.ensure_object(Invocation).error_document = (
                partial(_error_of_all, **given)
                if "--all" in _options(args)
                else partial(_error_document, _positional(args), **given, **run)
            )
        if any(argument.partition("=")[0] in NARROWING for argument in _options(args)):
            raise NarrowingForbidden(MESSAGE)
        return await super().make_context(info_name, args, parent, **extra)


def _error_document(reference: str | None, problems: Sequence[Problem], **run: Any) -> dict[str, Any]:
    from retrovue.ingest.documents import failed_ingest_document

    return failed_ingest_document(reference, problems, **run)


def _error_of_all(problems: Sequence[Problem], *, dry_run: bool, strict: bool) -> Mapping[str, Any]:
    from retrovue.cli.actions.ingest_all import failed_document

    return failed_document(problems, dry_run=dry_run, strict=strict)


def _options(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _positional(arguments: Sequence[str]) -> str | None:
    """Return the SOURCE argument as far as it can be recognised before parsing, for the document of an error."""
    before: str | None = None
    options = _options(arguments)
    for argument in options:
        if not argument.startswith("-") and before not in _WITH_VALUE:
            return argument
        before = argument
    rest = arguments[len(options) + 1 :]
    return rest[0] if rest else None


@click.group("source")
def command() -> None:
    """Media servers and directories to ingest from."""


@command.command("list-types")
@shared()
async def list_types(call: Invocation) -> int:
    """List the types of source and their settings."""
    from retrovue.cli.actions.sources import show_types

    return await show_types(call)


@command.command(
    "add",
    cls=PluginCommand,
    types=source_types,
    describe=source_settings,
    from_environment=True,
    epilog=examples("source add --type plex --name Plex --base-url http://192.168.1.10:32400 --token-file token.txt"),
)
@click.option(
    "--type",
    "type_name",
    required=True,
    type=PluginType(source_types),
    help="Type of the source.",
)
@click.option("--name", required=True, help="Name of the source.")
@click.option("--discover", is_flag=True, help="Also discover its collections.")
@click.option("--again", is_flag=True, help="Add it even if the same server is a source already.")
@_keep_reference
@shared(writes=True)
async def add(
    call: Invocation,
    *,
    type_name: str,
    name: str,
    discover: bool,
    again: bool,
    keep_reference: bool,
    **settings: str | None,
) -> int:
    """Add a source, if it can be reached.

    The settings depend on --type. Give a secret, such as Plex's token, by a file (- is standard input) or by the
    environment ($RETROVUE_TOKEN); otherwise you are asked for it. With --keep-reference, or for --token env:NAME or
    credential:NAME, it is read from there in each run and never stored.
    """
    from retrovue.cli.actions.sources import add_source

    return await add_source(
        call, type_name, name, settings, discover=discover, again=again, keep_reference=keep_reference
    )


@command.command("list")
@shared()
async def list_(call: Invocation) -> int:
    """List sources."""
    from retrovue.cli.actions.sources import show_sources

    return await show_sources(call)


@command.command("show")
@click.argument("source")
@shared()
async def show(call: Invocation, *, source: str) -> int:
    """Show a source and its collections.

    SOURCE is its id or its name.
    """
    from retrovue.cli.actions.sources import show_source

    return await show_source(call, source)


@command.command("update", cls=PluginCommand, types=source_types, describe=source_settings)
@click.argument("source")
@click.option("--name", help="New name of the source.")
@click.option("--unset", multiple=True, metavar="SETTING", help="Reset an optional setting to its default.")
@click.option(
    "--grace",
    type=SPAN,
    metavar="SPAN",
    help="How long an asset that isn't listed any more is missing before it is gone: 24h, 7d, 0; default: 24h.",
)
@click.option("--sweep-every", type=SPAN, metavar="SPAN", help=f"{SWEEP_EVERY}; default: 24h.")
@click.option("--full-every", type=SPAN, metavar="SPAN", help=f"{FULL_EVERY}; default: 7d.")
@click.option("--accept-new-identity", is_flag=True, help="Accept that another server answers at the address.")
@_keep_reference
@shared(writes=True)
async def update(
    call: Invocation,
    *,
    source: str,
    name: str | None,
    unset: tuple[str, ...],
    grace: dt.timedelta | None,
    sweep_every: dt.timedelta | None,
    full_every: dt.timedelta | None,
    accept_new_identity: bool,
    keep_reference: bool,
    **settings: str | None,
) -> int:
    """Change a source's name or settings, if it can be reached.

    SOURCE is its id or its name. If another server answers at the address, nothing is changed unless
    --accept-new-identity is given.
    """
    from retrovue.cli.actions.sources import change_source

    return await change_source(
        call,
        source,
        name,
        settings,
        unset=unset,
        grace=grace,
        sweep_every=sweep_every,
        full_every=full_every,
        accept_new_identity=accept_new_identity,
        keep_reference=keep_reference,
    )


@command.command("encrypt", epilog=examples("source encrypt", "source encrypt --rotate"))
@click.option("--rotate", is_flag=True, help="Make a new key first; older ones stay in the file, for older backups.")
@shared(writes=True)
async def encrypt(call: Invocation, *, rotate: bool) -> int:
    """Encrypt the stored secrets of all sources.

    The key is in a file outside of the database: $RETROVUE_KEY_FILE, by default secrets.key in the home. It is made if
    it doesn't exist. Keep a copy of it apart from the backups of the catalogue, which can't be used without it.
    """
    from retrovue.cli.actions.secrets import encrypt_secrets

    return await encrypt_secrets(call, rotate=rotate)


@command.command("delete")
@click.argument("source")
@confirmed
@shared(writes=True)
async def delete(call: Invocation, *, source: str, yes: bool) -> int:
    """Delete a source with its collections and assets.

    Their audit trail is deleted as well. SOURCE is its id or its name.
    """
    from retrovue.cli.actions.sources import delete_source

    return await delete_source(call, source, yes=yes)


@command.command("discover")
@click.argument("source")
@shared(writes=True)
async def discover(call: Invocation, *, source: str) -> int:
    """Discover the collections of a source.

    New collections are added, but not enabled. Known ones keep their mappings and stay enabled or disabled. SOURCE is
    its id or its name.
    """
    from retrovue.cli.actions.sources import discover_collections

    return await discover_collections(call, source)


def _run_options(action: Action) -> Action:
    """Give a command the options of a run over all collections of a source."""
    for option in (
        click.option(
            "--atomic", is_flag=True, help="Write all collections in one transaction: if one fails, none is written."
        ),
        click.option("--retry-failed", is_flag=True, help="Only collections whose last run failed or was interrupted."),
        click.option("--strict", is_flag=True, help="Count an enabled collection that isn't ingestible as a failure."),
        click.option(
            "--enrichment-concurrency",
            type=POSITIVE,
            metavar="N",
            help="Batches of assets to enrich at the same time; default: 4.",
        ),
        patience,
        keep_details,
        keep_changes,
        click.option(
            "--max-rps",
            type=RATE,
            metavar="R",
            help="Most requests to the source a second; default: as many as it answers quickly.",
        ),
        click.option("--concurrency", type=POSITIVE, metavar="N", help="Collections at the same time; default: 4."),
    ):
        action = option(action)
    return action


def _enqueued(action: Action) -> Action:
    """Give a command the options of a run that workers do."""
    for option in (
        click.option("--wait", is_flag=True, help="With --enqueue: follow the run to its end, and report it."),
        click.option("--enqueue", is_flag=True, help="Leave the run to `retrovue worker` on any host."),
    ):
        action = option(action)
    return action


@command.command(
    "ingest",
    cls=IngestCommand,
    epilog=examples(
        "source ingest Plex --dry-run", "source ingest Plex --retry-failed", "source ingest --all --strict"
    ),
)
@click.argument("source", required=False)
@click.option("--all", "everything", is_flag=True, help="Ingest every source, after discovering its collections.")
@_run_options
@_enqueued
@followed
@shared(writes=True)
async def ingest(
    call: Invocation, *, source: str | None, everything: bool, enqueue: bool, wait: bool, **options: Any
) -> int:
    """Ingest all enabled collections of a source.

    SOURCE is its id or its name. With --all the sources are ingested one after the other; new, renamed and vanished
    libraries are reported, and new ones stay disabled. The exit status is the worst of all sources.
    """
    if everything and source is not None:
        raise InputError("SOURCE and --all can't be given together.")
    if everything and enqueue:
        raise InputError("--all and --enqueue can't be given together.", hint="Enqueue each source.")
    if everything:
        from retrovue.cli.actions.ingest_all import ingest_all

        return await ingest_all(call, **options)
    if source is None:
        raise click.UsageError("Missing argument 'SOURCE'.", click.get_current_context())
    return await _run(call, source, enqueue=enqueue, wait=wait, **options)


async def _run(call: Invocation, source: str, *, enqueue: bool, wait: bool, **options: Any) -> int:
    if wait and not enqueue:
        raise InputError("--wait needs --enqueue.", hint="Without --enqueue the command waits anyway.")
    if enqueue:
        from retrovue.cli.actions.jobs import enqueue_source

        return await enqueue_source(call, source, wait=wait, **options)
    from retrovue.cli.actions.ingest import ingest_source

    return await ingest_source(call, source, **options)


@command.command(
    "sync",
    cls=IngestCommand,
    epilog=examples("source sync Plex --dry-run", "source sync Plex --confirm-removals 8f3a91c2d4e5"),
)
@click.argument("source")
@_run_options
@intervals
@removals
@_enqueued
@followed
@shared(writes=True)
async def sync(call: Invocation, *, source: str, enqueue: bool, wait: bool, **options: Any) -> int:
    """Make the catalogue agree with a source.

    Syncs all enabled collections: new items are created, known assets follow their source, and assets that the source
    doesn't list any more are marked. SOURCE is its id or its name.
    """
    return await _run(call, source, enqueue=enqueue, wait=wait, mode="sync", **options)
