"""Changing a source, and deleting it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from retrovue.cli.actions.destroying import Doomed, agree, report
from retrovue.cli.actions.opening import opened
from retrovue.cli.actions.secrets import read_secret
from retrovue.cli.actions.sources import source_fields
from retrovue.cli.commands.source_settings import setting_fields
from retrovue.cli.errors import InputError
from retrovue.cli.session import Call
from retrovue.core.errors import WrongIdentity
from retrovue.core.model import Secret, Source
from retrovue.ingest.documents import source_identity
from retrovue.operations import curation
from retrovue.operations.discovery import IDENTIFIER
from retrovue.store.collections import Destroyed
from retrovue.store.sources import find_source


async def change_source(
    call: Call,
    reference: str,
    name: str | None,
    settings: Mapping[str, str | None],
    *,
    unset: Sequence[str] = (),
    accept_new_identity: bool,
) -> int:
    """Change a source's name, settings or credentials."""
    given = any(value is not None for value in settings.values())
    if name is None and not accept_new_identity and not unset and not given:
        raise InputError("Nothing to update.", hint="`retrovue source update --help` shows what can be.")
    config, credentials = _given(call, settings)
    async with opened(call) as store:
        async with store.transaction() as session:
            before = await find_source(session, reference)
        try:
            after = await curation.update_source(
                store,
                str(before.id),
                name=name,
                config=config,
                credentials=credentials,
                unset=[setting.removeprefix("--").replace("-", "_") for setting in unset],
                accept_new_identity=accept_new_identity,
                dry_run=call.dry_run,
            )
        except WrongIdentity as exc:
            hint = f"{exc.hint or ''} If it is the same server, set up anew, give --accept-new-identity.".strip()
            raise WrongIdentity(exc.message, hint=hint, context=exc.context) from exc
    changed = _changes(before, after)
    warnings = [_other_server(after)] if IDENTIFIER in changed else []
    for warning in warnings:
        call.output.warn(warning)
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "source": source_fields(after),
                "changed": changed,
                "warnings": warnings,
            }
        )
        return 0
    said = "Changed" if not call.dry_run else "Dry run: nothing was written. Would change"
    call.output.lines(
        [
            f"Source: {after.name} ({after.external_id}, type {after.type})",
            f"{said}: {', '.join(changed)}" if changed else "Nothing has changed.",
        ]
    )
    return 0


def _given(call: Call, settings: Mapping[str, str | None]) -> tuple[dict[str, str], dict[str, Secret]]:
    """Sort what was given into plain and secret settings; the environment's secrets are for new sources only."""
    config: dict[str, str] = {}
    credentials: dict[str, Secret] = {}
    for field in setting_fields(None).values():
        value, file = settings.get(field.name), settings.get(f"{field.name}_file")
        if not field.secret:
            config |= {} if value is None else {field.name: value}
        elif value is not None or file is not None:
            secret = read_secret(call, field, value, file)
            credentials |= {} if secret is None else {field.name: secret}
    return config, credentials


def _changes(before: Source, after: Source) -> list[str]:
    changed = [] if before.name == after.name else ["name"]
    for old, new in ((before.config, after.config), (before.credentials, after.credentials)):
        changed += sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return changed


def _other_server(after: Source) -> str:
    return (
        "Another server is the source's now, and its libraries may be others under the same keys:"
        f" run `retrovue source discover {after.external_id}` and look at its collections before the next ingest."
    )


async def remove_source(call: Call, reference: str, *, yes: bool) -> int:
    """Delete a source with all that hangs on it, once that is confirmed."""

    async def agreed(source: Source, counted: Destroyed) -> bool:
        return agree(call, _doomed(source, counted), yes=yes)

    async with opened(call) as store:
        source, counted, _ = await curation.delete_source(store, reference, agreed, dry_run=call.dry_run)
    return report(call, _doomed(source, counted), {"source": source_identity(source)})


def _doomed(source: Source, counted: Destroyed) -> Doomed:
    lines = [
        f"Source {source.name} ({source.external_id}, type {source.type}) with its settings, and of it",
        f"  collections:  {counted.collections}, with their path mappings and audit trail",
        f"  assets:       {counted.assets}, of which {counted.approved_assets} approved for broadcast",
    ]
    return Doomed(lines, asdict(counted))
