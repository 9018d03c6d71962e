"""Every command's help: a summary that fits its line, all options told, and examples that are commands."""

import shlex
from collections.abc import Iterator

import asyncclick as click
import pytest

from retrovue.cli.app import command as program
from retrovue.cli.invocation import Invocation
from retrovue.cli.output import Output
from retrovue.cli.plugin_options import PluginOption
from retrovue.testing.tasks import run as run_alone
from tests.cli.conftest import Cli


def tree(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from tree(below, (*path, name))


COMMANDS = dict(tree(program))
EXAMPLES = [
    line.strip()
    for command in COMMANDS.values()
    for line in (command.epilog or "").splitlines()
    if line.strip().startswith("retrovue ")
]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help(offline_cli: Cli, path: tuple[str, ...]) -> None:
    done = offline_cli(*path, "--help")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert not [line for line in lines if line.endswith("...") and "Usage" not in line]
    assert max(map(len, lines)) <= 80 or any(one in done.out for one in EXAMPLES)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_told(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    untold = [
        one.name
        for one in command.params
        if isinstance(one, click.Option) and not isinstance(one, PluginOption) and not one.help
    ]
    assert untold == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_understood(example: str) -> None:
    async def parse() -> None:
        arguments = shlex.split(example)[1:]
        context = await program.make_context("retrovue", arguments, obj=Invocation(Output()))
        command: click.Command = program
        rest = arguments
        while isinstance(command, click.Group):
            name, found, rest = await command.resolve_command(context, rest)
            assert found is not None
            command = found
        context = await command.make_context(name, rest, parent=context)
        assert context.params

    run_alone(parse)
