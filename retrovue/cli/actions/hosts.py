"""The common start of the commands that run until they are stopped: `serve` and `worker`."""

import datetime as dt
import platform
from collections.abc import Callable

from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation
from retrovue.cli.text import local_time


def begin_hosting(call: Invocation, command: str, name: str | None) -> tuple[str, Callable[[str], None]]:
    """Return the name of the host, by default that of this machine, and a function that prints a line with the time.

    Raises InputError for ``--json``, because such a command never gives an answer.
    """
    if call.output.as_json:
        raise InputError(
            f"{command} doesn't end, so --json can't print one document.",
            hint="Leave it out; with --log-format json and --log-level info the log has a line for each run.",
        )

    def tell(line: str) -> None:
        call.output.lines([f"{local_time(dt.datetime.now(dt.UTC))}  {line}"])

    return name or platform.node() or "localhost", tell
