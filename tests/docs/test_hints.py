"""Every command and option that a message names can be typed: hints are found in the code, filled in, and parsed."""

import ast
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncclick as click
import pytest

from retrovue.cli.app import command as program
from retrovue.cli.invocation import Invocation
from retrovue.cli.output import Output
from retrovue.cli.plugin_options import enricher_parameters, enricher_types, source_settings, source_types
from tests.contracts.rules import ROOT

pytestmark = pytest.mark.anyio

SAMPLES = {
    "RUN": "latest",
    "UUID": "5063d926-0000-4000-8000-000000000000",
    "FROM=TO": "/data=/mnt",
    "SOURCE=LOCAL": "/data=/mnt",
    "N": "5",
    "SECONDS": "60",
}
"""What stands for the words in capitals; any other word stands for itself."""
FILLED = {
    "collection.arguments": "Movies --source Plex",
    "collection.id": "5063d926-0000-4000-8000-000000000000",
    "commands": "--map /data=/mnt",
    "locations": "--map /data=/mnt",
    "noun": "collection",
    "test_db": " --test-db",
    "summary.run_id": "5063d926-0000-4000-8000-000000000000",
    "what": "source",
    "'--read-timeout' if midway else '--mount-timeout'": "--read-timeout",
}
"""What stands for the values in messages, by their expressions; any other value is one word."""


@dataclass(frozen=True)
class Text:
    """A text of the program."""

    place: str
    text: str


@cache
def texts() -> tuple[Text, ...]:
    """Return the texts of the program, except docstrings."""
    return tuple(_texts())


def _texts() -> Iterator[Text]:
    for path in sorted((ROOT / "retrovue").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        strings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                strings |= {id(part) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in strings:
                text = filled(node)
                if "retrovue " in text or "--" in text:
                    yield Text(f"{path.relative_to(ROOT)}:{node.lineno}", text)


def filled(node: ast.Constant | ast.JoinedStr) -> str:
    """Return a text with samples in place of its values."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    parts = [
        str(part.value) if isinstance(part, ast.Constant) else FILLED.get(ast.unparse(part.value), "X")
        for part in node.values
        if isinstance(part, ast.Constant | ast.FormattedValue)
    ]
    return "".join(parts)


def commands() -> list[tuple[str, str]]:
    """Return the commands that messages name, each with its place."""
    return sorted(
        {(text.place, call) for text in texts() for call in re.findall(r"`(retrovue [a-z-][^`]*)`", text.text)}
    )


def options() -> list[tuple[str, str]]:
    """Return the options that messages name without their command, each with its place."""
    return sorted(
        {
            (text.place, option)
            for text in texts()
            if " " in text.text.strip() and "`" not in text.text and "string split" not in text.text  # fish's
            for option in re.findall(r"(?<![\w`-])--[a-z][a-z-]+", text.text)
        }
    )


async def resolved(words: list[str]) -> tuple[click.Context, click.Command, list[str]]:
    """Find the command that the words begin with; raises UsageError if there is none."""
    command: click.Command = program
    settings = program.context_settings  # a command keeps the help option that its first context gives it
    context = click.Context(command, info_name="retrovue", obj=Invocation(Output(as_json=False)), **settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = await command.resolve_command(context, words)
        assert found is not None
        context, command = click.Context(found, info_name=name, parent=context), found
    return context, command, words


async def why_it_cannot_be_typed(call: str) -> str | None:
    """Return what the parser has against a command, or None."""
    try:
        words = [SAMPLES.get(word, word) for word in shlex.split(call)[1:]]
        context, command, arguments = await resolved(words)
        if arguments and "..." not in call:  # else only the name of a command, or options that the operator chooses
            with suppress(click.exceptions.Exit):  # --help
                await command.make_context(context.info_name, arguments, parent=context.parent)
    except (click.ClickException, ValueError) as exc:
        return f"{type(exc).__name__}: {exc}"
    return None


@pytest.mark.fault(216)
async def test_the_commands_of_messages_can_be_typed() -> None:
    assert len(commands()) > 100
    found = {f"{place}: {call}": await why_it_cannot_be_typed(call) for place, call in commands()}
    assert {call: why for call, why in found.items() if why is not None} == {}


@pytest.mark.parametrize("call", ["retrovue sourc list", "retrovue source list --no-such", "retrovue source show 'x"])
async def test_one_that_cannot_be_typed_is_found(call: str) -> None:
    assert await why_it_cannot_be_typed(call) is not None


def every_option() -> set[str]:
    """Return the options of all commands."""
    named: set[str] = set()

    def collect(command: click.Command) -> None:
        for param in command.params:
            named.update(param.opts + param.secondary_opts)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                collect(below)

    collect(program)
    fields = [field for kind in source_types() for field in source_settings(kind)]
    fields += [field for kind in enricher_types() for field in enricher_parameters(kind)]
    for field in fields:
        named |= {field.option, f"{field.option}-file"} if field.secret else {field.option}
        named |= {f"--no-{field.option[2:]}"} if field.kind == "flag" else set()
    return named


def test_options_of_messages_exist() -> None:
    known = every_option() | {"--help"}
    # Those of other programs, which RetroVue runs.
    theirs = Path(ROOT / "retrovue/store"), Path(ROOT / "retrovue/enrichers/probe"), Path(ROOT / "retrovue/simulator")
    missing = [
        (place, option)
        for place, option in options()
        if option not in known and not any((ROOT / place).is_relative_to(folder) for folder in theirs)
    ]
    assert missing == []


def test_no_message_names_a_setting_that_has_an_option_by_its_key() -> None:
    keys = {field.name for kind in source_types() for field in source_settings(kind)}
    keys |= {field.name for kind in enricher_types() for field in enricher_parameters(kind)}
    keys = {key for key in keys if "_" in key}
    found = [
        (text.place, key)
        for text in texts()
        for key in keys
        if " " in text.text and re.search(rf"(?<![\w.]){key}(?!\w)", text.text)
    ]
    assert found == []
