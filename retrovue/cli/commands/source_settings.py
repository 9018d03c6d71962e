"""How source add and source update learn their options: an importer's settings are options of its type."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import asyncclick as click

from retrovue.cli.options import FILE
from retrovue.core.errors import ImporterNotCompliant

if TYPE_CHECKING:
    from retrovue.core.model import ConfigField


class SettingOption(click.Option):
    """An option that is a setting of an importer."""


class AddCommand(click.Command):
    """The command whose further options come from the importer that ``--type`` names."""

    async def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Add the options of the type, or of all installed types, and then parse."""
        type_name = type_argument(args)
        add_settings(self, setting_fields(type_name), required=type_name is not None, from_environment=True)
        return await super().make_context(info_name, args, parent, **extra)


class UpdateCommand(click.Command):
    """The command whose further options come from all importers: the source's type is in the catalogue."""

    async def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Add the options of all installed types, and then parse."""
        add_settings(self, setting_fields(None), required=False, from_environment=False)
        return await super().make_context(info_name, args, parent, **extra)


def complete_type(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Name the installed types that begin so."""
    from retrovue.importers.registry import importer_types

    return [name for name in importer_types() if name.startswith(incomplete)]


def setting_fields(type_name: str | None) -> "Mapping[str, ConfigField]":
    """Return the settings of a type, or of all installed types, by name."""
    from retrovue.importers.registry import importer_settings, importer_types

    fields: dict[str, ConfigField] = {}
    for known in importer_types() if type_name is None else [type_name]:
        try:
            described = importer_settings(known)
        except ImporterNotCompliant:
            if type_name is not None:
                raise
            continue  # another type's help must not suffer for it
        fields |= {field.name: field for field in described if field.name not in fields}
    return fields


def type_argument(arguments: Sequence[str]) -> str | None:
    """Find what ``--type`` says before the arguments are parsed."""
    for argument, following in pairwise([*arguments, None]):
        if argument == "--type":
            return following
        if argument is not None and argument.startswith("--type="):
            return argument.partition("=")[2]
    return None


def add_settings(
    command: click.Command, fields: "Mapping[str, ConfigField]", *, required: bool, from_environment: bool
) -> None:
    """Give a command these settings as its further options, in place of those it had."""
    command.params = [one for one in command.params if not isinstance(one, SettingOption)]
    taken = {one.name for one in command.params}
    for field in fields.values():
        options = _secret(field, from_environment=from_environment) if field.secret else _plain(field, required)
        command.params += [one for one in options if one.name not in taken]


def _plain(field: "ConfigField", required: bool) -> Iterator[SettingOption]:
    yield SettingOption(
        [_spelling(field), field.name], required=required and field.required, help=f"{field.description}."
    )


def _secret(field: "ConfigField", *, from_environment: bool) -> Iterator[SettingOption]:
    default = f"; default: $RETROVUE_{field.name.upper()}" if from_environment else ""
    text = f"File with it, - for the standard input{default}."
    yield SettingOption([f"{_spelling(field)}-file", f"{field.name}_file"], type=FILE, metavar="FILE", help=text)
    text = f"{field.description}. Shows in the list of processes."
    yield SettingOption([_spelling(field), field.name], metavar="SECRET", help=text)


def _spelling(field: "ConfigField") -> str:
    return f"--{field.name.replace('_', '-')}"
