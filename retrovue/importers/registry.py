"""The installed importers, found by the entry point group ``retrovue.importers``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retrovue.core.errors import ImporterNotCompliant, RequestError, UnsupportedImporter
from retrovue.core.model import Secret
from retrovue.core.text import quoted
from retrovue.importers.base import ImporterInterface, compliance_problems
from retrovue.plugins.loading import PluginKind, takes_transport

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

IMPORTERS: PluginKind[ImporterInterface] = PluginKind(
    noun="importer",
    group="retrovue.importers",
    interface="ImporterInterface",
    base="BaseImporter",
    arguments="(config, credentials)",
    describe="describe_configuration",
    problems=compliance_problems,
    unsupported=UnsupportedImporter,
    not_compliant=ImporterNotCompliant,
    refused={
        "emby": "Emby isn't Jellyfin: its ids and its order differ, so no listing of it could be proven to be complete."
    },
)
importer_types = IMPORTERS.types
importer_class = IMPORTERS.load
importer_settings = IMPORTERS.settings


def open_importer(
    type_name: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Secret],
    *,
    transport: "Transport | None" = None,
) -> ImporterInterface:
    """Make an importer for one run; the caller enters it.

    Credentials that are kept by reference are read, and encrypted ones are decrypted: raises RequestError if that
    fails. ``transport`` carries its HTTP requests. Raises RequestError with code ``no_transport`` if the importer takes
    none, and what ``importer_class`` and the importer's constructor raise.
    """
    cls = importer_class(type_name)
    credentials = {name: secret.resolved() for name, secret in credentials.items()}
    if transport is None:
        return IMPORTERS.make(type_name, cls, "configuration", config, credentials)
    if not takes_transport(cls):
        raise RequestError(
            f"Sources of type {quoted(type_name)} can't use a custom transport.",
            code="no_transport",
            hint="Leave out the transport.",
        )
    return IMPORTERS.make(type_name, cls, "configuration", config, credentials, transport=transport)
