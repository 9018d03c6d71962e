"""Translation of the driver's and SQLAlchemy's errors into the store's, in one place."""

import asyncpg
from sqlalchemy import exc as sa

from retrovue.errors import StoreError, StoreUnavailable

_BY_SQLSTATE = {
    "23505": ("conflict", "Another program changed the catalogue at the same moment; run the command again."),
    "25006": ("database_read_only", "The server is a read-only replica; name the primary in RETROVUE_DATABASE_URL."),
    "28000": ("database_refused", "Check user and password in RETROVUE_DATABASE_URL."),
    "28P01": ("database_refused", "Check user and password in RETROVUE_DATABASE_URL."),
    "3D000": ("database_missing", "Create the database, or correct its name in RETROVUE_DATABASE_URL."),
    "40001": ("serialization_failure", "Run the command again."),
    "40P01": ("deadlock", "Run the command again."),
    "42501": ("database_permission", "Grant the database user the rights it lacks."),
    "53100": ("disk_full", "Make room on the database's disk and run the command again."),
    "53200": ("database_out_of_memory", "Give the database server more memory."),
    "53300": ("too_many_connections", "Lower --concurrency, or raise max_connections on the server."),
    "55P03": ("lock_timeout", "Another program holds a lock on the catalogue; try again when it is done."),
    "57014": ("statement_timeout", "Raise statement_timeout for the database user."),
}


def translate(error: BaseException) -> StoreError | None:
    """Return the StoreError that says the same, or None for an error that isn't the database's.

    No statement, parameter or URL is carried over: they may hold what must not be shown.
    """
    original = error.orig if isinstance(error, sa.DBAPIError) and error.orig is not None else error
    cause = original.__cause__ if isinstance(original.__cause__, asyncpg.PostgresError) else original
    sqlstate = getattr(cause, "sqlstate", None) or getattr(original, "sqlstate", None)
    if isinstance(sqlstate, str):
        if sqlstate[:2] == "22":  # the messages of these, the driver's own among them, repeat the value
            message = f"The database refused a value: {type(cause).__name__}"
            return StoreError(message, code="bad_value", context={"sqlstate": sqlstate})
        code, hint = _BY_SQLSTATE.get(sqlstate, ("database_error", None))
        unavailable = sqlstate[:2] in {"08", "57"} and sqlstate != "57014"
        kind = StoreUnavailable if unavailable else StoreError
        text = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        constraint = getattr(cause, "constraint_name", None)
        return kind(
            f"The database refused: {text}",
            code="database_unavailable" if unavailable else code,
            hint=hint,
            context={"sqlstate": sqlstate, **({"constraint": constraint} if constraint else {})},
        )
    if isinstance(cause, OSError | asyncpg.InterfaceError | TimeoutError) or (
        isinstance(error, sa.DBAPIError) and (error.connection_invalidated or isinstance(error, sa.InterfaceError))
    ):
        return StoreUnavailable(
            f"The database can't be reached: {type(cause).__name__}",
            hint="Is the server running, and is RETROVUE_DATABASE_URL right?",
        )
    if isinstance(error, sa.TimeoutError):
        return StoreUnavailable("No database connection became free.", hint="Lower --concurrency.")
    if isinstance(error, sa.SQLAlchemyError):
        return StoreError(f"The database layer failed: {type(error).__name__}", code="database_error")
    return None
