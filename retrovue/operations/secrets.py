"""Encrypt the secrets of all sources."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.model import Secret
from retrovue.store.secrets import SealedSecret, SecretReference, add_key, has_key, key_file, seal
from retrovue.store.session import Store
from retrovue.store.sources import list_sources, lock_sources, save_source


def secret_reference(text: str) -> Secret | None:
    """Make a secret from a reference: ``file:/PATH``, ``env:NAME`` or ``credential:NAME`` (of systemd).

    The secret is read once in each run, and never stored. Returns None for any other text. Raises RequestError for a
    reference that can't be used.
    """
    return SecretReference.parse(text)


class Encryption(Struct, frozen=True):
    """What was encrypted, or would be for a dry-run."""

    key_file: Path
    key_added: bool
    """Whether a new key was made and put first in the key file."""
    encrypted: int
    """The number of secrets that were encrypted with the first key."""
    references: int
    """The number of secrets that are kept by reference, and therefore not encrypted."""


async def encrypt_secrets(store: Store, *, rotate: bool = False, dry_run: bool = False) -> Encryption:
    """Encrypt the stored secrets of all sources with the first key of the key file, in one transaction.

    Makes a key if there is none, and with ``rotate`` a new one; older keys stay in the file, because older backups need
    them. Secrets that are stored later are encrypted as well. Raises RequestError if a key can't be read or made, if
    the key of an encrypted secret is missing, and with code ``no_encryption`` if the package for encryption isn't
    installed.
    """
    adds = rotate or not has_key()
    async with store.reading() if dry_run else store.transaction() as session:
        if not dry_run:
            await lock_sources(session)
        sources = [listing.source for listing in await list_sources(session)]
        secrets = [secret for source in sources for secret in source.credentials.values()]
        known = [secret.resolved() for secret in secrets if not isinstance(secret, SecretReference)]
        if not dry_run:
            if adds:
                add_key()
            for source in sources:
                sealed = {name: _sealed(secret) for name, secret in source.credentials.items()}
                await save_source(session, replace(source, credentials=sealed))
    return Encryption(key_file(), adds, len(known), len(secrets) - len(known))


def _sealed(secret: Secret) -> Secret:
    return secret if isinstance(secret, SecretReference) else SealedSecret(seal(secret))
