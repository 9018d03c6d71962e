"""Encrypt the secrets of sources."""

from retrovue.cli.invocation import Invocation, opened
from retrovue.operations import secrets


async def encrypt_secrets(call: Invocation, *, rotate: bool) -> int:
    """Encrypt the stored secrets of all sources."""
    async with opened(call) as store:
        done = await secrets.encrypt_secrets(store, rotate=rotate, dry_run=call.dry_run)
    head = ["Dry run: nothing was written. The result would be:"] if call.dry_run else []
    made = [f"A new key in {done.key_file}: keep a copy of the file apart from backups of the catalogue."]
    lines = [
        *head,
        *(made if done.key_added else [f"Key file: {done.key_file}"]),
        f"Encrypted: {done.encrypted}",
        f"Read in each run, never stored: {done.references}",
    ]
    document = {
        "status": "ok",
        "dry_run": call.dry_run,
        "key_file": str(done.key_file),
        "key_added": done.key_added,
        "encrypted": done.encrypted,
        "references": done.references,
    }
    return call.answer(document, lines)
