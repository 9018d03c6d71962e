"""Translate errors of asyncpg and SQLAlchemy to StoreError."""

import os
import socket
import sys
from typing import Any

import asyncpg

from retrovue.core.errors import StoreError, StoreUnavailable

POOLING_HINT = (
    "Name the PostgreSQL server itself in RETROVUE_DATABASE_URL, or a pool that hands out whole sessions"
    " (for PgBouncer pool_mode = session)."
)
_STARTING = "The server is starting, stopping or recovering; run the command again in a while."
_SILENT = "Check the network, the load and the locks of the database server; then run the command again."
_ENDED = "The server was stopped, or the connection to it was ended; run the command again."

_BY_SQLSTATE = {
    "23505": ("conflict", "Another program changed the catalogue at the same moment; run the command again."),
    "25006": (
        "database_read_only",
        "Name the primary in RETROVUE_DATABASE_URL, or change default_transaction_read_only.",
    ),
    "25P03": ("idle_timeout", "Raise idle_in_transaction_session_timeout for the database user."),
    "25P04": ("transaction_timeout", "Raise transaction_timeout for the database user."),
    "26000": ("transaction_pooling", POOLING_HINT),  # a statement was prepared in another session
    "28000": (
        "database_refused",
        "Check the user in RETROVUE_DATABASE_URL, and whether pg_hba.conf demands TLS or a certificate (sslcert).",
    ),
    "28P01": ("database_refused", "Check user and password in RETROVUE_DATABASE_URL."),
    "3F000": ("database_error", "Create a schema that search_path names, or correct search_path."),
    "3D000": ("database_missing", "Create the database, or correct its name in RETROVUE_DATABASE_URL."),
    "40001": ("serialization_failure", "Run the command again."),
    "40P01": ("deadlock", "Run the command again."),
    "42P05": ("transaction_pooling", POOLING_HINT),
    "42501": ("database_permission", "Grant the database user the rights it lacks."),
    "53100": ("disk_full", "Make room on the database's disk and run the command again."),
    "53200": ("database_out_of_memory", "Give the database server more memory."),
    "53300": ("too_many_connections", "Lower --concurrency, or raise max_connections on the server."),
    "55P03": ("lock_timeout", "Another program holds a lock on the catalogue; try again when it is done."),
    "53400": ("database_limit", "Raise the limit that the message names for the database user, or have it raised."),
    "57014": ("statement_timeout", "Raise statement_timeout for the database user, or ask who cancelled it."),
    "57P03": ("database_unavailable", _STARTING),
    "58030": ("disk_error", "Read the database server's log: its disk has failed."),
    "XX001": ("database_damaged", "Read the database server's log, and restore a backup."),
    "XX002": ("database_damaged", "Read the database server's log, and rebuild the index (REINDEX)."),
}

_EXTENDS_FILE = {"mdextend", "mdzeroextend"}
"""The server's functions that extend a table's file. If a quota or limit prevents that, the error has no SQLSTATE of
its own, and its text is in the server's language.
"""


def _lost(error: BaseException) -> bool:
    """Return whether the error ended the connection. The outcome of a COMMIT is then unknown."""
    sqlstate = getattr(error, "sqlstate", None) or ""
    ends = getattr(error, "severity_en", None) in {"FATAL", "PANIC"}
    return ends or (sqlstate[:2] in {"08", "57"} and sqlstate != "57014")


def foreign() -> tuple[type[BaseException], ...]:
    """Return the types of the errors that asyncpg, the system and, if it is imported, SQLAlchemy raise."""
    own = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
    return own if (sa := _sqlalchemy()) is None else (sa.SQLAlchemyError, *own)


def _sqlalchemy() -> Any:
    """Return SQLAlchemy's errors; None if it hasn't been imported, so that it can't have raised one."""
    # Another thread may be importing it now.
    return sys.modules.get("sqlalchemy.exc") if "sqlalchemy.ext.asyncio" in sys.modules else None


def translate(error: BaseException) -> StoreError | None:
    """Return an error as StoreError, or None if it doesn't come from the database.

    Statements, parameters and URLs are left out, because they may hold secrets or personal data.
    """
    sa = _sqlalchemy()
    wraps = sa is not None and isinstance(error, sa.DBAPIError)
    original = getattr(error, "orig", None) or error if wraps else error
    cause = original
    lost = _lost(cause)
    # If the connection was lost, the driver keeps the server's last error as the cause.
    while isinstance(cause.__cause__, asyncpg.PostgresError):
        cause = cause.__cause__
        lost = lost or _lost(cause)
    sqlstate = getattr(cause, "sqlstate", None) or getattr(original, "sqlstate", None)
    if isinstance(sqlstate, str):
        if sqlstate[:2] == "22":  # Messages of this class repeat the value, also those of the driver.
            message = f"The database refused a value: {type(cause).__name__}"
            return StoreError(message, code="bad_value", context={"sqlstate": sqlstate})
        if sqlstate[:2] == "XX" and getattr(cause, "server_source_function", None) in _EXTENDS_FILE:
            sqlstate = "53100"
        code, hint = _BY_SQLSTATE.get(sqlstate, ("database_error", None))
        unavailable = sqlstate[:2] in {"08", "57"} and sqlstate != "57014"
        kind = StoreUnavailable if lost else StoreError
        text = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        constraint = getattr(cause, "constraint_name", None)
        return kind(
            f"{'The connection to the database is lost' if sqlstate[:2] == '08' else 'The database refused'}: {text}",
            code="database_unavailable" if unavailable else code,
            hint=hint or (_ENDED if unavailable else None),
            context={"sqlstate": sqlstate, **({"constraint": constraint} if constraint else {})},
        )
    broken = asyncpg.InternalClientError in {type(original), type(original.__cause__)}
    if (
        broken
        or isinstance(cause, OSError | asyncpg.InterfaceError | TimeoutError)
        or (wraps and (getattr(error, "connection_invalidated", False) or isinstance(error, sa.InterfaceError)))
    ):
        return _unreachable(cause, broken=broken)
    if sa is not None and isinstance(error, sa.TimeoutError):
        return StoreUnavailable("No database connection became free.", hint="Lower --concurrency.")
    if sa is not None and isinstance(error, sa.SQLAlchemyError):
        return StoreError(f"The database layer failed: {type(error).__name__}", code="database_error")
    return None


def _unreachable(cause: BaseException, *, broken: bool) -> StoreUnavailable:
    if broken:
        # The driver couldn't read an answer, such as one that a lost connection left over.
        return StoreUnavailable("The connection to the database is broken.", hint=_ENDED)
    number = cause.errno if isinstance(cause, OSError) else None
    if isinstance(cause, TimeoutError) and number is None:
        return StoreUnavailable("The database didn't answer in time.", hint=_SILENT)
    # The system's text for the number, because the text of the error itself may hold a secret.
    reason = os.strerror(number) if number is not None and number > 0 else "the connection was lost"
    if isinstance(cause, socket.gaierror):
        return StoreUnavailable(
            "The database can't be reached: no host of the name in its URL is known.",
            hint="Correct the name. An @, / or : in a user name or a password is written as %40, %2F or %3A.",
        )
    return StoreUnavailable(
        f"The database can't be reached: {reason}",
        hint="Is the server running, and is RETROVUE_DATABASE_URL right?",
    )
