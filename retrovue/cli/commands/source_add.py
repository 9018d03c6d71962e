"""How source add learns its options: an importer's settings are options of its type."""

from collections.abc import Iterator, Sequence
from typing import Any

import asyncclick as click

from retrovue.errors import ImporterNotCompliant


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
        self.params = [one for one in self.params if not isinstance(one, SettingOption)]
        taken = {one.name for one in self.params}
        self.params += [one for one in _setting_options(_type(args)) if one.name not in taken]
        return await super().make_context(info_name, args, parent, **extra)


class SettingOption(click.Option):
    """An option that is a setting of an importer."""


def _type(arguments: Sequence[str]) -> str | None:
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == "--type":
            return following
        if argument.startswith("--type="):
            return argument.partition("=")[2]
    return None


def _setting_options(type_name: str | None) -> Iterator[SettingOption]:
    from retrovue.importers.registry import importer_class, importer_types  # noqa: PLC0415 - keeps help quick
    from retrovue.model import ConfigField  # noqa: PLC0415

    fields: dict[str, ConfigField] = {}
    for known in importer_types() if type_name is None else [type_name]:
        try:
            described = importer_class(known).describe_configuration()
        except ImporterNotCompliant:
            if type_name is not None:
                raise
            continue  # another type's help must not suffer for it
        fields |= {field.name: field for field in described if field.name not in fields}
    for field in fields.values():
        option = f"--{field.name.replace('_', '-')}"
        if not field.secret:
            required = field.required and type_name is not None
            yield SettingOption([option, field.name], required=required, help=f"{field.description}.")
            continue
        variable = f"RETROVUE_{field.name.upper()}"
        text = f"File with it, - for the standard input; default: ${variable}."
        yield SettingOption([f"{option}-file", f"{field.name}_file"], metavar="FILE", help=text)
        text = f"{field.description}. Shows in the list of processes."
        yield SettingOption([option, field.name], metavar="SECRET", help=text)
