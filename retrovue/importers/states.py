"""Check the states of sources and the changes that importers of other packages return."""

from collections.abc import Mapping

from retrovue.core.answers import ChangesRead, ChangeState, SourceState
from retrovue.core.bounds import LONGEST_CHANGE_STAMP, LONGEST_TEXT
from retrovue.core.text import is_storable

_LARGEST = 2**62
"""The largest time or number of items: they are added to, and stored as bigint."""
_MOST_FILTERS = 100


class StateChecks:
    """Checks the states that one importer returns."""

    def __init__(self, *, ours: bool) -> None:
        """``ours``: the importer is RetroVue's own. It gives the same libraries to many collections."""
        self._ours = ours
        self._checked: object = None
        """The libraries of the last valid state."""

    def problem(self, state: SourceState) -> str | None:
        """Return what is wrong with a state; None if it is valid."""
        if self._ours and state.libraries is self._checked:
            return None
        problem = state_problem(state)
        self._checked = state.libraries if problem is None else None
        return problem


def state_problem(state: SourceState) -> str | None:
    """Return what is wrong with a state; None if it is valid."""
    libraries: object = state.libraries
    if not isinstance(libraries, Mapping):
        return "gave a state without a mapping of libraries"
    for key, library in libraries.items():
        if not isinstance(key, str) or not isinstance(library, ChangeState):
            return "gave a state without a ChangeState for each external id"
        stamp = library.stamp
        if stamp is not None and not _is_text(stamp, LONGEST_CHANGE_STAMP):
            return f"gave a library's stamp that isn't text of at most {LONGEST_CHANGE_STAMP} characters"
    if state.clock_s is not None and not _is_number(state.clock_s):
        return "gave a time that isn't a whole number of seconds since 1970"
    if state.version is not None and not _is_text(state.version, LONGEST_TEXT):
        return "gave a version that isn't text"
    return None


def changes_problem(changes: object) -> str | None:
    """Return what is wrong with the end of a listing of changes; None if it is valid."""
    if not isinstance(changes, ChangesRead) or not (changes.source_total is None or _is_number(changes.source_total)):
        return "ended its changes without the number of all items"
    filters: object = changes.filters
    if (
        not isinstance(filters, Mapping)
        or len(filters) > _MOST_FILTERS
        or not all(_is_text(name, LONGEST_TEXT) and isinstance(works, bool) for name, works in filters.items())
    ):
        return f"gave filters that aren't at most {_MOST_FILTERS} names with true or false"
    return None


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and is_storable(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST
