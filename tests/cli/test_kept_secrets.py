"""Where the secrets of sources are kept: in the catalogue as they are, encrypted there, or only by reference."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from retrovue.store.secrets import LONGEST_SECRET
from tests.support.world import NAME, TOKEN, World


@pytest.fixture(autouse=True)
def usual(world: World) -> None:
    """A source with the settings that a command gives."""
    world.catalogue.rows("UPDATE source SET config = config - 'http'")


@pytest.fixture
def kept(world: World) -> Callable[[], str]:
    """What the catalogue keeps of the source's token, as text."""
    return lambda: str(world.catalogue.value("SELECT credentials::text FROM source"))


@pytest.fixture
def key(world: World, tmp_path: Path) -> Path:
    """The path of a key file, which isn't there yet."""
    path = tmp_path / "keys" / "retrovue.key"
    world.cli.environment["RETROVUE_KEY_FILE"] = str(path)
    return path


@pytest.mark.fault(149)
class TestByReference:
    def test_a_file_is_read_in_each_run_and_never_stored(
        self, world: World, kept: Callable[[], str], tmp_path: Path
    ) -> None:
        file = tmp_path / "token"
        file.write_text(f"{TOKEN}\n")
        world.cli.ok("source", "update", NAME, "--token-file", str(file), "--keep-reference")
        assert kept() == f'{{"token": {{"file": "{file}"}}}}'
        assert f"token: (secret, read from file {file} in each run)" in world.cli("source", "show", NAME).out
        assert world.cli.ok("source", "show", NAME)["source"]["secrets"] == {
            "token": {"kept": "file", "place": str(file)}
        }
        assert world.ingest().status == 0
        file.write_text("another-token")
        assert {error["code"] for error in world.document(status=1)["errors"]} == {"auth"}
        file.unlink()
        (error,) = world.document(status=1)["errors"]
        assert (error["code"], error["context"]) == ("secret_unreadable", {"kind": "file", "name": str(file)})
        findings = world.cli("doctor", "--json").document["findings"]
        assert [one["verdict"] for one in findings if "can't be read from file" in one["message"]] == ["problem"]

    @pytest.mark.parametrize(("kind", "name"), [("env", "SOME_TOKEN"), ("credential", "plex.token")])
    def test_a_variable_and_a_credential_of_systemd(
        self, world: World, kept: Callable[[], str], tmp_path: Path, kind: str, name: str
    ) -> None:
        (tmp_path / "plex.token").write_text(TOKEN)
        there = {"SOME_TOKEN": TOKEN} if kind == "env" else {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        update = ("source", "update", NAME, "--token", f"{kind}:{name}")
        assert world.cli(*update, "--json").document["errors"][0]["code"] == "secret_unreadable"
        done = world.cli(*update, env=there)
        assert (done.status, "list of processes" in done.err) == (0, False), done
        assert kept() == f'{{"token": {{"{kind}": "{name}"}}}}'
        assert world.cli("source", "ingest", NAME, env=there).status == 0
        assert world.ingest().status == 1

    def test_the_usual_variable(self, world: World, kept: Callable[[], str]) -> None:
        there = {"RETROVUE_TOKEN": TOKEN}
        done = world.cli("source", "update", NAME, "--keep-reference", "--name", NAME, env=there)
        assert (done.status, kept()) == (0, '{"token": {"env": "RETROVUE_TOKEN"}}')

    @pytest.mark.parametrize(
        "given",
        [
            ("--keep-reference",),
            ("--token", "plain-secret", "--keep-reference"),
            ("--token-file", "-", "--keep-reference"),
            ("--token", "credential:../x"),
            ("--token", "file:relative"),
            ("--token", "env:"),
        ],
    )
    def test_what_is_no_reference(self, world: World, kept: Callable[[], str], given: tuple[str, ...]) -> None:
        before = kept()
        done = world.cli("source", "update", NAME, "--name", "New", *given)
        assert done.status != 0
        assert kept() == before

    @pytest.mark.parametrize("what", ["directory", "pipe", "large", "empty", "words", "bytes"])
    def test_what_holds_no_secret(self, world: World, tmp_path: Path, what: str) -> None:
        place = tmp_path / "token"
        if what == "directory":
            place.mkdir()
        elif what == "pipe":
            os.mkfifo(place)
        else:
            contents = {"large": b"x" * (LONGEST_SECRET + 1), "empty": b"\n", "words": b"a b", "bytes": b"\xff\xfe"}
            place.write_bytes(contents[what])
        done = world.cli("source", "update", NAME, "--token-file", str(place), "--keep-reference", "--json")
        assert [error["code"] for error in done.document["errors"]] == ["secret_unreadable"]


@pytest.mark.fault(150)
class TestEncrypted:
    def test_all_are_encrypted_and_read_with_the_key_only(
        self, world: World, kept: Callable[[], str], key: Path
    ) -> None:
        assert world.cli.ok("source", "encrypt", "--dry-run")["encrypted"] == 1
        assert (key.exists(), TOKEN in kept()) == (False, True)
        done = world.cli.ok("source", "encrypt")
        assert done == {
            "status": "ok", "dry_run": False, "key_file": str(key), "key_added": True, "encrypted": 1, "references": 0,
        }  # fmt: skip
        assert (key.stat().st_mode & 0o777, TOKEN in kept(), "encrypted" in kept()) == (0o600, False, True)
        assert "token: (secret, encrypted)" in world.cli("source", "show", NAME).out
        assert world.ingest().status == 0
        moved = key.rename(key.with_name("elsewhere"))
        (error,) = world.document(status=1)["errors"]
        assert error["code"] == "secret_key_missing"
        world.cli.ok("source", "list")
        moved.rename(key)
        key.write_text("nonsense\n")
        assert {error["code"] for error in world.document(status=1)["errors"]} == {"bad_key_file"}

    @pytest.mark.usefixtures("key")
    def test_what_is_stored_later_is_encrypted_too(self, world: World, kept: Callable[[], str]) -> None:
        world.cli.ok("source", "encrypt")
        before = kept()
        world.cli.ok("source", "update", NAME, "--name", "Renamed")
        assert kept() == before
        world.cli.ok("source", "update", "Renamed", "--token", TOKEN)
        assert (kept() == before, TOKEN in kept()) == (False, False)

    def test_the_doctor_looks_at_the_mode_of_the_key_file(self, world: World, key: Path) -> None:
        def found() -> list[tuple[str, str]]:
            findings = world.cli("doctor", "--json").document["findings"]
            return [(one["verdict"], one["hint"] or "") for one in findings if one["check"] == "secrets"]

        assert found() == []
        world.cli.ok("source", "encrypt")
        assert found() == [("ok", "")]
        key.chmod(0o640)
        assert found() == [("warning", f"Run `chmod 600 {key}`.")]

    def test_keys_are_changed_and_old_ones_stay_for_old_backups(
        self, world: World, kept: Callable[[], str], key: Path
    ) -> None:
        world.cli.ok("source", "encrypt")
        before, (old,) = kept(), key.read_text().split()
        world.cli.ok("source", "encrypt", "--rotate")
        new, *older = key.read_text().split()
        assert (older, new != old, kept() != before) == ([old], True, True)
        key.write_text(f"{new}\n")
        assert world.ingest().status == 0
        world.catalogue.rows("UPDATE source SET credentials = $1::text::jsonb", before)
        assert world.ingest().status == 1
        key.write_text(f"{new}\n{old}\n")
        assert world.ingest().status == 0

    def test_a_home_that_cannot_be_used_holds_no_key(self, world: World, kept: Callable[[], str]) -> None:
        world.cli.environment["RETROVUE_HOME"] = "~nosuch"
        world.cli.ok("source", "update", NAME, "--token", TOKEN)
        assert TOKEN in kept()
        world.cli.environment["RETROVUE_KEY_FILE"] = "/dev/null/key"
        assert world.cli("source", "encrypt", "--json").document["errors"][0]["code"] == "bad_key_file"
