"""Completion, in each shell that is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

SHELLS = ("bash", "zsh", "fish")

ASK = {
    "bash": """
        source "$SCRIPT"
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _retrovue_completion retrovue
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    # What zsh itself would show is printed; the rest is as in its line editor.
    "zsh": """
        compdef() { }
        _describe() { for each in $completions_with_descriptions; printf '%s\\t%s\\n' "${each%%:*}" "${each#*:}" }
        compadd() { print -rl -- "${completions[@]}" }
        source "$SCRIPT"
        words=("$@")
        CURRENT=$#
        _retrovue_completion
    """,
    "fish": """
        source $SCRIPT
        complete --do-complete "$argv[2..]"
    """,
}
"""For each shell a script that prints what it offers for a line, a word an argument; a tab is before a description."""
START = {"bash": ("--norc", "-c"), "zsh": ("-f", "-c"), "fish": ("--no-config", "-c")}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param}")
    return str(request.param)


def asked(cli: Cli, shell: str, directory: Path, *words: str) -> dict[str, str]:
    """Have a shell complete a line; returns what it offers, with the descriptions."""
    written = cli("completion", shell)
    assert (written.status, written.err) == (0, "")
    script = directory / "script"
    script.write_text(written.out)
    program = Path(sys.executable).parent
    own = {"SCRIPT": str(script), "PATH": f"{program}:{cli.environment['PATH']}", "HOME": str(directory)}
    done = subprocess.run(
        [shell, *START[shell], ASK[shell], shell, "retrovue", *words],
        env=cli.environment | own,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    lines = [line.partition("\t") for line in done.stdout.splitlines() if line]
    return {word: description for word, _, description in lines}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["quic"], ["quickstart"]),
        (["source", "d"], ["delete", "discover"]),
        (["source", "add", "--ty"], ["--type"]),
        (["source", "add", "--type", ""], ["filesystem", "jellyfin", "plex"]),
        (["source", "add", "--type", "filesystem", "--pa"], ["--path"]),
        (["source", "ingest", "'My Plex'", "--j"], ["--json", "--jsonl"]),
        (["collection", "update", "Movies", "--en"], ["--enable"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["no-such-command", "x"], []),
        (["source", "ingest", "--title", "X", "--"], []),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_shell_offers(offline_cli: Cli, tmp_path: Path, shell: str, words: list[str], offered: list[str]) -> None:
    assert sorted(asked(offline_cli, shell, tmp_path, *words)) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"], indirect=True)
def test_descriptions_are_whole(offline_cli: Cli, tmp_path: Path, shell: str) -> None:
    offered = asked(offline_cli, shell, tmp_path, "source", "ingest", "X", "--jsonl")
    assert offered["--jsonl"].startswith("Print each event as a line of JSON; the last line is the document")
    offered = asked(offline_cli, shell, tmp_path, "--log-l")
    assert offered == {"--log-level": "Lowest level to log to the standard error; default: no log."}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one(offline_cli: Cli, tmp_path: Path, shell: str) -> None:
    done = offline_cli("completion", shell)
    assert done.status == 0
    assert f"_RETROVUE_COMPLETE={shell}_complete" in done.out
    program = shutil.which(shell)
    if program is None:
        return  # that the script names the program's own protocol has been seen; its syntax is the library's
    file = tmp_path / "script"
    file.write_text(done.out)
    checked = subprocess.run([program, "-n", str(file)], capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_another_shell(offline_cli: Cli) -> None:
    assert offline_cli("completion", "tcsh").status == 1


def test_an_instruction_that_makes_no_sense(offline_cli: Cli) -> None:
    done = offline_cli("source", "list", env={"_RETROVUE_COMPLETE": "bash_dance"})
    assert (done.status, done.out, done.err) == (1, "", "")


@pytest.mark.parametrize(
    ("words", "meant"),
    [(("sorce",), "Did you mean 'source'?"), (("source", "discver"), "Did you mean 'discover'?")],
)
def test_an_unknown_command_names_the_nearest(offline_cli: Cli, words: tuple[str, ...], meant: str) -> None:
    done = offline_cli(*words)
    assert (done.status, done.out) == (1, "")
    assert meant in done.err


def test_source_add_without_anything_is_a_usage_error(offline_cli: Cli) -> None:
    done = offline_cli("source", "add", "--json")
    assert done.document["errors"][0]["code"] == "usage"
    done = offline_cli("source", "add")
    assert "Missing option '--type'" in done.err
