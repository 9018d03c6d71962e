"""SQL statements with named parameters, the session that executes them, and their results.

The session executes statements by asyncpg. SQLAlchemy takes three times as long for a statement, and half of a
command's start to be imported.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from retrovue.core.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import TextClause

Parameters = Mapping[str, Any]

OWN = "(SELECT cast(:collection AS uuid))"
"""The collection of a statement that looks assets up by their hashes.

The planner doesn't see its value. If it did, it would expect no assets in a collection that was filled after the
statistics were made, and would search all assets of the collection for each hash.
"""

# A colon that belongs to a cast (::), or that a word or a backslash precedes, begins no name.
_NAME = re.compile(r"(?<![:\w$\\]):([\w$]+)(?![:\w$])")
_STATEMENTS = 512
"""How many statements are remembered with numbered parameters: those of the program, and some with names of tables."""
_ROWS = 256
"""How many types of rows are remembered."""


class Statement(Struct, frozen=True):
    r"""An SQL statement with parameters such as ``:name``. A colon that begins no parameter is written ``\:``."""

    text: str

    def clause(self) -> "TextClause":
        """Return the statement for a connection of SQLAlchemy."""
        from sqlalchemy import text  # noqa: PLC0415 - slow to import, and not needed for reading

        return text(self.text)


def text(sql: str) -> Statement:
    """Return an SQL statement."""
    return Statement(sql)


class HasText(Protocol):
    """A `Statement`, or a text of SQLAlchemy."""

    @property
    def text(self) -> str:
        """The SQL."""
        ...


@lru_cache(_STATEMENTS)
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return SQL with numbers in place of the names of parameters, and the names in the order of their numbers."""
    numbers: dict[str, int] = {}
    result = _NAME.sub(lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", sql)
    return result.replace("\\:", ":"), tuple(numbers)


class Row(tuple[Any, ...]):
    """A row of a result: a tuple whose values are also attributes, by the names of the columns."""

    __slots__ = ()
    _fields: tuple[str, ...]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))


@lru_cache(_ROWS)
def _row_type(columns: tuple[str, ...]) -> type[Row]:
    values = {name: property(itemgetter(place)) for place, name in enumerate(columns)}
    return type("Row", (Row,), {"__slots__": (), "_fields": columns, **values})


class Values:
    """The first values of the rows of a result."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def all(self) -> list[Any]:
        """Return all of them."""
        return self._values


class Result:
    """The rows that a statement returned, all of them in memory."""

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __iter__(self) -> Iterator[Row]:
        return iter(self.all())

    def all(self) -> list[Row]:
        """Return all rows."""
        if not self._records:
            return []
        make = _row_type(tuple(self._records[0].keys()))
        return [make(record) for record in self._records]

    def first(self) -> Row | None:
        """Return the first row, None if there is none."""
        return self.all()[0] if self._records else None

    def one_or_none(self) -> Row | None:
        """Return the only row, None if there is none. Raises StoreError if there are several."""
        return self.one() if self._records else None

    def one(self) -> Row:
        """Return the only row. Raises StoreError if there is none, or several."""
        if len(self._records) != 1:
            raise StoreError(f"The database returned {len(self._records)} rows instead of one.", code="database_error")
        return self.all()[0]

    def scalars(self) -> Values:
        """Return the first value of each row."""
        return Values([record[0] for record in self._records])

    def scalar_one(self) -> Any:
        """Return the first value of the only row. Raises StoreError if there is no row, or several."""
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        """Return the first value of the only row, None if there is none. Raises StoreError if there are several."""
        return self.one()[0] if self._records else None


class Session:
    """Executes statements over one connection. The store begins and ends its transactions."""

    def __init__(self, driver: Any) -> None:
        self.driver: Any = driver
        """The connection of asyncpg."""
        self.made: dict[Any, Any] = {}
        """What has been made on the connection, as long as it is open."""

    async def start(self, begin: Callable[[Any], Awaitable[None]], seconds: float) -> None:
        """Begin a transaction by a function of the driver. Each statement of it has so many seconds."""
        limit_statements(self.driver, seconds)
        await begin(self.driver)

    async def commit(self) -> None:
        """Commit the transaction."""
        await self.driver.execute("COMMIT;")

    async def rollback(self) -> None:
        """Roll the transaction back, if there is one."""
        if self.driver.is_in_transaction():
            await self.driver.execute("ROLLBACK;")

    async def execute(self, statement: HasText, params: Parameters | Sequence[Parameters] | None = None) -> Result:
        """Execute a statement, once for each mapping of a sequence of ``params``; return its rows.

        Several executions return no rows. Raises the errors of asyncpg.
        """
        sql, names = numbered(statement.text)
        if isinstance(params, Sequence):
            await self.driver.executemany(sql, [[row[name] for name in names] for row in params])
            return Result(())
        return Result(await self.driver.fetch(sql, *_values(names, params)))

    async def change(self, statement: HasText, params: Parameters | None = None) -> int:
        """Execute a statement that returns no rows; return the number of rows that it changed."""
        sql, names = numbered(statement.text)
        status: str = await self.driver.execute(sql, *_values(names, params))
        return int(status.rpartition(" ")[2])


def limit_statements(driver: Any, seconds: float) -> None:
    """Set the time limit of the statements of a driver's connection."""
    # asyncpg has no public way to change the limit, but reads it here for each statement.
    driver._config = driver._config._replace(command_timeout=seconds)  # noqa: SLF001


def _values(names: tuple[str, ...], parameters: Parameters | None) -> list[Any]:
    return [parameters[name] for name in names] if parameters and names else []
