"""Ids of Plex: rating keys counted in little memory, and guids read as ids of other catalogues."""

from collections.abc import Iterable

RATING_KEY_DIGITS = 18
"""A rating key is a row id of the server's database; 18 digits always fit into 64 bits."""

_LEGACY_AGENTS = {"imdb": "imdb", "thetvdb": "tvdb", "themoviedb": "tmdb"}
_LEGACY_PREFIX = "com.plexapp.agents."


class IdSet:
    """Whole numbers seen so far, in one bit each where they lie close together.

    Rating keys of one library do: a million of them take about a megabyte in runs of 512, and at the worst,
    with every id alone in its run, some 200 bytes each.
    """

    def __init__(self) -> None:
        self._runs: dict[int, int] = {}
        self._count = 0

    def add(self, number: int) -> bool:
        """Take a number in, and say whether it is new."""
        run, bit = number >> 9, 1 << (number & 511)
        seen = self._runs.get(run, 0)
        if seen & bit:
            return False
        self._runs[run] = seen | bit
        self._count += 1
        return True

    def __len__(self) -> int:
        return self._count


class RatingKeySet:
    """The keys of rows seen so far: rating keys, and hashes of the rows without one, which are rejected and rare."""

    def __init__(self) -> None:
        self._numbers = IdSet()
        self._hashes: set[str] = set()

    def add(self, key: int | str) -> bool:
        """Take a key in, and say whether it is new."""
        if isinstance(key, int):
            return self._numbers.add(key)
        if key in self._hashes:
            return False
        self._hashes.add(key)
        return True

    def __len__(self) -> int:
        return len(self._numbers) + len(self._hashes)


def rating_key_number(value: object) -> int | None:
    """Read a rating key as the whole number that it is; None for anything else.

    Items carry it as a string and some containers as a number (recorded answers show both).
    """
    if type(value) is int:
        return value if 0 <= value < 10**RATING_KEY_DIGITS else None
    if type(value) is not str or not value.isdigit() or not value.isascii() or len(value) > RATING_KEY_DIGITS:
        return None
    # A leading zero would make two spellings of one id.
    return int(value) if value[0] != "0" or value == "0" else None


def provider_ids(guid: str | None, others: Iterable[str]) -> dict[str, str]:
    """Read an item's own guid and its ``Guid`` list as ids by provider: imdb, tmdb, tvdb, mbid, plex, ….

    A legacy agent's guid counts where it names one item: ``thetvdb://80379/1/2`` is the id of the *show* with
    a season and an episode behind it, so it is left out. ``local://`` and ``none://`` name no provider.
    """
    found: dict[str, str] = {}
    for text in others:
        provider, separator, identifier = text.partition("://")
        if separator and identifier and provider:
            found[provider] = identifier
    if guid is None:
        return found
    if guid.startswith("plex://"):
        # plex://movie/5d776… : the kind is known already.
        identifier = guid.rpartition("/")[2]
        if identifier:
            found["plex"] = identifier
    elif guid.startswith(_LEGACY_PREFIX):
        agent, _, rest = guid.removeprefix(_LEGACY_PREFIX).partition("://")
        identifier = rest.partition("?")[0]
        provider = _LEGACY_AGENTS.get(agent, "")
        if provider and identifier and "/" not in identifier:
            found.setdefault(provider, identifier)
    elif guid.startswith("mbid://") and len(guid) > 7:
        found.setdefault("mbid", guid[7:])
    return found
