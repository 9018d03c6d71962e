"""What a campaign of faults has found, in figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """What a campaign of faults has found."""

    title: str
    injected: int = 0
    missed: int = 0
    """Faults that were armed, and whose moment didn't come."""
    inconsistent: int = 0
    false_outcomes: int = 0
    unclean: int = 0
    """Connections, backends or locks left behind."""
    converged: int = 0
    problems: list[str] = field(default_factory=list[str])
    """The first ones, in words."""
    wrong: int = 0
    """Faults after which anything was wrong."""

    def take(
        self,
        what: str,
        *,
        inconsistent: Sequence[str],
        false: Sequence[str],
        unclean: Sequence[str],
        apart: Sequence[str],
    ) -> None:
        """Count one fault that was injected, with what was found after it, and after the next ingest."""
        self.injected += 1
        self.inconsistent += bool(inconsistent)
        self.false_outcomes += bool(false)
        self.unclean += bool(unclean)
        self.converged += not apart
        found = [*inconsistent, *false, *unclean, *apart]
        self.wrong += bool(found)
        self.problems += [f"{self.title}, {what}: {problem}" for problem in found]

    def miss(self, what: str) -> None:
        """Count one fault whose moment didn't come."""
        self.missed += 1
        self.problems.append(f"{self.title}, {what}: it never came to that")
