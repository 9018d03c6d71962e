"""Creating and resetting the test database, on a server of one's own and on the embedded one."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import text

from retrovue.store.addresses import database_url as parsed
from retrovue.store.databases import TABLES
from retrovue.store.embedded import EmbeddedServer, embedded_server
from retrovue.store.session import Store
from tests.cli.conftest import TOKEN, Cli, Plex, answer
from tests.conftest import Databases

KEYS = ["status", "dry_run", "database", "role", "existed", "before", "after", "changed"]


def source_names(cli: Cli, *more: str) -> list[str]:
    return [source["name"] for source in cli.ok("source", "list", *more)["sources"]]


def add(cli: Cli, plex: Plex, name: str, *more: str) -> None:
    command = ("source", "add", "--type", "plex", "--name", name, "--base-url", plex.url, "--discover")
    assert cli(*command, *more, env={"RETROVUE_TOKEN": TOKEN}).status == 0


@pytest.fixture
def absent(server: EmbeddedServer, databases: Databases, run_cli: Cli) -> Iterator[str]:
    """The address of a test database that doesn't exist, with a name that needs quoting; commands use it."""
    name = f'Test "{uuid.uuid4().hex[:12]}" :x'
    run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = server.url(name)
    yield name
    databases.drop(server.url(name.replace('"', '""')))


@pytest.fixture
def filled(run_cli: Cli, plex: Plex, test_database_url: str) -> str:
    """A test database that holds a source, and so does the production database."""
    run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = test_database_url
    add(run_cli, plex, "Test", "--test-db")
    add(run_cli, plex, "Production")
    return test_database_url


def execute(portal: BlockingPortal, url: str, statement: str) -> None:
    async def connect() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute(statement)
        await connection.close()

    portal.call(connect)


