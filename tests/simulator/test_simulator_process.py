"""python -m retrovue.simulator says where it serves, and at the end what it served."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest

TOKEN = "canary-7f3a"


def start(*options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "retrovue.simulator", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"RETROVUE_SIMULATOR_TOKEN": TOKEN},
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    options = ["--collections", "2", "--items", "300", "--kind", "mixed", "--prerender"]
    process = start(*options, "--fail-percent", "100", "--stats-file", str(tmp_path / "stats.json"))
    assert process.stdout is not None
    ready = orjson.loads(process.stdout.readline())
    headers = {"X-Plex-Token": ready["token"], "Accept": "application/json"}
    with httpx.Client(base_url=ready["url"], headers=headers, trust_env=False) as client:
        assert client.get("/identity").json()["MediaContainer"]["machineIdentifier"] == ready["machineIdentifier"]
        sections = client.get("/library/sections").json()["MediaContainer"]["Directory"]
        page: dict[str, str | int] = {
            "type": 4,
            "sort": "id",
            "includeGuids": 1,
            "X-Plex-Container-Start": 100,
            "X-Plex-Container-Size": 100,
        }
        seen = [client.get("/library/sections/2/all", params=page) for _ in range(2)]
    process.send_signal(number)
    output, errors = process.communicate()
    assert process.returncode == 0
    assert errors == b""
    stats = orjson.loads(output)
    assert [one["key"] for one in ready["sections"]] == [one["key"] for one in sections] == ["1", "2"]
    assert [answer.status_code for answer in seen] == [503, 200]
    assert len(seen[1].json()["MediaContainer"]["Metadata"]) == 100
    assert (stats["requests"], stats["faults"], stats["maxConcurrency"]) == (4, 1, 1)
    assert stats["bytes"] > len(seen[1].content)
    assert stats["cpuSeconds"] >= stats["servingCpuSeconds"] >= 0
    assert orjson.loads((tmp_path / "stats.json").read_bytes()) == stats
    assert TOKEN.encode() not in output


def test_help_names_every_option() -> None:
    process = start("--help")
    output, _ = process.communicate()
    assert process.returncode == 0
    for option in ("--items", "--kind", "--latency-ms", "--prerender", "--fail-percent", "--page-time-us-per-offset"):
        assert option.encode() in output


def test_the_simulator_imports_no_part_of_the_importer() -> None:
    code = (
        "import sys, retrovue.simulator, retrovue.simulator.__main__\n"
        "banned = ('httpx', 'sqlalchemy', 'plexapi', 'retrovue.importers', 'retrovue.store')\n"
        "sys.exit(', '.join(name for name in sys.modules if name.startswith(banned)) or None)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, b"")
