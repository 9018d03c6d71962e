"""What went wrong, as people and programs are told it: a code, a message, what to do next, and never a password."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retrovue.core.guide import advice


@dataclass(frozen=True, slots=True)
class Problem:
    """An error to tell."""

    code: str
    message: str
    hint: str | None = None
    """What to do next; where nothing is given, what the guide says about the code."""
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    collection: Mapping[str, Any] | None = None
    """The collection that failed, where it was one of several."""

    def __post_init__(self) -> None:
        if self.hint is None:
            object.__setattr__(self, "hint", advice(self.code))

    def document(self) -> dict[str, Any]:
        """Build the JSON object of the error."""
        fields = {"code": self.code, "message": self.message, "hint": self.hint, "context": dict(self.context)}
        return fields if self.collection is None else {**fields, "collection": dict(self.collection)}
