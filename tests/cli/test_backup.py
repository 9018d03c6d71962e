"""Backing the embedded database up, and restoring it."""

import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.store.embedded import EmbeddedServer, embedded_server
from retrovue.store.opening import PRODUCTION_DATABASE
from tests.cli.conftest import Cli
from tests.support.world import bare_environment


@pytest.fixture(scope="module")
def running(portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, EmbeddedServer]]:
    """An embedded server as commands use it, kept running for them."""
    home = tmp_path_factory.mktemp("home")
    with portal.wrap_async_context_manager(embedded_server(home)) as server:
        yield home, server


@pytest.fixture
def cli(environment: dict[str, str], running: tuple[Path, EmbeddedServer]) -> Cli:
    """Commands on the embedded database."""
    return Cli(environment | {"RETROVUE_HOME": str(running[0])})


@pytest.fixture(scope="module")
def filled(
    running: tuple[Path, EmbeddedServer], portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The name of a database with a source of one film, ingested; each test gets a copy."""
    disk = tmp_path_factory.mktemp("disk")
    (disk / "Movies").mkdir()
    (disk / "Movies" / "Heat (1995).mkv").write_bytes(b"\0" * 64)
    cli = Cli(bare_environment(running[0]))
    cli.ok("source", "add", "--type", "filesystem", "--name", "Disk", "--path", str(disk))
    cli.ok("source", "discover", "Disk")
    cli.ok("collection", "update", "Movies", "--enable")
    cli.ok("source", "ingest", "Disk")
    portal.call(_execute, running[1], f'ALTER DATABASE "{PRODUCTION_DATABASE}" RENAME TO filled')
    return "filled"


@pytest.fixture
def source(running: tuple[Path, EmbeddedServer], filled: str, portal: BlockingPortal) -> None:
    """A source of one film, ingested."""
    portal.call(_execute, running[1], f'DROP DATABASE IF EXISTS "{PRODUCTION_DATABASE}" WITH (FORCE)')
    copy = f'CREATE DATABASE "{PRODUCTION_DATABASE}" TEMPLATE "{filled}"'
    portal.call(_execute, running[1], copy)


async def _execute(server: EmbeddedServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def titles(cli: Cli) -> list[str]:
    return [asset["title"] for asset in cli.ok("asset", "list")["assets"]]


ONE = {"sources": 1, "collections": 1, "assets": 1}
NOTHING = {"sources": 0, "collections": 0, "assets": 0}


@pytest.mark.usefixtures("source")
class TestBackup:
    def test_what_was_backed_up_comes_back(self, cli: Cli, tmp_path: Path) -> None:
        file = tmp_path / "one.dump"
        done = cli.ok("db", "backup", str(file))
        assert (done["holds"], done["size_bytes"]) == (ONE, file.stat().st_size)
        before = cli.ok("asset", "list")
        cli.ok("source", "delete", "Disk", "--yes")
        restored = cli.ok("db", "restore", str(file))
        assert (restored["destroyed"], restored["holds"]) == (NOTHING, ONE)
        assert cli.ok("asset", "list") == before
        assert cli.ok("source", "ingest", "Disk")["total_skipped_assets"] == 1

    def test_only_its_owner_can_read_it_and_nothing_else_is_left(self, cli: Cli, tmp_path: Path) -> None:
        place = tmp_path / "place"
        place.mkdir()
        cli.ok("db", "backup", str(place / "one.dump"))
        assert [path.name for path in place.iterdir()] == ["one.dump"]
        assert stat.S_IMODE((place / "one.dump").stat().st_mode) == 0o600

    def test_it_never_replaces_a_file(self, cli: Cli, tmp_path: Path) -> None:
        file = tmp_path / "one.dump"
        file.write_text("precious")
        done = cli("db", "backup", str(file), "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "file_exists")
        assert file.read_text() == "precious"

    def test_a_place_that_cannot_be_written_is_told(self, cli: Cli, tmp_path: Path) -> None:
        done = cli("db", "backup", str(tmp_path / "nowhere" / "one.dump"), "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "bad_file")

    def test_a_dry_run_writes_nothing(self, cli: Cli, tmp_path: Path) -> None:
        assert cli.ok("db", "backup", str(tmp_path / "one.dump"), "--dry-run")["size_bytes"] is None
        assert not (tmp_path / "one.dump").exists()

    def test_a_server_of_ones_own_has_its_own_tools(self, offline_cli: Cli, tmp_path: Path) -> None:
        for command in ("backup", "restore"):
            done = offline_cli("db", command, str(tmp_path / "one.dump"), "--json")
            assert (done.status, done.document["errors"][0]["code"]) == (1, "embedded_only")


@pytest.mark.usefixtures("source")
class TestRestore:
    @pytest.fixture
    def file(self, cli: Cli, tmp_path: Path) -> str:
        cli.ok("db", "backup", str(tmp_path / "one.dump"))
        return str(tmp_path / "one.dump")

    def refused(self, cli: Cli, code: str, file: str, *options: str) -> str:
        """Restore in vain; returns the message."""
        before = cli.ok("asset", "list")
        done = cli("db", "restore", file, "--json", *options)
        (error,) = done.document["errors"]
        assert (done.status, error["code"]) == (1, code), done
        assert cli.ok("asset", "list") == before
        message: str = error["message"]
        return message

    def test_it_asks_before_it_destroys(self, cli: Cli, file: str) -> None:
        self.refused(cli, "confirmation_needed", file)
        assert cli.ok("db", "restore", file, "--yes")["destroyed"] == ONE
        assert titles(cli) == ["Heat"]

    def test_a_dry_run_tells_and_changes_nothing(self, cli: Cli, file: str) -> None:
        document = cli.ok("db", "restore", file, "--dry-run")
        assert (document["destroyed"], document["holds"]) == (ONE, None)
        assert titles(cli) == ["Heat"]

    @pytest.mark.parametrize(
        ("name", "problem"),
        [("missing.dump", "There is no file"), ("text.dump", "isn't a backup"), (".", "isn't a backup")],
    )
    def test_what_is_no_backup_is_refused(self, cli: Cli, name: str, problem: str, tmp_path: Path) -> None:
        (tmp_path / "text.dump").write_text("no dump")
        assert problem in self.refused(cli, "bad_file", str(tmp_path / name), "--yes")

    def test_a_damaged_backup_changes_nothing(self, cli: Cli, file: str) -> None:
        with Path(file).open("r+b") as damaged:
            damaged.truncate(Path(file).stat().st_size - 100)
        self.refused(cli, "backup_failed", file, "--yes")

    def test_a_catalogue_in_use_is_left_alone(
        self, cli: Cli, file: str, running: tuple[Path, EmbeddedServer], portal: BlockingPortal
    ) -> None:
        url = running[1].url(PRODUCTION_DATABASE).replace("+asyncpg", "")
        connection = portal.call(asyncpg.connect, url)
        try:
            self.refused(cli, "database_in_use", file, "--yes")
        finally:
            portal.call(connection.close)
        assert cli.ok("db", "restore", file, "--yes")["holds"] == ONE

    def test_a_backup_of_the_test_database_is_not_for_production(self, cli: Cli, tmp_path: Path) -> None:
        cli.ok("db", "create", "--test-db")
        file = str(tmp_path / "test.dump")
        cli.ok("db", "backup", file, "--test-db")
        self.refused(cli, "wrong_database_role", file, "--yes")

    def test_a_backup_of_a_newer_version_is_refused(
        self, cli: Cli, running: tuple[Path, EmbeddedServer], portal: BlockingPortal, tmp_path: Path
    ) -> None:
        async def pretend(revision: str) -> str:
            connection = await asyncpg.connect(running[1].url(PRODUCTION_DATABASE).replace("+asyncpg", ""))
            try:
                was: str = await connection.fetchval("SELECT version_num FROM alembic_version")
                await connection.execute("UPDATE alembic_version SET version_num = $1", revision)
                return was
            finally:
                await connection.close()

        was = portal.call(pretend, "9999")
        file = str(tmp_path / "newer.dump")
        cli.ok("db", "backup", file)
        portal.call(pretend, was)
        self.refused(cli, "schema_newer", file, "--yes")
