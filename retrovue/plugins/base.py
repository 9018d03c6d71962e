"""The common parts of importers and enrichers: opening, closing, and the check of their classes."""

import inspect
from collections.abc import Callable, Mapping
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
    """Implements opening and closing for a plugin that has nothing to open."""

    shares_loop: ClassVar[bool] = False
    """Whether it runs in the event loop of the host program, to share connections with it. Such a plugin is trusted: if
    it blocks or swallows its cancellation, the whole run has to wait. By default a plugin of another package runs in a
    thread with its own event loop.

    Such a plugin is trusted: if it blocks or swallows its cancellation, it holds up the whole run. By default a plugin
    that doesn't come with RetroVue runs in a thread with its own event loop.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


def method_problems(plugin: type, coroutines: Mapping[str, int], plain: Mapping[str, int], describe: str) -> list[str]:
    """Return what is wrong with the methods of a plugin's class.

    ``coroutines`` and ``plain`` are the coroutine functions and other methods that it needs, each with the number of
    arguments that it is called with. ``describe`` is the class method that returns the settings.
    """
    if abstract := sorted(getattr(plugin, "__abstractmethods__", ())):
        return [f"{name} is not implemented" for name in abstract]
    problems: list[str] = []
    for name, arguments in {**coroutines, **plain, describe: 0}.items():
        method = getattr(plugin, name, None)
        is_coroutine = inspect.iscoroutinefunction(method)
        if method is None:
            problems.append(f"{name} is missing")
        elif not callable(method):
            problems.append(f"{name} is not callable")
        elif name in coroutines and not is_coroutine:
            problems.append(f"{name} is not a coroutine function: define it with `async def`")
        elif name not in coroutines and is_coroutine:
            problems.append(f"{name} is a coroutine function, but is called without `await`")
        elif name == describe and not _accepts(method, 0):
            problems.append(f"{name} is not a class method: put @classmethod before it, and take no other arguments")
        elif not _accepts(method, arguments + (0 if _is_bound(plugin, name) or name == describe else 1)):
            problems.append(f"{name} doesn't take {arguments} argument(s)")
    return problems


def _is_bound(plugin: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(plugin, name), classmethod | staticmethod)


def _accepts(method: Callable[..., object], arguments: int) -> bool:
    try:
        inspect.signature(method).bind(*[None] * arguments)
    except TypeError:
        return False
    return True
