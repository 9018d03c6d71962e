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
from tests.cli.conftest import Cli, Plex


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


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_short_to_ask_for_and_plain(offline_cli: Cli, path: tuple[str, ...]) -> None:
    asked = offline_cli(*path, "-h")
    assert asked == offline_cli(*path, "--help")
    assert "2147483647" not in asked.out


class TestTypes:
    """Options that come from plugins are shown in the words of each plugin, and so are the types."""

    @pytest.mark.parametrize(
        ("noun", "types"), [("source", "[filesystem|jellyfin|plex"), ("enricher", "[filename|nfo")]
    )
    def test_the_types_are_listed(self, offline_cli: Cli, noun: str, types: str) -> None:
        assert f"--type {types}" in offline_cli(noun, "add", "--help").out
        missing = offline_cli(noun, "add")
        assert f"Error: Missing option '--type'. Choose from: {types[1:].replace('|', ', ')}" in missing.err

    @pytest.mark.parametrize("verb", ["add", "update"])
    def test_each_type_has_its_own_words(self, offline_cli: Cli, verb: str) -> None:
        _, jellyfin, plex = offline_cli("source", verb, "--help").out.rsplit("\n\nOptions for type ", 2)
        assert jellyfin.startswith("jellyfin:")
        assert "Jellyfin server" in jellyfin
        assert "Plex" not in jellyfin
        assert plex.startswith("plex:")
        assert "X-Plex-Token" in plex
        assert "Jellyfin" not in plex

    def test_a_type_that_is_given_is_the_only_one(self, offline_cli: Cli) -> None:
        given = offline_cli("source", "add", "--type", "plex", "--help").out
        assert "Options for type plex:" in given
        assert "type jellyfin:" not in given


class TestMistakes:
    def test_a_hint_names_no_source_that_is_not_there_yet(self, run_cli: Cli, plex: Plex) -> None:
        done = run_cli(
            "source", "add", "--type", "plex", "--name", "P", "--base-url", plex.url, env={"RETROVUE_TOKEN": "x"}
        )
        assert done.status == 1
        assert "refused the token (HTTP 401).\n  Check the token, and run the command again." in done.err
        assert "source update" not in done.err

    def test_choices_stand_on_the_line(self, offline_cli: Cli) -> None:
        assert "Choose from: bash, zsh, fish\n" in offline_cli("completion").err

    def test_a_switch_takes_no_value(self, offline_cli: Cli) -> None:
        done = offline_cli("source", "add", "--type", "plex", "--name", "P", "--base-url", "x", "--gzip", "maybe")
        assert "(maybe)\n  --gzip takes no value; its opposite is --no-gzip. Try" in done.err

    def test_ingest_is_suggested_where_it_is(self, offline_cli: Cli) -> None:
        done = offline_cli("ingest", "My Plex")
        assert done.status == 1
        assert "run `retrovue source ingest 'My Plex'` or `retrovue collection ingest 'My Plex'`" in done.err

    def test_a_misspelt_command_is_corrected(self, offline_cli: Cli) -> None:
        done = offline_cli("ingest", "lgo")
        assert "Did you mean 'log'?" in done.err
        assert "source ingest" not in done.err


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
