"""Connections to the database that are closed at the same time."""

import anyio
import asyncpg
import pytest


def close_together(monkeypatch: pytest.MonkeyPatch, number: int) -> list[asyncpg.Connection]:
    """Let no connection be closed before so many are being closed; return those, each as often as it was closed."""
    close, closing, all_closing = asyncpg.Connection.close, list[asyncpg.Connection](), anyio.Event()

    async def wait(connection: asyncpg.Connection, **options: float) -> None:
        closing.append(connection)
        if len(closing) == number:
            all_closing.set()
        await all_closing.wait()
        await close(connection, **options)

    monkeypatch.setattr(asyncpg.Connection, "close", wait)
    return closing
