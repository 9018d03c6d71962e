"""Find plugins, of RetroVue and of other packages, by the entry points of a group."""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import Struct, field

from retrovue.core.errors import RequestError, RetrovueError, normalized
from retrovue.core.model import ConfigField
from retrovue.core.text import quoted

T = TypeVar("T")

_COMPLIANT: set[tuple[str, type]] = set()
"""The classes that are known to implement their interface. Reading a class's signatures takes a millisecond, and each
run loads its classes several times.
"""


class PluginKind(Struct, Generic[T], frozen=True):
    """Importers or enrichers: where their types are found, and which errors are raised for them."""

    noun: str
    group: str
    """The group of entry points. The names of the entry points are the types."""
    interface: str
    base: str
    """The class that implements most of the interface, for hints."""
    arguments: str
    """The arguments of the constructor, for hints."""
    describe: str
    """The class method that returns the settings, as ConfigFields."""
    problems: Callable[[object], list[str]]
    """Returns what a class lacks to implement the interface."""
    unsupported: type[RequestError]
    not_compliant: type[RequestError]
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sentences that say why a type isn't supported, by its name in lower case."""

    def types(self) -> list[str]:
        """Return the names of the installed types, sorted."""
        return sorted({entry.name for entry in _entries(self.group)})

    def load(self, type_name: str) -> type[T]:
        """Load the class of a type, and check that it implements the interface before any of its code runs.

        Raises ``unsupported`` if the type isn't installed, and ``not_compliant`` if it can't be loaded, if two packages
        provide it, or if it doesn't implement the interface.
        """
        entries = [entry for entry in _entries(self.group) if entry.name == type_name]
        if not entries:
            installed = self.types()
            why = self.refused.get(type_name.lower())
            raise self.unsupported(
                f"There is no {self.noun} of type {quoted(type_name)}.{'' if why is None else f' {why}'}",
                hint=f"Installed types: {', '.join(installed)}. Install the package that provides it.",
                context={"type": type_name, "installed": installed},
            )
        values = sorted({entry.value for entry in entries})
        if len(values) > 1:
            message = f"Several packages provide the {self.noun} {quoted(type_name)}: {', '.join(values)}."
            raise self._refusal(type_name, message, "Uninstall all but one of them.", providers=values)
        loaded: type[T] = self._load(entries[0])
        self._require_compliance(type_name, loaded)
        return loaded

    def settings(self, type_name: str) -> tuple[ConfigField, ...]:
        """Return the settings of a type; raises what ``load`` raises."""
        describe: Any = getattr(self.load(type_name), self.describe)
        try:
            fields: tuple[Any, ...] = tuple(describe())
        except (Exception, SystemExit) as exc:
            raise self._undescribed(type_name, type(exc).__name__) from exc
        if wrong := [type(field).__name__ for field in fields if not isinstance(field, ConfigField)]:
            raise self._undescribed(type_name, f"a {wrong[0]} is no ConfigField")
        return fields

    def make(self, type_name: str, cls: type[T], source_of_values: str, *arguments: object, **named: object) -> T:
        """Make a plugin of a loaded class; ``source_of_values`` names the origin of its arguments in errors.

        Raises the RetrovueError with which the plugin refuses its arguments, and ``not_compliant`` for any other
        exception.
        """
        make: Any = cls
        try:
            plugin: T = make(*arguments, **named)
        except (Exception, SystemExit) as exc:
            if isinstance(exc, RetrovueError) and normalized(exc):
                raise
            # Without its message, which may repeat the arguments, including credentials.
            message = (
                f"The {self.noun} {quoted(type_name)} can't be made from its {source_of_values}: {type(exc).__name__}."
            )
            raise self._refusal(type_name, message, f"Its class must take {self.arguments}.") from exc
        return plugin

    def _undescribed(self, type_name: str, why: str) -> RequestError:
        message = f"The {self.noun} {quoted(type_name)} doesn't describe its settings: {why}."
        return self._refusal(type_name, message, "Update or remove the package that provides it.")

    def _load(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except (Exception, SystemExit) as exc:
            message = (
                f"The {self.noun} {quoted(entry.name)} ({entry.value}) can't be loaded: {type(exc).__name__}: {exc}"
            )
            hint = "Reinstall or remove the package that provides it."
            raise self._refusal(entry.name, message, hint, provider=entry.value) from exc

    def _require_compliance(self, type_name: str, loaded: object) -> None:
        if isinstance(loaded, type) and (self.noun, loaded) in _COMPLIANT:
            return
        problems = self.problems(loaded)
        if problems:
            message = f"The {self.noun} {quoted(type_name)} doesn't implement {self.interface}: {'; '.join(problems)}."
            hint = f"Update or remove the package that provides it, or make it a subclass of {self.base}."
            raise self._refusal(type_name, message, hint, problems=problems)
        if isinstance(loaded, type):
            _COMPLIANT.add((self.noun, loaded))

    def _refusal(self, type_name: str, message: str, hint: str, **context: object) -> RequestError:
        return self.not_compliant(message, hint=hint, context={"type": type_name, **context})


def _entries(group: str) -> tuple[EntryPoint, ...]:
    """Return a group's entry points, including those of packages that were installed since the last call."""
    return _read_entries(group, tuple(map(_state, sys.path)))


# Reading the metadata of all installed packages takes some milliseconds, for each plugin of each collection.
@lru_cache(maxsize=4)
def _read_entries(group: str, _state_of_paths: tuple[object, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _state(path: str) -> tuple[object, ...]:
    """Return a value that changes when a package is installed in a directory, or removed."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return path, None
    return path, found.st_dev, found.st_ino, found.st_mtime_ns


def takes_transport(cls: type) -> bool:
    """Return whether a plugin's constructor takes the HTTP transport of the host program."""
    return "transport" in inspect.signature(cls).parameters
