"""docs/reference: what the commands, the package and the database say of themselves, written down.

``python -m tests.docs.reference`` (``make reference``) rewrites it.
"""

import ast
import inspect
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import anyio
import anyio.from_thread
import asyncclick as click
import asyncpg
from anyio.from_thread import BlockingPortal

from retrovue.cli import errors
from retrovue.cli.app import command as program
from retrovue.cli.entry import run
from retrovue.core import config
from retrovue.store.embedded import embedded_server
from retrovue.testing.tasks import run as run_alone
from tests.conftest import Databases
from tests.support import api, schemas
from tests.support.api import GENERATED
from tests.support.meanings import MEANINGS
from tests.support.pages import DOCS

DIRECTORY = DOCS / "reference"


def commands() -> str:
    """Write down the help of every command at 80 columns."""
    lines = ["# Commands", "", GENERATED]
    for words in _commands((), program):
        lines += ["", f"## {' '.join(['retrovue', *words])}", "", "```text", *_help(words), "```"]
    return "\n".join(lines) + "\n"


def subcommands() -> list[tuple[str, ...]]:
    """Name the commands that do something."""
    every = list(_commands((), program))
    return [words for words in every if not any(more[:-1] == words for more in every if more)]


def _commands(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands((*words, name), found)


def _help(words: tuple[str, ...]) -> list[str]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "82"  # click leaves two free
    try:
        with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) as out:
            assert run_alone(run, [*words, "--help"]) == errors.OK
            out.flush()
            printed: io.BytesIO = out.buffer
            return printed.getvalue().decode().splitlines()
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def environment() -> str:
    """Write down the exit statuses and the variables of the environment."""
    told = _documented(errors)
    statuses = [
        ("0", "ok", told["OK"]),
        ("1", "failed", told["FAILED"]),
        ("2", "partial success", told["PARTIAL"]),
        ("2", "scope not found", told["SCOPE_NOT_FOUND"]),
        ("3", "source unreachable", told["UNREACHABLE"]),
        (
            "130, 143",
            "interrupted",
            "By SIGINT or SIGTERM: what is committed stays and is reported, the rest is rolled back.",
        ),
    ]
    assert [int(status) for status, *_ in statuses[:-1]] == [
        errors.OK,
        errors.FAILED,
        errors.PARTIAL,
        errors.SCOPE_NOT_FOUND,
        errors.UNREACHABLE,
    ]
    return "\n".join(
        [
            "# Exit statuses and environment",
            "",
            GENERATED,
            "",
            "## Exit statuses",
            "",
            "Every status except 0 comes with a message on the standard error and, with `--json`, in the document.",
            "Rejected items, duplicates and failed enrichments never change the status.",
            "",
            "| Status | | Means |",
            "|---|---|---|",
            *(f"| {number} | {word} | {text} |" for number, word, text in statuses),
            "",
            "## Environment",
            "",
            "| Variable | Means |",
            "|---|---|",
            *(f"| `{getattr(config, name)}` | {text} |" for name, text in _documented(config).items()),
            "",
        ]
    )


def _documented(module: ModuleType) -> dict[str, str]:
    """Read what stands below the constants of a module."""
    found: dict[str, str] = {}
    for node, text in pairwise(ast.parse(inspect.getsource(module)).body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(text, ast.Expr):
            found[node.targets[0].id] = " ".join(ast.literal_eval(text.value).replace("``", "`").split())
    return found


_COLUMNS = """
    SELECT relname, relkind::text, attname, format_type(atttypid, atttypmod), attnotnull,
        pg_get_expr(adbin, adrelid) IS NOT NULL AS has_default
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
    ORDER BY pg_class.oid, attnum
"""
_CONSTRAINTS = """
    SELECT conrelid::regclass::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'c', 'f')
    ORDER BY conrelid, array_position('{p,u,f,c}', contype), conname
"""


async def _read(url: str) -> tuple[list[tuple[str, str, str, str, bool, bool]], list[tuple[str, str]]]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        columns = [tuple(row) for row in await connection.fetch(_COLUMNS)]
        constraints = [tuple(row) for row in await connection.fetch(_CONSTRAINTS)]
        return columns, constraints
    finally:
        await connection.close()


def database(portal: BlockingPortal, databases: Databases) -> str:
    """Write down the tables of a database that the migrations have made."""
    url = databases.create()
    columns, constraints = portal.call(_read, url)
    databases.drop(url)
    kinds = {table: kind for table, kind, *_ in columns}
    lines = ["# Database", "", GENERATED, ""]
    lines += ["Read any table. Write only by the commands and the Python API, which keep the catalogue consistent.", ""]
    for table, kind in kinds.items():
        meanings: Mapping[str, str] = MEANINGS[table]
        lines += [f"## {table}", "", f"{'A view: ' if kind == 'v' else ''}{meanings['']}", ""]
        lines += ["| Column | Type | | Means |", "|---|---|---|---|"]
        for of, _, column, type_name, required, _ in columns:
            if of == table:
                needed = "" if required or kind == "v" else "may be null"
                lines.append(f"| `{column}` | {type_name} | {needed} | {meanings[column]} |")
        rules = [rule for of, rule in constraints if of == table]
        if rules:
            lines += ["", *(f"* `{' '.join(rule.split())}`" for rule in rules)]
        lines.append("")
    return "\n".join(lines)


def files(portal: BlockingPortal, databases: Databases) -> dict[Path, str]:
    """Make every page of the reference."""
    return {
        DIRECTORY / "commands.md": commands(),
        DIRECTORY / "environment.md": environment(),
        DIRECTORY / "api.md": api.page(),
        DIRECTORY / "database.md": database(portal, databases),
        **{schemas.DIRECTORY / name: text for name, text in schemas.files().items()},
    }


def _write() -> None:
    with (
        tempfile.TemporaryDirectory() as scratch,
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(embedded_server(Path(scratch) / "postgres", durable=False)) as server,
        Databases(portal, server, "reference") as databases,
    ):
        made = files(portal, databases)
    schemas.DIRECTORY.mkdir(parents=True, exist_ok=True)
    for path in {*schemas.DIRECTORY.iterdir()} - made.keys():
        path.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
