"""The Containerfile, read: its instructions, and its build steps run outside of a container.

``python -m tests.docs.containerfile`` runs the steps of the build stage in a scratch directory, and then the program.
"""

import fnmatch
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.contracts.rules import ROOT

FILE = ROOT / "Containerfile"
_PLACES = ("/src", "/build", "/wheels", "/opt/retrovue")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a stage."""

    stage: int
    name: str
    text: str


def instructions() -> list[Instruction]:
    """Read the instructions, each with its stage, from 0."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[Instruction] = []
    stage = -1
    for line in filter(None, joined.splitlines()):
        name, _, text = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, text))
    return found


def context() -> list[Path]:
    """Name what the build gets to see: all that .dockerignore lets in."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert rules[0] == "*"
    return [ROOT / rule[1:] for rule in rules if rule.startswith("!")]


def build(scratch: Path) -> Path:
    """Run the steps of the build stage; returns the environment that the image gets."""
    source = scratch / "src"
    source.mkdir()
    for path in context():
        if path.is_dir():
            shutil.copytree(path, source / path.name, ignore=lambda _, names: fnmatch.filter(names, "__pycache__"))
        else:
            shutil.copy(path, source)
    for instruction in instructions():
        if instruction.stage == 0 and instruction.name == "RUN":
            script = instruction.text
            for place in _PLACES:
                script = re.sub(rf"(?<![\w./-]){place}\b", str(scratch) + place, script)
            script = re.sub(r"^python ", f"{sys.executable} ", script)
            subprocess.run(["sh", "-euc", script], cwd=source, check=True)
    return scratch / "opt" / "retrovue"


def _main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        environment = build(Path(scratch))
        program = str(environment / "bin" / "retrovue")
        home = {"RETROVUE_HOME": f"{scratch}/home", "PATH": "/usr/bin:/bin"}
        subprocess.run([program, "demo", "--items", "200", "--collections", "2"], cwd=scratch, env=home, check=True)
        installed = {path.name.partition("-")[0] for path in environment.glob("lib/*/site-packages/*.dist-info")}
        assert installed >= {"starlette", "procrastinate"}, installed
        assert not installed & {"pytest", "mypy", "ruff", "hypothesis"}, installed


if __name__ == "__main__":
    _main()
