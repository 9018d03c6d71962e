"""The container file, the compose file and the systemd units hold what a careful operator expects of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.rules import ROOT
from tests.docs.containerfile import context, instructions

SYSTEMD = ROOT / "examples" / "systemd"
COMPOSE = ROOT / "examples" / "compose" / "compose.yaml"
ANALYZE = shutil.which("systemd-analyze")


def packages(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


class TestContainerfile:
    def test_the_base_is_pinned_and_the_same_in_both_stages(self) -> None:
        bases = {step.text.partition(" ")[0] for step in instructions() if step.name == "FROM"}
        assert len(bases) == 1
        assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-\w+", bases.pop())

    def test_it_ends_as_an_ordinary_user_with_a_number(self) -> None:
        users = [step for step in instructions() if step.name == "USER"]
        assert [(user.stage, user.text) for user in users] == [(1, "10001:10001")]
        after = instructions()[instructions().index(users[0]) :]
        assert not {"RUN", "COPY", "ADD"} & {step.name for step in after}

    def test_it_names_no_index_and_no_secret(self) -> None:
        text = "\n".join(step.text for step in instructions())
        assert "://" not in text
        assert "index-url" not in text
        assert "RETROVUE_DATABASE_URL" not in text
        assert "TOKEN" not in text

    def test_everything_is_installed_from_the_locks(self) -> None:
        for pip in re.findall(r"pip (?:install|wheel)[^&]*", "\n".join(step.text for step in instructions())):
            assert "--require-hashes" in pip or "--no-deps" in pip, pip

    def test_the_image_gets_nothing_of_the_tools_of_development(self) -> None:
        runtime, everything = packages("requirements-runtime.lock"), packages("requirements.lock")
        assert runtime.items() < packages("requirements-service.lock").items() < everything.items()
        assert "pytest" not in runtime
        assert "sqlalchemy" in runtime

    def test_the_context_is_what_the_wheel_is_made_of(self) -> None:
        assert all(path.exists() for path in context())
        assert not any(path.name in {".git", "tests", ".venv"} for path in context())


class TestCompose:
    def test_images_are_pinned_and_secrets_are_files(self) -> None:
        text = COMPOSE.read_text(encoding="utf-8")
        images = re.findall(r"image: (\S+)", text)
        assert images == ["docker.io/library/postgres:18.1", "retrovue"]
        assert not re.search(r"PASSWORD: |TOKEN: (?!file:/run/secrets/)|:\S+@", text)
        assert (COMPOSE.parent / re.findall(r"context: (\S+)", text)[0] / "Containerfile").resolve().is_file()


@pytest.mark.skipif(ANALYZE is None, reason="systemd isn't here")
class TestSystemd:
    @pytest.fixture
    def units(self, tmp_path: Path) -> list[Path]:
        """The units, with the program that there is."""
        found = []
        for name in ("retrovue-ingest.service", "retrovue-ingest.timer"):
            text = (SYSTEMD / name).read_text(encoding="utf-8")
            unit = tmp_path / name
            unit.write_text(text.replace("/opt/retrovue/bin", str(Path(sys.executable).parent)), encoding="utf-8")
            found.append(unit)
        return found

    def analyze(self, *arguments: str | Path) -> str:
        done = subprocess.run([str(ANALYZE), *arguments], capture_output=True, check=False, encoding="utf-8")
        assert done.returncode == 0, done
        return done.stdout + done.stderr

    def test_the_units_are_sound(self, units: list[Path]) -> None:
        assert self.analyze("verify", "--man=no", *units) == ""

    def test_the_service_may_do_little(self, units: list[Path]) -> None:
        self.analyze("security", "--offline=true", "--threshold=20", units[0])


def test_ci_runs_the_first_command_of_the_readme() -> None:
    """As written, but with fewer items."""
    tried = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Try it\n")[2]
    command = re.findall(r"```sh\n(.*?)\n```", tried, re.DOTALL)[0].splitlines()[0]
    assert command == "uvx --from . retrovue demo"
    options = re.escape(command).replace("uvx", r'"\$scratch/uv/bin/uvx" --python "\$python"')
    assert re.search(f" {options} --items", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "file",
    ["examples/systemd/retrovue-ingest.service", "examples/compose/compose.yaml", "docs/howto/docker.md"],
)
def test_what_nobody_watches_is_strict(file: str) -> None:
    """A lost mount has to show in the exit status where no person reads the output."""
    text = (ROOT / file).read_text(encoding="utf-8")
    ingests = re.findall(r"(?:ExecStart=|docker compose run ).*source ingest.*", text)
    assert ingests
    assert [ingest for ingest in ingests if "--strict" not in ingest] == []
