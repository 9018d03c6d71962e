"""Runs a command and writes down what it took; a process of its own.

What the kernel calls the peak memory of a process includes that of the one that started it, up to the moment when
the new program takes over. So the harness, which is large, doesn't start what it measures: this small program does.

    python meter.py REPORT COMMAND [ARGUMENT …]
"""

import json
import os
import sys
import time


def main() -> int:
    report, *command = sys.argv[1:]
    began = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - began
    # Linux counts in KiB, macOS in bytes.
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib alone would add a megabyte
        json.dump({"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": peak}, file)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
