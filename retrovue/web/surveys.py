"""What somebody who sets up a first source has given so far. It stays on the server: no page shows a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrovue.core.model import Secret
from retrovue.operations.survey import Survey


@dataclass(frozen=True, slots=True)
class Setup:
    """A server that was surveyed, and the settings with which it was reached."""

    type_name: str
    name: str
    config: Mapping[str, Any]
    credentials: Mapping[str, Secret]
    found: Survey
