"""Completion, in a real bash; the scripts of other shells are checked where those are installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

BASH = shutil.which("bash")

ASK = """
source "$SCRIPT"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_retrovue_completion retrovue
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(offline_cli: Cli, tmp_path: Path) -> Path:
    done = offline_cli("completion", "bash")
    assert (done.status, done.err) == (0, "")
    script = tmp_path / "retrovue.bash"
    script.write_text(done.out)
    return script


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["quic"], ["quickstart"]),
        (["source", "d"], ["delete", "discover"]),
        (["source", "add", "--ty"], ["--type"]),
        (["source", "add", "--type", ""], ["filesystem", "jellyfin", "plex"]),
        (["source", "add", "--type", "filesystem", "--pa"], ["--path"]),
        (["source", "ingest", "'My Plex'", "--j"], ["--jsonl", "--json"]),
        (["collection", "update", "Movies", "--en"], ["--enable"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["no-such-command", "x"], []),
        (["source", "ingest", "--title", "X", "--"], []),
    ],
    ids=" ".join,
)  # fmt: skip
def test_bash_offers(offline_cli: Cli, script: Path, words: list[str], offered: list[str]) -> None:
    assert BASH is not None
    program = Path(sys.executable).parent
    done = subprocess.run(
        [BASH, "--norc", "-c", ASK, "bash", "retrovue", *words],
        env=offline_cli.environment | {"SCRIPT": str(script), "PATH": f"{program}:{offline_cli.environment['PATH']}"},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (offered, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
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
