"""The input of a first setup so far. It is kept on the server, so that no page holds a token."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from retrovue.core.model import Secret
from retrovue.operations.survey import Survey


class Setup(Struct, frozen=True):
    """A surveyed server, and the settings with which it was reached."""

    type_name: str
    name: str
    config: Mapping[str, Any]
    credentials: Mapping[str, Secret]
    found: Survey
