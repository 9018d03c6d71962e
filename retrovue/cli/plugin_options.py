"""Commands that take the settings of importers or the parameters of enrichers as options of their own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import asyncclick as click

from retrovue.cli.options import FILE
from retrovue.core.errors import EnricherNotCompliant, ImporterNotCompliant

if TYPE_CHECKING:
    from retrovue.core.model import ConfigField

Fields = Callable[[str | None], "Mapping[str, ConfigField]"]
"""Returns the fields of a type by their names; given None, those of all installed types."""


def setting_fields(type_name: str | None) -> "Mapping[str, ConfigField]":
    """Return the settings of a type of source, or of all installed types, by name."""
    from retrovue.importers.registry import importer_settings, importer_types

    return _fields(type_name, importer_types, importer_settings)


def parameter_fields(type_name: str | None) -> "Mapping[str, ConfigField]":
    """Return the parameters of a type of enricher, or of all installed types, by name."""
    from retrovue.enrichers.registry import enricher_types, parameters_of

    return _fields(type_name, enricher_types, parameters_of)


def _fields(
    type_name: str | None, types: Callable[[], Sequence[str]], describe: "Callable[[str], Sequence[ConfigField]]"
) -> "Mapping[str, ConfigField]":
    fields: dict[str, ConfigField] = {}
    for known in types() if type_name is None else [type_name]:
        try:
            described = describe(known)
        except (ImporterNotCompliant, EnricherNotCompliant):
            if type_name is not None:
                raise
            continue  # one bad plugin must not break the help of the others
        fields |= {field.name: field for field in described if field.name not in fields}
    return fields


class PluginOption(click.Option):
    """An option that stands for a field of a plugin."""


class PluginCommand(click.Command):
    """A command with an option for each field of the plugin that ``--type`` names, or of all plugins.

    A command without ``--type`` changes something whose type only the catalogue knows, so it takes all fields.
    ``from_environment``: whether a secret may come from an environment variable, which the help then names.
    """

    def __init__(self, *arguments: Any, fields: Fields, from_environment: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fields = fields
        self._from_environment = from_environment

    async def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Add the options, and then parse."""
        type_name = _type_argument(args) if any(param.name == "type_name" for param in self.params) else None
        self.params = [param for param in self.params if not isinstance(param, PluginOption)]
        taken = {param.name for param in self.params}
        for field in self._fields(type_name).values():
            options = self._secret(field) if field.secret else self._plain(field, required=type_name is not None)
            self.params += [option for option in options if option.name not in taken]
        return await super().make_context(info_name, args, parent, **extra)

    def _plain(self, field: "ConfigField", *, required: bool) -> Iterator[PluginOption]:
        required = required and field.required
        yield PluginOption([_spelling(field), field.name], required=required, help=f"{field.description}.")

    def _secret(self, field: "ConfigField") -> Iterator[PluginOption]:
        default = f"; default: $RETROVUE_{field.name.upper()}" if self._from_environment else ""
        text = f"File with it, - for the standard input{default}."
        yield PluginOption([f"{_spelling(field)}-file", f"{field.name}_file"], type=FILE, metavar="FILE", help=text)
        text = f"{field.description}. Shows in the list of processes."
        yield PluginOption([_spelling(field), field.name], metavar="SECRET", help=text)


def complete_type(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the installed types of source that begin with what was typed."""
    from retrovue.importers.registry import importer_types

    return [name for name in importer_types() if name.startswith(incomplete)]


def _type_argument(arguments: Sequence[str]) -> str | None:
    """Return the value of ``--type`` before the arguments are parsed."""
    for argument, following in pairwise([*arguments, None]):
        if argument == "--type":
            return following
        if argument is not None and argument.startswith("--type="):
            return argument.partition("=")[2]
    return None


def _spelling(field: "ConfigField") -> str:
    return f"--{field.name.replace('_', '-')}"
