"""Rows of a generated library: the fixed part drawn once, the numbers filled in for each item."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from random import Random
from typing import Any

import orjson

from retrovue.simulator.views import View
from retrovue.simulator.words import ACCENTS, SENTENCES

# A slot inside a string is a private-use character, a slot that is a number is a number no library holds.
_FIRST_CHARACTER = 0xE000
_FIRST_NUMBER = 8_888_888_000_000
_SLOT = re.compile(rb"\xee\x80([\x80-\xbf])|8888888000(\d{3})")

VARIANTS = 512
"""How many different fixed parts a kind of row has; item i takes one of them by its hash."""


def text_slot(number: int) -> str:
    """Return the mark, in a string of a template, of value `number`."""
    return chr(_FIRST_CHARACTER + number)


def number_slot(number: int) -> int:
    """Return the mark, in place of a number, of value `number`."""
    return _FIRST_NUMBER + number


@dataclass(frozen=True, slots=True)
class Rates:
    """How often the uncommon happens in a generated library; 0 turns it off."""

    multi_version: float = 0.03
    """Share of movies and episodes that have a second Media."""
    multi_part: float = 0.01
    """Share of movies whose Media has two Parts."""
    shared_files: float = 0.01
    """Share of pairs of neighbouring episodes that are one file."""
    unmatched: float = 0.02
    """Share of movies that no agent has recognised: a local guid and few fields."""
    unanalysed: float = 0.01
    """Share of items whose file is not yet analysed: Media without codecs or container."""
    missing_fields: bool = True
    """Whether fields are missing as often as in recorded libraries; if not, the usual ones are always there."""
    non_ascii: float = 0.06
    """Share of items with a title and a path beyond ASCII."""
    windows_paths: bool = False
    """Whether files are on a drive with backslashes."""


class Draw:
    """What one variant of a template has, with every rate met as exactly as the number of variants allows."""

    def __init__(self, seed: str, variant: int, rates: Rates, decks: dict[tuple[str, str], list[int]]) -> None:
        self.rates = rates
        self.random = Random(f"{seed}/{variant}")  # noqa: S311 - a library, not a secret
        self._seed = seed
        self._variant = variant
        self._decks = decks

    def happens(self, name: str, rate: float) -> bool:
        """Whether the thing of this name, which happens at this rate, happens in this variant."""
        deck = self._decks.get((self._seed, name))
        if deck is None:
            deck = list(range(VARIANTS))
            Random(f"{self._seed}/{name}").shuffle(deck)  # noqa: S311 - a library, not a secret
            self._decks[self._seed, name] = deck
        return deck[self._variant] < round(rate * VARIANTS)

    def present(self, key: str, percent: float) -> bool:
        """Whether the field is there, at its recorded presence rate."""
        if not self.rates.missing_fields and percent >= 50:
            return True
        return self.happens(key, percent / 100)

    def put(self, row: dict[str, Any], key: str, percent: float, value: Any) -> None:
        """Give the row a field at its recorded presence rate."""
        if self.present(key, percent):
            row[key] = value

    def accent(self) -> str:
        """Return an ending beyond ASCII for a title, mostly none."""
        return self.random.choice(ACCENTS) if self.happens("accent", self.rates.non_ascii) else ""

    def summary(self, least: int, most: int) -> str:
        """Return a few sentences."""
        return " ".join(self.random.sample(SENTENCES, self.random.randint(least, most)))

    def tags(self, words: Sequence[str], least: int, most: int) -> list[dict[str, str]]:
        """Return some of the words, as Plex lists tags."""
        return [{"tag": word} for word in self.random.sample(list(words), self.random.randint(least, most))]

    def rating(self) -> float | int:
        """Return a rating as JSON holds it: a whole one is an integer."""
        tenths = self.random.randint(30, 95)
        return tenths // 10 if tenths % 10 == 0 else tenths / 10

    def colors(self) -> dict[str, str]:
        """Return the four corners of a backdrop."""
        return {
            corner: f"{self.random.getrandbits(24):06x}"
            for corner in ("topLeft", "topRight", "bottomRight", "bottomLeft")
        }


class Template:
    """One fixed part, ready to be filled with values that are already bytes."""

    __slots__ = ("_format", "_pick")

    def __init__(self, row: dict[str, Any]) -> None:
        slots: list[int] = []

        def mark(found: re.Match[bytes]) -> bytes:
            slots.append(found[1][0] - 0x80 if found[1] else int(found[2]))
            return b"%b"

        self._format = _SLOT.sub(mark, orjson.dumps(row).replace(b"%", b"%%"))
        self._pick: Callable[[Sequence[bytes]], tuple[bytes, ...]] = itemgetter(*slots)

    def fill(self, values: Sequence[bytes]) -> bytes:
        """Return the row as JSON."""
        return self._format % self._pick(values)


class Templates(dict[int, Template]):
    """The variants of one kind of row as listings of one view show them, each made when it is first needed."""

    def __init__(self, seed: str, rates: Rates, make: Callable[[Draw], dict[str, Any]], view: View) -> None:
        super().__init__()
        self._seed = seed
        self._rates = rates
        self._make = make
        self._view = view
        self._decks: dict[tuple[str, str], list[int]] = {}

    def __missing__(self, variant: int) -> Template:
        row = self._make(Draw(self._seed, variant, self._rates, self._decks))
        self[variant] = Template({key: value for key, value in row.items() if self._view.shows(key)})
        return self[variant]


class Shuffle:
    """A fixed disorder of n things that can be read both ways without a table."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = max(count, 1)
        self._factor = _coprime(self._count, seed)
        self._offset = (seed * 7919 + 13) % self._count
        self._inverse = pow(self._factor, -1, self._count) if self._count > 1 else 0

    def place(self, index: int) -> int:
        """Where thing `index` comes."""
        return (index * self._factor + self._offset) % self._count

    def index(self, place: int) -> int:
        """Which thing comes at this place."""
        return ((place - self._offset) * self._inverse) % self._count


def scramble(seed: int, number: int) -> int:
    """64 well-mixed bits of a seed and a number."""
    mixed = (number * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    return mixed ^ (mixed >> 31)


def _coprime(count: int, seed: int) -> int:
    candidate = int(count * 0.618) + seed % 97 + 1
    while _common_divisor(candidate, count) != 1:
        candidate += 1
    return candidate


def _common_divisor(one: int, other: int) -> int:
    while other:
        one, other = other, one % other
    return one
