"""Importers that don't implement ImporterInterface, and one that does; none of their code may ever run."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from retrovue.core.model import ConfigField
from retrovue.importers.base import BaseImporter
from tests.support.library import ScriptedImporter


def _ran(*_: object) -> NoReturn:
    raise AssertionError("something of a non-compliant importer was run")


def no_arguments(self: object) -> NoReturn:
    """A method that takes nothing."""
    _ran(self)


async def of_a_collection(self: object, collection: object) -> NoReturn:
    """A coroutine function that takes one argument."""
    _ran(self, collection)


class OpenMethod(BaseImporter):
    """Leaves abstract methods open."""

    type_name = "other"
    __init__ = _ran


class MissingMethod:
    """Has all but check_ingestible."""

    type_name = "other"
    __init__ = _ran
    __aenter__ = ScriptedImporter.__aenter__
    __aexit__ = ScriptedImporter.__aexit__
    check_reachable = ScriptedImporter.check_reachable
    discover_collections = ScriptedImporter.discover_collections
    enumerate = ScriptedImporter.enumerate

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        _ran(cls)


class Compliant(MissingMethod):
    """Implements the interface without being a BaseImporter."""

    check_ingestible = ScriptedImporter.check_ingestible


class PlainMethod(Compliant):
    """Has a check_reachable that can't be awaited."""

    def check_reachable(self) -> NoReturn:
        _ran(self)


def NotAClass(config: Mapping[str, Any], credentials: Mapping[str, Any]) -> NoReturn:  # noqa: N802
    """Makes importers, perhaps, but is no class."""
    _ran(config, credentials)