class TestCreate:
    @pytest.mark.usefixtures("absent")
    def test_creates_and_migrates(self, run_cli: Cli) -> None:
        preview = run_cli.ok("db", "create", "--test-db", "--dry-run")
        assert list(preview) == KEYS
        assert (preview["existed"], preview["changed"], preview["after"]) == (False, False, None)
        assert run_cli("db", "status", "--test-db").status == 1
        created = run_cli.ok("db", "create", "--test-db")
        assert (created["existed"], created["changed"], created["role"]) == (False, True, "test")
        assert run_cli.ok("db", "status", "--test-db")["up_to_date"] is True
        assert source_names(run_cli, "--test-db") == []
        again = run_cli.ok("db", "create", "--test-db")
        assert (again["existed"], again["changed"]) == (True, False)
        done = run_cli("db", "create", "--test-db")
        assert (done.status, done.err) == (0, "")
        assert done.out.endswith("\nThe test database exists and is up to date.\n")

    def test_an_empty_database_is_made_one(self, run_cli: Cli, databases: Databases) -> None:
        url = databases.create(migrated=False)
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = url
        assert run_cli.ok("db", "create", "--test-db")["existed"] is True
        assert run_cli.ok("db", "status", "--test-db")["role"] == "test"
        databases.drop(url)

    @pytest.mark.usefixtures("filled")
    def test_keeps_what_is_in_one(self, run_cli: Cli) -> None:
        assert run_cli.ok("db", "create", "--test-db")["changed"] is False
        assert source_names(run_cli, "--test-db") == ["Test"]

    @pytest.mark.parametrize("command", [["create"], ["reset", "--yes"]], ids=str)
    def test_needs_a_test_database_of_its_own(self, run_cli: Cli, database_url: str, command: list[str]) -> None:
        done = run_cli("db", *command, "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "test_db_only")
        done = run_cli("db", *command, "--test-db", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "no_test_database")
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = database_url
        done = run_cli("db", *command, "--test-db", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "test_database_is_production")
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = database_url.replace("/test", f"/{'x' * 64}")
        done = run_cli("db", *command, "--test-db", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "bad_database_url")

    def test_an_empty_url_leads_to_no_other_database(self, run_cli: Cli) -> None:
        for arguments in (("source", "list", "--database-url", ""), ("--database-url", " ", "source", "list")):
            done = run_cli(*arguments, "--json")
            assert (done.status, done.document["errors"][0]["code"]) == (1, "bad_database_url")


class TestReset:
    @pytest.mark.usefixtures("filled")
    def test_starts_the_test_database_over_and_no_other(self, run_cli: Cli) -> None:
        preview = run_cli.ok("db", "reset", "--test-db", "--dry-run")
        assert list(preview) == [*KEYS, "destroyed"]
        assert preview["destroyed"] == {"sources": 1, "collections": 3, "assets": 0}
        assert source_names(run_cli, "--test-db") == ["Test"]
        document = run_cli.ok("db", "reset", "--test-db", "--yes")
        assert (document["changed"], document["destroyed"]["sources"]) == (True, 1)
        assert source_names(run_cli, "--test-db") == []
        assert source_names(run_cli) == ["Production"]

    def test_what_an_interrupted_run_has_kept_goes_too(self, run_cli: Cli, portal: BlockingPortal, filled: str) -> None:
        execute(portal, filled, "CREATE UNLOGGED TABLE kept_page_12 ()")
        assert run_cli.ok("db", "reset", "--test-db", "--yes")["changed"] is True

    @pytest.mark.usefixtures("absent")
    def test_creates_one_that_is_not_there_without_asking(self, run_cli: Cli) -> None:
        done = run_cli("db", "reset", "--test-db")
        assert (done.status, done.err) == (0, "")
        assert done.out.endswith("\nThe test database was created.\n")
        assert run_cli.ok("db", "reset", "--test-db", "--yes")["existed"] is True

    @pytest.mark.usefixtures("filled")
    def test_needs_yes_or_a_terminal(self, run_cli: Cli) -> None:
        done = run_cli("db", "reset", "--test-db", "--json")
        [error] = done.document["errors"]
        assert (done.status, error["code"], error["context"]["sources"]) == (1, "confirmation_needed", 1)
        assert source_names(run_cli, "--test-db") == ["Test"]
        done = answer(run_cli, "yes\n", "db", "reset", "--test-db")
        assert (done.status, "  sources:      1\n" in done.err) == (0, True)
        assert source_names(run_cli, "--test-db") == []

    @pytest.mark.parametrize("command", [["create"], ["reset", "--yes"]], ids=str)
    def test_leaves_alone_what_is_marked_as_production(
        self, run_cli: Cli, plex: Plex, databases: Databases, command: list[str]
    ) -> None:
        other = databases.create("production")
        add(run_cli, plex, "Production", "--database-url", other)
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = other
        done = run_cli("db", *command, "--test-db", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "wrong_database_role")
        assert source_names(run_cli, "--database-url", other) == ["Production"]
        databases.drop(other)

    @pytest.mark.parametrize(
        "statement", ["DROP TABLE catalogue_role", "DELETE FROM catalogue_role", "CREATE SCHEMA x CREATE TABLE x.y ()"]
    )
    def test_leaves_alone_what_is_not_marked(
        self, run_cli: Cli, portal: BlockingPortal, databases: Databases, statement: str
    ) -> None:
        url = databases.create("test", migrated="catalogue_role" in statement)
        execute(portal, url, statement)
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = url
        for command in (["create"], ["reset", "--yes"]):
            done = run_cli("db", *command, "--test-db", "--json")
            assert (done.status, done.document["errors"][0]["code"]) == (1, "wrong_database_role")
        execute(portal, url, "SELECT FROM source" if "catalogue_role" in statement else "SELECT FROM x.y")
        databases.drop(url)

    @pytest.mark.parametrize("statement", ["CREATE TABLE film ()", "CREATE SCHEMA own CREATE TABLE own.film ()"])
    def test_leaves_alone_what_others_have_put_into_it(
        self, run_cli: Cli, portal: BlockingPortal, filled: str, statement: str
    ) -> None:
        execute(portal, filled, statement)
        for more in (["--yes"], ["--dry-run"]):
            done = run_cli("db", "reset", "--test-db", "--json", *more)
            assert (done.status, done.document["errors"][0]["code"]) == (1, "wrong_database_role")
            assert "film" in done.document["errors"][0]["message"]
        assert source_names(run_cli, "--test-db") == ["Test"]

    def test_whatever_its_schema_is(self, run_cli: Cli, portal: BlockingPortal, filled: str) -> None:
        execute(portal, filled, "UPDATE alembic_version SET version_num = '9999'")
        execute(portal, filled, "DROP TABLE asset CASCADE")
        done = run_cli("db", "create", "--test-db", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "schema_newer")
        assert run_cli.ok("db", "reset", "--test-db", "--yes")["before"] == "9999"
        assert run_cli.ok("db", "status", "--test-db")["up_to_date"] is True

    def test_is_refused_while_another_program_uses_it(self, run_cli: Cli, portal: BlockingPortal, filled: str) -> None:
        connection = portal.call(asyncpg.connect, filled.replace("+asyncpg", ""))
        done = run_cli("db", "reset", "--test-db", "--yes", "--json")
        portal.call(connection.close)
        assert (done.status, done.document["errors"][0]["code"]) == (1, "database_in_use")
        assert source_names(run_cli, "--test-db") == ["Test"]


@pytest.mark.fault(106)
class TestAliases:
    """Two URLs of one database that don't look alike: the socket's directory by another path."""

    @pytest.fixture
    def alias(self, server: EmbeddedServer) -> Iterator[str]:
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            path = Path(directory, "pg")
            path.symlink_to(server.socket_directory)
            yield str(path)

    @pytest.mark.parametrize("command", [["create"], ["create", "--dry-run"], ["reset", "--yes"]], ids=str)
    def test_an_empty_production_database_is_not_made_a_test_database(
        self, run_cli: Cli, portal: BlockingPortal, databases: Databases, alias: str, command: list[str]
    ) -> None:
        url = databases.create(migrated=False)
        run_cli.environment["RETROVUE_DATABASE_URL"] = url
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = (
            f"postgresql://retrovue@/{parsed(url).database}?host={alias}"
        )
        done = run_cli("db", *command, "--test-db", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "test_database_is_production")
        execute(portal, url, "CREATE TABLE catalogue_role ()")  # there is none yet
        databases.drop(url)

    def test_a_production_database_that_does_not_answer_stops_it(self, run_cli: Cli, filled: str) -> None:
        assert filled
        run_cli.environment["RETROVUE_DATABASE_URL"] = "postgresql://u@127.0.0.1:9/db"
        done = run_cli("db", "reset", "--test-db", "--yes", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "database_unavailable")

    def test_a_name_in_the_query_is_refused(self, run_cli: Cli, database_url: str, test_database_url: str) -> None:
        name = parsed(test_database_url).database
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = f"{database_url}&dbname={name}"
        done = run_cli("db", "reset", "--test-db", "--yes", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "bad_database_url")


def test_the_tables_of_a_catalogue_are_named(portal: BlockingPortal, database_url: str) -> None:
    async def tables() -> set[str]:
        async with Store(parsed(database_url)) as store, store.reading() as session:
            return set((await session.execute(text("SELECT relname FROM pg_class WHERE relnamespace ="
                " 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"))).scalars())  # fmt: skip

    assert portal.call(tables) == TABLES


def test_on_the_embedded_server(
    environment: dict[str, str], portal: BlockingPortal, plex: Plex, tmp_path: Path
) -> None:
    cli = Cli(environment | {"RETROVUE_HOME": str(tmp_path / "home")})
    # Commands join a server that runs, and needn't start and stop one each.
    with portal.wrap_async_context_manager(embedded_server(tmp_path / "home")):
        created = cli.ok("db", "create", "--test-db")
        assert (created["existed"], created["changed"]) == (False, True)
        add(cli, plex, "Test", "--test-db")
        add(cli, plex, "Production")
        assert cli.ok("db", "reset", "--test-db", "--yes")["destroyed"]["sources"] == 1
        assert source_names(cli, "--test-db") == []
        assert source_names(cli) == ["Production"]
        done = cli("db", "reset", "--yes", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "test_db_only")
        assert source_names(cli) == ["Production"]
