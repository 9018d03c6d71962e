"""How people and programs refer to what is in the catalogue: by UUID, by external id, or by exact name."""

import uuid
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Referable(Protocol):
    """What can be referred to."""

    @property
    def id(self) -> uuid.UUID: ...  # noqa: D102
    @property
    def external_id(self) -> str: ...  # noqa: D102


T = TypeVar("T", bound=Referable)


def as_uuid(reference: str) -> uuid.UUID | None:
    """Read a reference as a UUID; None if it isn't one."""
    try:
        return uuid.UUID(reference)
    except ValueError:
        return None


def meant(reference: str, found: Sequence[T]) -> Sequence[T]:
    """Of those that a reference fits in some way, choose those that it means: an id goes before a name."""
    own_id = as_uuid(reference)
    return [one for one in found if one.id == own_id] or [one for one in found if one.external_id == reference] or found
