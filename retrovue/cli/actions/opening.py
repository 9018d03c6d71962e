"""Opening the catalogue that a command asks for."""

from contextlib import AbstractAsyncContextManager

from retrovue.cli.session import Call
from retrovue.store.opening import open_store
from retrovue.store.session import Store


def opened(
    call: Call, *, connections: int = 2, read_only: bool = False, check: bool = True
) -> AbstractAsyncContextManager[Store]:
    """Open the catalogue for a command; a dry-run gets one that refuses every write."""
    return open_store(
        call.settings,
        test_db=call.test_db,
        connections=connections,
        read_only=read_only or call.dry_run,
        check=check,
    )
