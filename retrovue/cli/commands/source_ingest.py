"""How source ingest reads its arguments: narrowing is refused before anything else is looked at."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import asyncclick as click

from retrovue.cli.errors import NarrowingForbidden
from retrovue.cli.ingest_document import failed_source_ingest
from retrovue.cli.session import Session

NARROWING = ("--title", "--season", "--episode")
MESSAGE = (
    "Per-title/season/episode ingest is only supported at the collection level. "
    "Use: retrovue collection ingest <collection_id> [--title ... --season ... --episode ...]"
)
_WITH_VALUE = (*NARROWING, "--concurrency", "--max-rps", "--patience", "--database-url")


class IngestCommand(click.Command):
    """The command whose errors, those of its arguments included, are whole source-ingest documents."""

    async def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Refuse narrowing flags, with a value or without, and only then parse."""
        if parent is not None:
            parent.ensure_object(Session).error_document = partial(
                failed_source_ingest, _positional(args), dry_run="--dry-run" in args, strict="--strict" in args
            )
        if any(argument.partition("=")[0] in NARROWING for argument in _options(args)):
            raise NarrowingForbidden(MESSAGE)
        return await super().make_context(info_name, args, parent, **extra)


def _options(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _positional(arguments: Sequence[str]) -> str | None:
    """Find the source that is asked for, as well as that goes before the arguments are known to make sense."""
    before: str | None = None
    options = _options(arguments)
    for argument in options:
        if not argument.startswith("-") and before not in _WITH_VALUE:
            return argument
        before = argument
    rest = arguments[len(options) + 1 :]
    return rest[0] if rest else None
