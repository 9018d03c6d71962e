"""Arguments, and what is refused before anything is opened."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from retrovue.cli.commands.source import MESSAGE
from tests.cli.conftest import PASSWORD, TOKEN, Cli, Plex
from tests.cli.test_documents import KEYS

CONTRACT = (
    "Per-title/season/episode ingest is only supported at the collection level. Use: retrovue collection ingest"
    " <collection_id> [--title ... --season ... --episode ...]"
)

NARROWED = [
    ["My Plex", "--title", "The Big Bang Theory"],
    ["My Plex", "--title"],
    ["My Plex", "--title="],
    ["My Plex", "--season", "1"],
    ["My Plex", "--episode=6"],
    ["--episode", "6", "My Plex", "--dry-run"],
    ["--title", "--json-is-not-meant", "My Plex"],
]


class TestNarrowing:
    def test_the_message_is_the_contract_s(self) -> None:
        assert MESSAGE == CONTRACT

    @pytest.mark.parametrize("arguments", NARROWED, ids=" ".join)
    def test_is_refused_before_the_database_is_opened(self, offline_cli: Cli, arguments: list[str]) -> None:
        done = offline_cli("source", "ingest", *arguments)
        assert (done.status, done.out, done.err) == (1, "", f"Error: {CONTRACT}\n")

    @pytest.mark.parametrize("arguments", NARROWED, ids=" ".join)
    def test_is_refused_in_json(self, offline_cli: Cli, arguments: list[str]) -> None:
        done = offline_cli("source", "ingest", *arguments, "--json")
        assert done.status == 1
        assert list(done.document) == KEYS
        assert (done.document["status"], done.document["source"]["name"]) == ("error", "My Plex")
        [error] = done.document["errors"]
        assert (error["code"], error["message"]) == ("narrowing_forbidden", CONTRACT)


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["source"],
            ["source", "nonsense"],
            ["source", "ingest"],
            ["source", "ingest", "X", "--nonsense"],
            ["source", "ingest", "X", "Y"],
            ["source", "ingest", "X", "--concurrency", "many"],
            ["source", "ingest", "X", "--concurrency", "0"],
            ["source", "ingest", "X", "--max-rps", "0"],
            ["source", "ingest", "X", "--max-rps", "fast"],
            ["source", "ingest", "X", "--max-rps", "nan"],
            ["source", "ingest", "X", "--patience", "0"],
            ["source", "ingest", "X", "--patience", "nan"],
            ["source", "ingest", "X", "--patience", "inf"],
            ["collection", "ingest", "X", "--patience", "long"],
            ["collection", "ingest", "X", "--season", "1"],
            ["collection", "ingest", "X", "--title", "T", "--episode", "1"],
            ["collection", "ingest", "X", "--title", "T", "--season", "-1"],
            ["collection", "ingest", "X", "--title", "T", "--season", "one"],
            ["collection", "ingest", "X", "--title", ""],
            ["collection", "update", "X"],
            ["collection", "update", "X", "--map", "nowhere"],
            ["asset", "list", "--limit", "-1"],
            ["source", "add", "--type", "plex", "--name", "X"],
            ["source", "add", "--type", "nonsense", "--name", "X"],
            ["source", "update", "X"],
            ["source", "update", "X", "--nonsense", "Y"],
            ["source", "update", "X", "--token-file", "/nonexistent"],
            ["asset", "show", "One"],
            ["asset", "approve"],
            ["asset", "retire", "One"],
            ["ingest", "log", "--run", "last"],
            ["ingest", "log", "--limit", "-1"],
            ["ingest", "show"],
            ["db", "create"],
            ["db", "reset", "--yes"],
            ["db", "backup"],
            ["db", "restore"],
            ["demo", "--collections", "1"],
            ["source", "show", b"\xff"],
        ],
        ids=str,
    )
    def test_errors_exit_with_1_and_say_so(self, offline_cli: Cli, arguments: list[Any]) -> None:
        done = offline_cli(*arguments)
        assert done.status == 1
        assert "Error: " in done.err
        assert done.out == ""
        done = offline_cli(*arguments, "--json")
        assert done.status == 1
        assert done.document["status"] == "error"
        assert done.document["errors"][0]["message"] in done.err

    @pytest.mark.parametrize(
        ("arguments", "option", "most"),
        [
            (["asset", "list"], "--limit", "2,147,483,647"),
            (["ingest", "log"], "--limit", "2,147,483,647"),
            (["collection", "ingest", "X", "--title", "T"], "--season", "2,147,483,647"),
            (["collection", "ingest", "X", "--title", "T", "--season", "1"], "--episode", "2,147,483,647"),
            (["collection", "ingest", "X", "--dry-run", "--title", "T"], "--season", "2,147,483,647"),
            (["collection", "attach-enricher", "X", "Y"], "--priority", "2,147,483,647"),
            (["collection", "enrich", "X"], "--concurrency", "2,147,483,647"),
            (["source", "ingest", "X"], "--concurrency", "2,147,483,647"),
            (["source", "ingest", "X"], "--enrichment-concurrency", "2,147,483,647"),
            (["demo"], "--items", "10,000,000"),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )
    @pytest.mark.parametrize("number", ["2147483648", "99999999999999999999"])
    def test_a_number_that_is_too_large_is_refused_with_the_most(
        self, offline_cli: Cli, arguments: list[str], option: str, most: str, number: str
    ) -> None:
        done = offline_cli(*arguments, option, number)
        assert done.status == 1
        assert f"Invalid value for '{option}': {int(number):,} is too large: the most is {most}." in done.err
        if arguments != ["demo"]:
            assert offline_cli(*arguments, option, number, "--json").document["errors"][0]["code"] == "usage"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("asset", "list", "--year", "-5"), "-5 is too small: the least is 0."),
            (("source", "ingest", "X", "--concurrency", "0"), "0 is too small: the least is 1."),
            (("source", "ingest", "X", "--max-rps", "nan"), "'nan' is not a number."),
            (("source", "ingest", "X", "--max-rps", "fast"), "'fast' is not a number."),
        ],
    )
    def test_a_number_that_cannot_be_used_is_told_in_words(
        self, offline_cli: Cli, arguments: tuple[str, ...], says: str
    ) -> None:
        assert says in offline_cli(*arguments).err

    def test_a_rate_so_slow_that_nothing_is_answered_in_time(self, offline_cli: Cli) -> None:
        done = offline_cli("source", "ingest", "X", "--max-rps", "1e-9")
        assert done.status == 1
        assert "1e-09 is too small: the least is 0.1." in done.err

    def test_a_title_that_no_source_can_be_asked_for(self, offline_cli: Cli) -> None:
        title = ("collection", "ingest", "X", "--title")
        done = offline_cli(*title, "T" * 1001)
        assert done.status == 1
        assert "Invalid value for '--title': The title has 1,001 characters; at most 1,000" in done.err
        assert offline_cli(*title, "T" * 1000, "--json").document["errors"][0]["code"] == "database_unavailable"

    def test_an_error_of_source_ingest_is_a_whole_document(self, offline_cli: Cli) -> None:
        done = offline_cli("source", "ingest", "--json", "My Plex", "--nonsense")
        assert list(done.document) == KEYS
        assert done.document["errors"][0]["code"] == "usage"
        assert done.document["source"]["name"] == "My Plex"

    @pytest.mark.fault(42)
    def test_a_database_that_is_not_there(self, offline_cli: Cli) -> None:
        done = offline_cli("source", "ingest", "My Plex", "--json")
        assert done.status == 1
        assert list(done.document) == KEYS
        assert done.document["errors"][0]["code"] == "database_unavailable"
        assert PASSWORD not in done.out + done.err


class TestLocale:
    ASCII: ClassVar[dict[str, str]] = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    @pytest.mark.parametrize(
        "arguments",
        [
            ("collection", "ingest", "X", "--title", "Amélie"),
            ("source", "ingest", "X"),
            ("enricher", "list"),
            ("demo",),
        ],
        ids=" ".join,
    )
    def test_one_that_is_not_utf_8_is_refused(self, offline_cli: Cli, arguments: tuple[str, ...]) -> None:
        done = offline_cli.process(*arguments, env=self.ASCII)
        assert (done.status, done.out) == (1, "")
        assert re.fullmatch(
            "Error: Arguments and file names are read as [a-z0-9-]+ here, not as UTF-8.\n"
            "  Set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale such as C.UTF-8.\n",
            done.err,
        )

    def test_in_json(self, offline_cli: Cli) -> None:
        document = offline_cli.process("source", "ingest", "X", "--json", env=self.ASCII).document
        assert list(document) == KEYS
        assert document["errors"][0]["code"] == "not_utf8"

    @pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("source", "ingest", "--help")], ids=" ".join)
    def test_help_is_given_all_the_same(self, offline_cli: Cli, arguments: tuple[str, ...]) -> None:
        done = offline_cli.process(*arguments, env=self.ASCII)
        assert (done.status, done.err) == (0, "")
        assert done.out


class TestHelp:
    def test_imports_nothing_heavy(self, offline_cli: Cli) -> None:
        probe = (
            "import sys, os; from retrovue.cli import entry\n"
            "def leave(status):\n"
            "    heavy = {'sqlalchemy', 'asyncpg', 'alembic', 'httpx', 'rich'} & set(sys.modules)\n"
            "    sys.stderr.write(f'{status} {sorted(heavy)}'); sys.stderr.flush(); os._exit(0)\n"
            "entry.leave = leave; entry.main()\n"
        )
        helped = (["--help"], ["source", "ingest", "--help"], ["ingest", "log", "--help"], ["--version"])
        for arguments in helped:
            done = subprocess.run(
                [sys.executable, "-c", probe, *arguments], env=offline_cli.environment, capture_output=True, check=True
            )
            assert done.stderr == b"0 []", arguments
            assert done.stdout

    @pytest.mark.parametrize(
        "arguments",
        [
            ["source", "list"], ["source", "show", "My Plex"], ["collection", "list"], ["asset", "list"],
            ["ingest", "log"], ["stats"], ["enricher", "list"], ["schedule", "list"],
            ["db", "status"],
        ],
        ids=" ".join,
    )  # fmt: skip
    @pytest.mark.usefixtures("added")
    def test_commands_that_only_read_do_without_sqlalchemy(self, run_cli: Cli, arguments: list[str]) -> None:
        """Its import is more than half of their start."""
        probe = (
            "import sys, os; from retrovue.cli import entry\n"
            "def leave(status):\n"
            "    heavy = {'sqlalchemy', 'alembic', 'tenacity'} & set(sys.modules)\n"
            "    sys.stderr.write(f'{status} {sorted(heavy)}'); sys.stdout.flush(); sys.stderr.flush(); os._exit(0)\n"
            "entry.leave = leave; entry.main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe, *arguments], env=run_cli.environment, capture_output=True, check=True
        )
        assert done.stderr == b"0 []"
        assert done.stdout

    @pytest.mark.usefixtures("ready")
    def test_an_ingest_imports_sqlalchemy_while_it_asks_its_source(self, run_cli: Cli) -> None:
        """In another thread, so that the requests of the pre-flight go on meanwhile."""
        probe = (
            "import sys, threading; from retrovue.cli import entry\n"
            "class Watch:\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name == 'sqlalchemy':\n"
            "            found.append(threading.current_thread() is not threading.main_thread())\n"
            "            found.append('retrovue.importers.plex.importer' in sys.modules)\n"
            "found = []; sys.meta_path.insert(0, Watch()); leave = entry.leave\n"
            "def tell(status):\n"
            "    sys.stderr.write(f'{status} {found}'); leave(0)\n"
            "entry.leave = tell; entry.main()\n"
        )
        for arguments in (["source", "ingest", "My Plex"], ["collection", "ingest", "Movies", "--dry-run"]):
            done = subprocess.run(
                [sys.executable, "-c", probe, *arguments], env=run_cli.environment, capture_output=True, check=True
            )
            assert b"[True, True]" in done.stderr, (arguments, done.stderr)

    def test_what_commands_do_imports_only_what_all_of_them_need(self, offline_cli: Cli) -> None:
        """The client of media servers, migrations and tables for terminals each take a tenth of a second of CPU."""
        probe = (
            "import sys, pkgutil, importlib, retrovue.cli.actions as actions\n"
            "for module in pkgutil.iter_modules(actions.__path__):\n"
            "    importlib.import_module(f'{actions.__name__}.{module.name}')\n"
            "print(sorted({'httpx', 'alembic', 'rich.console', 'cryptography', 'av'} & set(sys.modules)))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe], env=offline_cli.environment, capture_output=True, check=True
        )
        assert done.stdout == b"[]\n"

    def test_an_ingest_imports_the_importer_of_directories_for_directories_alone(self, offline_cli: Cli) -> None:
        """It is seventeen modules, with patterns that are compiled when they are imported."""
        probe = (
            "import sys, retrovue.cli.actions.ingest, retrovue.cli.actions.sources\n"
            "print('retrovue.ingest.pipeline' in sys.modules, 'retrovue.importers.filesystem' in sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe], env=offline_cli.environment, capture_output=True, check=True
        )
        assert done.stdout == b"True False\n"

    @pytest.mark.parametrize(
        "arguments",
        [["source", *rest] for rest in ([], ["list-types"], ["add"], ["list"], ["show"], ["discover"], ["ingest"])]
        + [["collection", *rest] for rest in ([], ["list"], ["show"], ["update"], ["ingest"])]
        + [["source", "update"], ["source", "delete"], ["collection", "wipe"], ["ingest", "log"], ["ingest", "show"]]
        + [["asset", *rest] for rest in ([], ["list"], ["show"], ["approve"], ["retire"])]
        + [
            ["db", *rest]
            for rest in ([], ["upgrade"], ["status"], ["index"], ["create"], ["reset"], ["backup"], ["restore"])
        ]
        + [["doctor"], ["demo"]],
        ids=" ".join,
    )
    def test_every_command_has_it(self, offline_cli: Cli, arguments: list[str]) -> None:
        done = offline_cli(*arguments, "--help")
        assert (done.status, done.err) == (0, "")
        assert f"Usage: retrovue {' '.join(arguments)}" in done.out
        for narrowing in ("--title", "--season", "--episode"):
            # Those on assets filter what they list or decide.
            takes_it = arguments[0] == "asset" or arguments in (["collection", "ingest"], ["collection", "sync"])
            assert takes_it or narrowing not in done.out
            assert narrowing in done.out or arguments != ["collection", "ingest"]


@pytest.mark.fault(68)
class TestToken:
    def add(self, plex: Plex, *more: str) -> tuple[str, ...]:
        return ("source", "add", "--type", "plex", "--name", "My Plex", "--base-url", plex.url, *more)

    def test_from_the_environment(self, run_cli: Cli, plex: Plex) -> None:
        done = run_cli(*self.add(plex), env={"RETROVUE_TOKEN": TOKEN})
        assert (done.status, done.err) == (0, "")
        assert TOKEN not in done.out

    def test_from_a_file(self, run_cli: Cli, plex: Plex, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text(f"{TOKEN}\n")
        done = run_cli(*self.add(plex, "--token-file", str(file), "--json"))
        assert (done.status, done.err) == (0, "")
        assert done.document["source"]["credentials"] == ["token"]
        assert TOKEN not in done.out

    def test_from_the_standard_input(self, run_cli: Cli, plex: Plex) -> None:
        done = run_cli.process(*self.add(plex, "--token-file", "-"), stdin=f"{TOKEN}\n")
        assert (done.status, done.err) == (0, "")

    def test_from_a_terminal_without_echo(self, run_cli: Cli, plex: Plex) -> None:
        terminal, its_end = pty.openpty()
        with run_cli.start(*self.add(plex), stdin=its_end, start_new_session=True) as process:
            assert process.stderr is not None
            asked = b""
            while not asked.endswith(b": "):
                asked += process.stderr.read(1) or pytest.fail(f"not asked: {asked!r}")
            os.write(terminal, f"{TOKEN}\n".encode())
            out, err = process.communicate(timeout=60)
        os.set_blocking(terminal, False)
        with pytest.raises(BlockingIOError):  # nothing was echoed
            os.read(terminal, 1000)
        os.close(terminal)
        os.close(its_end)
        assert process.returncode == 0
        assert TOKEN.encode() not in asked + out + err

    def test_awaited_can_be_interrupted(self, offline_cli: Cli, plex: Plex, tmp_path: Path) -> None:
        fifo = tmp_path / "token"
        os.mkfifo(fifo)
        process = offline_cli.start(*self.add(plex, "--token-file", str(fifo)))
        with fifo.open("wb"):  # opens when the command has opened the other end
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, b"", b"Error: Interrupted by SIGINT.\n")

    def test_from_an_option_with_a_warning(self, run_cli: Cli, plex: Plex) -> None:
        done = run_cli(*self.add(plex, "--token", TOKEN))
        assert done.status == 0
        assert done.err == "Warning: --token shows in the list of processes; --token-file or RETROVUE_TOKEN doesn't.\n"
        assert TOKEN not in done.out

    def test_from_nowhere(self, offline_cli: Cli, plex: Plex) -> None:
        done = offline_cli(*self.add(plex, "--json"))
        assert done.status == 1
        [error] = done.document["errors"]
        assert error["code"] == "missing_token"
        assert "--token-file" in error["hint"]
        assert "RETROVUE_TOKEN" in error["hint"]

    @pytest.mark.parametrize("content", ["", " \n", "two words", "two\nlines", "\x1b[31m"], ids=repr)
    def test_that_is_none(self, offline_cli: Cli, plex: Plex, content: str) -> None:
        done = offline_cli(*self.add(plex, "--token-file", "-", "--json"), stdin=content)
        assert done.status == 1
        assert done.document["errors"][0]["code"] in {"empty_secret", "bad_secret"}

    def test_in_a_file_that_is_not_there(self, offline_cli: Cli, plex: Plex, tmp_path: Path) -> None:
        done = offline_cli(*self.add(plex, "--token-file", str(tmp_path / "none")))
        assert done.status == 1
        assert "No such file or directory" in done.err

    def test_that_is_refused_is_not_shown(self, run_cli: Cli, plex: Plex) -> None:
        done = run_cli(*self.add(plex, "--json"), env={"RETROVUE_TOKEN": "wrong-canary", "RETROVUE_DEBUG": "1"})
        assert done.status == 1
        assert done.document["errors"][0]["code"] == "auth"
        assert "wrong-canary" not in done.out + done.err

    @pytest.mark.usefixtures("added")
    def test_is_nowhere_in_what_is_shown_later(self, run_cli: Cli) -> None:
        for arguments in (["source", "list"], ["source", "show", "My Plex"], ["source", "discover", "My Plex"]):
            for more in ([], ["--json"]):
                done = run_cli(*arguments, *more)
                assert done.status == 0
                assert TOKEN not in done.out + done.err

    def test_a_password_in_the_address_is_not_shown(self, run_cli: Cli, plex: Plex) -> None:
        url = plex.url.replace("http://", f"http://me:{PASSWORD}@")
        command = ("source", "add", "--type", "plex", "--name", "My Plex", "--base-url", url)
        done = run_cli(*command, env={"RETROVUE_TOKEN": TOKEN})
        assert PASSWORD not in done.out + done.err
        assert orjson.loads(run_cli("source", "list", "--json").out)["status"] == "ok"
        assert PASSWORD not in run_cli("source", "list", "--json").out
