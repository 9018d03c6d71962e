"""The version of a catalogue's schema, and its upgrade to the version that this program needs.

The scripts are in ``retrovue/_migrations`` of an installed wheel, or in ``migrations`` of a checkout.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from retrovue.core.errors import SchemaMismatch, StoreError
from retrovue.store.driver import LONG_STATEMENT_SECONDS
from retrovue.store.server import describe_server
from retrovue.store.session import Store, translated
from retrovue.store.statements import Session, limit_statements, text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK = 0x52_56_5F_4D_49_47  # "RV_MIG": the advisory lock of an upgrade


class SchemaStatus(Struct, frozen=True):
    """The version of a database's schema, and the one that this program needs."""

    current: str | None
    """The database's revision; None without a schema."""
    wanted: str
    """The revision this program needs."""
    role: str | None
    """The mark of the database, ``production`` or ``test``; None without a schema."""

    @property
    def up_to_date(self) -> bool:
        """Whether the database can be used without an upgrade."""
        return self.current == self.wanted


def scripts_directory() -> Path:
    """Return the directory of the migration scripts. Raises StoreError if they aren't installed."""
    package = Path(__file__).resolve().parents[1]
    for directory in (package / "_migrations", package.parent / "migrations"):
        if (directory / "env.py").is_file():
            return directory
    raise StoreError("The migrations are missing from this installation.", hint="Install RetroVue again.")


def revisions() -> list[str]:
    """Return the revisions that this program knows, the oldest first.

    They are the numbers at the beginning of the scripts' names. Alembic isn't used for this, because importing it takes
    0.2 s.
    """
    return sorted(script.name.partition("_")[0] for script in scripts_directory().glob("versions/[0-9]*.py"))


def wanted_revision() -> str:
    """Return the newest revision that this program knows."""
    return revisions()[-1]


async def schema_status(store: Store) -> SchemaStatus:
    """Read the version of the database's schema. Writes nothing."""
    async with store.reading() as session:
        return await _status(session)


async def _status(session: Session) -> SchemaStatus:
    tables = await session.execute(
        text("SELECT to_regclass('alembic_version') IS NOT NULL, to_regclass('catalogue_role') IS NOT NULL")
    )
    has_version, has_role = tables.one()
    # Alembic allows several revisions. Joined, they are a text that isn't a known revision.
    version = "(SELECT string_agg(version_num, '+' ORDER BY version_num) FROM alembic_version)"
    mark = "(SELECT role FROM catalogue_role)"
    found = text(f"SELECT {version if has_version else 'NULL'}, {mark if has_role else 'NULL'}")
    current, role = (await session.execute(found)).one()
    return SchemaStatus(current=current, wanted=wanted_revision(), role=role)


async def check_upgrade(store: Store, role: str) -> SchemaStatus:
    """Do the checks of `upgrade` without writing.

    Returns the status of the database, or raises what `upgrade` would.
    """
    server = await describe_server(store)
    if (error := server.unsuitable()) is not None:
        raise error
    status = await schema_status(store)
    _require_role(status, role)
    if not status.up_to_date:
        if status.current is not None and status.current not in revisions():
            raise _newer()
        if (error := server.not_upgradable()) is not None:
            raise error
    return status


async def upgrade(store: Store, role: str) -> SchemaStatus:
    """Upgrade the schema to this program's version in one transaction, and mark a new database with the role.

    Returns the status before the upgrade. Raises SchemaMismatch if the database is marked with another role or comes
    from a newer program, and StoreError if it can't be upgraded or no ingest could work in it.
    """
    await check_upgrade(store, role)
    with translated():
        async with store.data.begin() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            limit_statements(driver, LONG_STATEMENT_SECONDS)
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)").clause(), {"key": _LOCK})
            before = await _status(Session(driver))  # another command may have upgraded it since the check
            _require_role(before, role)
            if not before.up_to_date:
                await connection.run_sync(_upgrade)
                await connection.execute(
                    text("INSERT INTO catalogue_role (role) VALUES (:role) ON CONFLICT DO NOTHING").clause(),
                    {"role": role},
                )
            return before


def _upgrade(connection: "Connection") -> None:
    from alembic import command  # noqa: PLC0415 - only an upgrade needs it
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise _newer() from exc


def _newer() -> SchemaMismatch:
    return SchemaMismatch(
        "The database's schema comes from a newer version of RetroVue.",
        code="schema_newer",
        hint="Use the version of RetroVue that upgraded the database, or a newer one.",
    )


def require_current(status: SchemaStatus, role: str) -> None:
    """Raise SchemaMismatch unless the schema has this program's version and the database has the role."""
    test_db = " --test-db" if role == "test" else ""
    if status.current is None:
        raise SchemaMismatch(
            "The database has no schema yet.",
            code="schema_missing",
            hint=f"Run `retrovue db upgrade{test_db}` once.",
            context={"wanted": status.wanted},
        )
    _require_role(status, role)
    if not status.up_to_date:
        newer = status.current not in revisions()
        raise SchemaMismatch(
            f"The database's schema is at revision {status.current}; this program needs {status.wanted}.",
            code="schema_newer" if newer else "schema_outdated",
            hint="Use a newer version of RetroVue." if newer else f"Run `retrovue db upgrade{test_db}`.",
            context={"current": status.current, "wanted": status.wanted},
        )


def _require_role(status: SchemaStatus, role: str) -> None:
    # A schema without a mark may belong to another program, so it is refused like one with the wrong mark.
    if status.role != role and (status.role is not None or status.current is not None):
        marked = "not marked at all" if status.role is None else f"marked as the {status.role} database"
        raise SchemaMismatch(
            f"The database is {marked}, and can't be used as the {role} database.",
            code="wrong_database_role",
            hint="Check RETROVUE_DATABASE_URL and RETROVUE_TEST_DATABASE_URL: are they swapped?",
            context={"role": status.role, "wanted": role},
        )
