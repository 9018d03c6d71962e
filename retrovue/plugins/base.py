"""What importers and enrichers have in common: opening and closing, and the check of their classes."""

import inspect
from collections.abc import Iterable
from types import TracebackType
from typing import ClassVar, Protocol, Self


class PluginInterface(Protocol):
    """A plugin is an async context manager: it may hold connections while it is entered."""

    async def __aenter__(self) -> Self:
        """Open what the plugin needs."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        ...


class BasePlugin:
    """Implements opening and closing for a plugin that holds nothing open."""

    shares_loop: ClassVar[bool] = False
    """Whether it runs in the event loop of the program that embeds RetroVue, to share connections with that program.

    Such a plugin is trusted: if it blocks or swallows its cancellation, it holds up the whole run. By default a plugin
    that doesn't come with RetroVue runs in a thread with an event loop of its own.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


def abstract_methods(plugin: type) -> list[str]:
    """List the methods of a class that are still abstract, as problems."""
    return [f"{name} is not implemented" for name in sorted(getattr(plugin, "__abstractmethods__", ()))]


def plain_functions(plugin: type, names: Iterable[str]) -> list[str]:
    """List the methods that should be coroutine functions and aren't, as problems."""
    return [
        f"{name} is not a coroutine function"
        for name in names
        if not inspect.iscoroutinefunction(getattr(plugin, name, None))
    ]
