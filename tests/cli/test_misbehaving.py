"""A command whose importer misbehaves: it tells what was done, and ends when it is told to."""

import signal
import sys
import time
from pathlib import Path

import orjson
import pytest

from retrovue.testing.misbehaving import (
    BROKEN,
    FIRST,
    LAST,
    MISBEHAVING,
    BlockingLoop,
    Hanging,
    MisbehavingImporter,
    SwallowingCancellation,
)
from tests.cli.conftest import Cli
from tests.conftest import Packages

SILENT = [Hanging, SwallowingCancellation, BlockingLoop]


def installed(cli: Cli, packages: Packages, kind: type[MisbehavingImporter]) -> dict[str, str]:
    """Install an importer for processes, add a source of its type, and return the environment."""
    packages.install("odd", misbehaving=f"{kind.__module__}:{kind.__name__}")
    cli.ok("source", "add", "--type", "misbehaving", "--name", "Odd", "--discover")
    for name in (FIRST, BROKEN, LAST):
        cli.ok("collection", "update", name, "--enable")
    return cli.environment | {"PYTHONPATH": sys.path[-1]}


@pytest.mark.parametrize("kind", SILENT)
def test_a_signal_ends_it(run_cli: Cli, packages: Packages, kind: type[MisbehavingImporter]) -> None:
    environment = installed(run_cli, packages, kind)
    process = run_cli.start("source", "ingest", "Odd", "--json", "--concurrency", "1", env=environment)
    while run_cli.ok("asset", "list")["total"] < 1:  # the first collection is in; the next one is the broken one
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert orjson.loads(out)["status"] == "partial"


@pytest.mark.parametrize("kind", SILENT)
def test_patience_ends_it(run_cli: Cli, packages: Packages, kind: type[MisbehavingImporter]) -> None:
    environment = installed(run_cli, packages, kind)
    arguments = ("source", "ingest", "Odd", "--json", "--concurrency", "1", "--patience", "0.3")
    done = run_cli.process(*arguments, env=environment)
    assert done.status == 2
    failed = {one["code"] for one in done.document["errors"]}
    assert failed == {MISBEHAVING[kind]}


def test_the_process_finds_what_is_installed(run_cli: Cli, packages: Packages, tmp_path: Path) -> None:
    assert sys.path[-1] == str(tmp_path / "site-packages")
