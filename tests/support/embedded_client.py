"""A command that uses the embedded server, told by lines on its standard input when to enter and when to leave."""

import importlib
import importlib.metadata
import os
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from retrovue.store.embedded import embedded_server


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(home: Path) -> None:
    say("ready")
    await anyio.to_thread.run_sync(sys.stdin.readline)
    async with embedded_server(home, durable=False) as server:
        await server.ensure_database("retrovue")
        say(str(server.pid))
        await anyio.to_thread.run_sync(sys.stdin.readline)
    say("left")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        # The interpreter may lie where the other account can't read: what is needed later is loaded before.
        for module in (
            "email.parser",
            "encodings.idna",
            "anyio._backends._asyncio",
            "asyncpg.connection",
            "platformdirs.unix",
        ):
            importlib.import_module(module)
        importlib.metadata.metadata("anyio")
        uid, gid, packages = sys.argv[2:]
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
        sys.path.insert(0, packages)
    anyio.run(main, Path(sys.argv[1]))
