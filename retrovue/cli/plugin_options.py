"""Commands that have an option for each setting of an importer or parameter of an enricher."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import asyncclick as click
from asyncclick.shell_completion import CompletionItem

from retrovue.cli.options import FILE, LASTING_FILE
from retrovue.core.errors import EnricherNotCompliant, ImporterNotCompliant

if TYPE_CHECKING:
    from retrovue.core.model import ConfigField

Types = Callable[[], Sequence[str]]
"""Returns the installed types."""
Describe = Callable[[str], "Sequence[ConfigField]"]
"""Returns the fields of a type."""


def source_types() -> Sequence[str]:
    """Return the installed types of source."""
    from retrovue.importers.registry import importer_types

    return importer_types()


def source_settings(type_name: str) -> "Sequence[ConfigField]":
    """Return the settings of a type of source."""
    from retrovue.importers.registry import importer_settings

    return importer_settings(type_name)


def enricher_types() -> Sequence[str]:
    """Return the installed types of enricher."""
    from retrovue.enrichers import registry

    return registry.enricher_types()


def enricher_parameters(type_name: str) -> "Sequence[ConfigField]":
    """Return the parameters of a type of enricher."""
    from retrovue.enrichers.registry import parameters_of

    return parameters_of(type_name)


def plugin_fields(type_name: str | None, types: Types, describe: Describe) -> "Mapping[str, Sequence[ConfigField]]":
    """Return the fields of one type, or of all installed types that comply, by type."""
    fields: dict[str, Sequence[ConfigField]] = {}
    for known in types() if type_name is None else [type_name]:
        try:
            fields[known] = describe(known)
        except (ImporterNotCompliant, EnricherNotCompliant):
            if type_name is not None:
                raise  # Otherwise one invalid plugin would break the help of the others.
    return fields


def setting_fields(type_name: str | None) -> "Mapping[str, ConfigField]":
    """Return the settings of a type of source, or of all installed types, by name."""
    types = list(plugin_fields(type_name, source_types, source_settings).values())
    return {field.name: field for fields in reversed(types) for field in fields}


class PluginType(click.ParamType[str]):
    """The name of an installed plugin type. An unknown name is reported by the code that loads the plugin."""

    name = "type"

    def __init__(self, types: Types) -> None:
        self._types = types

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Return the names of all types, in the form of an option with choices."""
        return f"[{'|'.join(self._types())}]"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the addition to the error that the option is missing."""
        return f"Choose from: {', '.join(self._types())}"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the types that begin with the typed text."""
        return [CompletionItem(name) for name in self._types() if name.startswith(incomplete)]


class PluginOption(click.Option):
    """An option that stands for a field of a plugin."""


class PluginCommand(click.Command):
    """A command with an option for each field of the plugin type that ``--type`` gives, or of all types.

    A command without ``--type`` changes an object whose type only the catalogue knows, so it takes all fields.
    ``from_environment``: whether a secret may come from an environment variable, which the help then names.
    """

    def __init__(
        self, *arguments: Any, types: Types, describe: Describe, from_environment: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._types = types
        self._describe = describe
        self._from_environment = from_environment
        self._options: dict[str, list[PluginOption]] = {}
        """The fields by type. Several types may have an option with the same name and different help."""

    async def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Add the options, and then parse."""
        type_name = _type_argument(args) if any(param.name == "type_name" for param in self.params) else None
        self.params = [param for param in self.params if not isinstance(param, PluginOption)]
        taken = {param.name for param in self.params}
        self._options = {
            known: [option for field in fields for option in self._fields(field, required=type_name is not None)]
            for known, fields in plugin_fields(type_name, self._types, self._describe).items()
        }
        for options in self._options.values():
            self.params += [option for option in options if option.name not in taken]
            taken |= {option.name for option in options}
        return await super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options of all types, and then those of each type."""
        shared = [param for param in self.get_params(ctx) if not isinstance(param, PluginOption)]
        sections: dict[str, Sequence[click.Parameter]] = {"Options": shared}
        sections |= {f"Options for type {name}": options for name, options in self._options.items()}
        for title, options in sections.items():
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def _fields(self, field: "ConfigField", *, required: bool) -> Iterator[PluginOption]:
        spelling = field.option
        if not field.secret:
            form: dict[str, Any] = {"metavar": "SECONDS"} if field.name.endswith("_s") else {}
            if field.kind == "flag":
                spelling, form = f"{spelling}/--no-{spelling[2:]}", {"default": None}
            elif field.kind == "file":
                form = {"type": LASTING_FILE, "metavar": "PATH"}
            required = required and field.required
            yield PluginOption([spelling, field.name], required=required, help=f"{field.description}.", **form)
            return
        default = f"; default: $RETROVUE_{field.name.upper()}" if self._from_environment else ""
        text = f"File with it, - for the standard input{default}."
        yield PluginOption([f"{spelling}-file", f"{field.name}_file"], type=FILE, metavar="FILE", help=text)
        text = f"{field.description}. Shows in the list of processes."
        yield PluginOption([spelling, field.name], metavar="SECRET", help=text)


def _type_argument(arguments: Sequence[str]) -> str | None:
    """Return the value of ``--type`` before the arguments are parsed."""
    for argument, following in pairwise([*arguments, None]):
        if argument == "--type":
            return following
        if argument is not None and argument.startswith("--type="):
            return argument.partition("=")[2]
    return None
