"""The parameters of a run: its trigger, its scope, and how much it may remove."""

from typing import Literal

from msgspec import Struct

from retrovue.core.bounds import LARGEST, LONGEST_TITLE
from retrovue.core.errors import RequestError, require_within
from retrovue.core.text import quoted

Trigger = Literal["source", "collection"]
"""What a run was started for: a whole source, or one collection."""
Mode = Literal["ingest", "sync"]
"""What a run does with known items: an ingest leaves their assets unchanged, a sync updates them."""


class Scope(Struct, frozen=True):
    """The part of a collection to ingest: all of it, a title, a season or an episode."""

    title: str | None = None
    """At most 1,000 characters."""
    season: int | None = None
    """0 (the specials) to 2,147,483,647."""
    episode: int | None = None
    """0 to 2,147,483,647."""

    def __post_init__(self) -> None:
        """Raise RequestError for a title that is too long, or a number out of range."""
        if self.title is not None and len(self.title) > LONGEST_TITLE:
            raise RequestError(
                f"The title has {len(self.title):,} characters; at most {LONGEST_TITLE:,} can be asked for.",
                code="bad_scope",
            )
        for part, number in (("season", self.season), ("episode", self.episode)):
            if number is not None:
                require_within(f"The number of the {part}", number, 0, LARGEST, code="bad_scope")

    @property
    def is_full(self) -> bool:
        """Whether the scope is the whole collection."""
        return self.title is None


FULL = Scope()


class MaxRemovals(Struct, frozen=True):
    """How many of the present assets of a collection a sync may mark as missing.

    If both values are given, the larger number applies. Raises RequestError for values out of range.
    """

    count: int = 0
    """A number of assets."""
    percent: float = 0.0
    """A percentage of the present assets of the collection, 0 to 100."""

    def __post_init__(self) -> None:
        require_within("The number of removals", self.count, 0, LARGEST, code="bad_max_removals")
        if not 0 <= self.percent <= 100:
            raise RequestError("The percentage of removals must be from 0 to 100.", code="bad_max_removals")

    @classmethod
    def parse(cls, text: str) -> "MaxRemovals":
        """Read a number of assets (``50``) or a percentage (``10%``); raises RequestError for anything else."""
        number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
        try:
            return cls(percent=float(number)) if percent else cls(count=int(number))
        except ValueError as exc:
            raise RequestError(
                f"{quoted(text)} is neither a number of assets nor a percentage.",
                code="bad_max_removals",
                hint="Give a number such as 50, or a percentage such as 10%.",
            ) from exc

    def of(self, present: int) -> int:
        """Return the most removals for a collection with ``present`` assets."""
        return max(self.count, int(present * self.percent / 100))


DEFAULT_MAX_REMOVALS = MaxRemovals(count=20, percent=15)
"""What a sync may mark by default. The absolute number is for libraries of a few films, where a percentage is too
small.
"""
