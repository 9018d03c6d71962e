"""What went wrong, as people and programs are told it: a code, a message, what to do next, and never a password."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retrovue.guide import advice

_USER_INFO = re.compile(r"(?<=://)([^/\s@:]*):[^/\s]*@")
_IN_QUERY = re.compile(r"(?i)((?:x-plex-)?token|password|secret|api_?key)=[^&\s'\"]+")


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


def without_passwords(text: str) -> str:
    """Hide passwords and tokens inside the addresses that a text contains."""
    if "://" not in text:
        return text
    return _IN_QUERY.sub(r"\1=…", _USER_INFO.sub(r"\1:…@", text))
