"""A shell that a page's session is typed into, and the media server that the page speaks of."""

import os
import re
import shlex
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Self

import orjson

from tests.cli.conftest import Cli
from tests.support import schemas
from tests.support.pages import Command, compare

SECONDS = 300
"""A session that isn't over by then is ended, and its test fails."""
SIMULATOR = "python -m retrovue.simulator "
_ECHO = "echo $?"


_SYNTAX = re.compile(r"[|<>;&$`*?~#(){}\\!]")
"""What only a shell understands."""
_MOVES = re.compile(r"^(export|unset|cd)\b", re.MULTILINE)
"""What changes the variables or the directory of all that the shell starts from then on."""
_SETS = re.compile(r"^(alias|umask|ulimit)\b", re.MULTILINE)
"""What changes the shell, and with it all that it starts, in a way that only its own processes know."""


class Shell:
    """Types commands into one bash, as somebody does who follows a page."""

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        stands_for: Mapping[str, str],
        *,
        in_this_process: bool = False,
    ) -> None:
        """``in_this_process``: a line that is a call of ``retrovue`` and nothing else starts no process of its own.

        To start the program takes most of what such a line takes.
        """
        self._cli = Cli(environment) if in_this_process else None
        self._stands_for = dict(stands_for)
        """What the page says → what it is here."""
        self._ids: dict[str, str] = {}
        self._status = 0
        self._mark = uuid.uuid4().hex
        self._port = "0"
        self._server: subprocess.Popen[bytes] | None = None
        self._environment = dict(environment)
        self._directory = directory
        self._errors = directory.parent / "errors"
        self._variables = directory.parent / "variables"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._bash = stack.enter_context(
                subprocess.Popen(
                    ["bash", "--noprofile", "--norc"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=self._directory,
                    env=self._environment,
                )
            )
            stack.callback(self._bash.kill)
            stack.callback(self._end_server)
            watch = threading.Timer(SECONDS, self._bash.kill)
            watch.start()
            stack.callback(watch.cancel)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def follow(self, page: str, commands: list[Command]) -> None:
        """Run a session; every command has to succeed, unless ``echo $?`` after it shows that it doesn't."""
        for command, after in zip(commands, [*commands[1:], None], strict=True):
            out, err = self.type(command.text)
            schemas.check(shlex.split(command.text), out, err)
            printed = out + err
            # On a terminal both streams are seen; what is said only where the output isn't one is left out.
            candidates = [compare(command.shown, text, self._ids) for text in (out, printed)]
            new = next((found for found in candidates if found is not None), None)
            shown = "\n".join(command.shown)
            assert new is not None, f"{page}:{command.line}: $ {command.text}\nshown:\n{shown}\nprinted:\n{printed}"
            self._ids |= new
            asked = after is not None and after.text == _ECHO and after.shown
            assert asked or self._status == 0, f"{page}:{command.line}: $ {command.text}: {self._status}\n{printed}"

    def type(self, text: str) -> tuple[str, str]:
        """Run a command and return what it prints to its two outputs, in the words of the page."""
        here = self._here(text)
        if here.startswith(SIMULATOR):
            return self._there(self._serve(here)), ""
        if self._cli is not None and here.startswith("retrovue ") and not _SYNTAX.search(here):
            with chdir(self._directory):
                done = self._cli(*shlex.split(here)[1:])
            self._status = done.status
            return self._there(done.out), self._there(done.err)
        if _SETS.search(here):
            self._cli = None
        script = f"(exit {self._status}); {{ {here}\n}} </dev/null 2>{shlex.quote(str(self._errors))}"
        printed = self._run(f"{script}; printf '\\n%s %d\\n' {self._mark} $?")
        if self._cli is not None and _MOVES.search(here):
            self._cli = Cli(self._read_variables())
        return self._there(printed), self._there(self._errors.read_text(encoding="utf-8"))

    def _read_variables(self) -> dict[str, str]:
        """Read the variables that the shell gives to its processes, its directory among them."""
        status = self._status
        self._run(f"env -0 > {shlex.quote(str(self._variables))}; printf '\\n%s %d\\n' {self._mark} $?")
        assert self._status == 0
        self._status = status
        variables = dict(line.split("=", 1) for line in self._variables.read_text().split("\0") if line)
        self._directory = Path(variables["PWD"])
        return variables

    def _there(self, text: str) -> str:
        for there, real in self._stands_for.items():
            text = text.replace(real, there)
        return text

    def _here(self, text: str) -> str:
        for there, real in (self._stands_for | self._ids).items():
            text = text.replace(there, real)
        return text

    def _run(self, script: str) -> str:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{script}\n".encode())
        self._bash.stdin.flush()
        printed = b""
        for line in self._bash.stdout:
            if line.startswith(self._mark.encode()):
                self._status = int(line.split()[1])
                return printed.removesuffix(b"\n").decode()
            printed += line
        raise AssertionError(f"the session was ended after {SECONDS} s: {script}\n{printed.decode()}")

    def _serve(self, command: str) -> str:
        """Run a simulated server in place of the one before, at the port that the first one got."""
        self._end_server()
        _, *arguments = re.sub(r"--port \d+", f"--port {self._port}", command).split()
        self._server = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, env=self._environment, cwd=self._directory
        )
        assert self._server.stdout is not None
        line = self._server.stdout.readline().decode()
        url = orjson.loads(line)["url"]
        self._port = url.rpartition(":")[2]
        self._stands_for["http://127.0.0.1:32400"] = url
        self._status = 0
        return line

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.communicate()
            self._server = None


def environment(home: Path) -> dict[str, str]:
    """The environment of somebody who has just logged in, with RetroVue installed."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "PYTHONWARNINGS": "error",
        "RETROVUE_HOME": str(home / "tutorial"),
    }
