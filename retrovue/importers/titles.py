"""Find the title that an operator gives, also with what distinguishes it from others, and make the errors."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from unicodedata import normalize

from msgspec import Struct

from retrovue.core.errors import RequestError, ScopeNotFound
from retrovue.core.model import Collection
from retrovue.core.runs import Scope
from retrovue.core.text import item_key, quoted

_REMARK = re.compile(r"(?P<title>.+?) *(?:\((?P<round>[^()]+(?:\([^()]*\)[^()]*)*)\)|\[(?P<square>[^\[\]]+)\])")
_TAG = re.compile(r" *\{edition-(?P<edition>[^{}]+)\}", re.IGNORECASE)
_YEAR = re.compile(r"[0-9]{4}")
_KEY = re.compile(r"key (.+)")
_NO_YEAR = "no year"


class Reading(NamedTuple):
    """One way to read the title that an operator typed."""

    title: str
    year: int | None = None
    edition: str | None = None
    key: str | None = None
    """The source's id of the show or item. It decides alone."""


def readings(text: str) -> list[Reading]:
    """Return the ways to read a title, the likeliest first: as a title; as a title with a distinction; as a key.

    These are ``Title (2005)``, ``Title [Director's Cut]``, ``Title {edition-Director's Cut}`` and ``Title (2005,
    Director's Cut, key 123)``, as messages and tables print it, ``123`` alone, and the URI of an item.
    """
    found = [Reading(text)]
    remarks: list[str] = []
    title = text
    if match := _TAG.search(title):
        remarks.append(match["edition"])
        title = title[: match.start()] + title[match.end() :]
    while match := _REMARK.fullmatch(title):
        title = match["title"]
        remarks[:0] = [match["square"]] if match["square"] else _parts(match["round"])
        found.append(_read(title, remarks))
    if remarks and len(found) == 1:
        found.append(_read(title, remarks))
    if match := _KEY.fullmatch(text):
        found.append(Reading(text, key=match[1]))
    return [*found, Reading(text, key=item_key(text))]


def _parts(remark: str) -> list[str]:
    # A key may be any text, and comes last.
    before, separator, key = remark.rpartition("key ")
    if separator and (not before or before.endswith(", ")):
        return [*filter(None, before.split(", ")), separator + key]
    return remark.split(", ")


def _read(title: str, remarks: Sequence[str]) -> Reading:
    year = edition = key = None
    for remark in remarks:
        if _YEAR.fullmatch(remark):
            year = int(remark)
        elif match := _KEY.fullmatch(remark):
            key = match[1]
        elif remark != _NO_YEAR:
            edition = remark
    return Reading(title, year, edition, key)


def folded(title: str) -> str:
    """Return a title in a form for comparisons: case, blanks, apostrophes and Unicode forms make no difference."""
    text = " ".join(title.split()).casefold()
    return text if text.isascii() else normalize("NFC", normalize("NFC", text).casefold()).replace("\u2019", "'")


def spellings(title: str) -> list[str]:
    """Return a title in both Unicode forms and with both apostrophes, for a server that compares bytes."""
    apostrophes = (title, title.replace("'", "\u2019"), title.replace("\u2019", "'"))
    forms = (form for text in apostrophes for form in (text, normalize("NFC", text), normalize("NFD", text)))
    return list(dict.fromkeys(forms))


def has_title(reading: Reading) -> Callable[[Any], bool]:
    """Make a test for rows with exactly this title, and with the year and edition if given."""
    title, edition = folded(reading.title), None if reading.edition is None else folded(reading.edition)

    def test(row: Any) -> bool:
        return (
            row.title is not None
            and folded(row.title) == title
            and (reading.year is None or row.year == reading.year)
            and (edition is None or folded(getattr(row, "edition_title", None) or "") == edition)
        )

    return test


class Candidate(Struct, frozen=True):
    """A show or film with the requested title."""

    key: int | str
    title: str
    year: int | None
    edition: str | None = None

    def __str__(self) -> str:
        """Return the title in the form that an operator can type."""
        remarks = [_NO_YEAR if self.year is None else str(self.year), *filter(None, [self.edition]), f"key {self.key}"]
        return f"{self.title} ({', '.join(remarks)})"


CandidateT = TypeVar("CandidateT", bound=Candidate)


def candidate(key: int | str, row: Any) -> Candidate:
    """Make a candidate of a row that has a title and a year."""
    return Candidate(key, row.title or "", row.year, getattr(row, "edition_title", None) or None)


def the_only(candidates: Sequence[CandidateT], collection: Collection, scope: Scope, what: str) -> CandidateT:
    """Return the only candidate of ``what`` (shows, films); raises RequestError if there are several."""
    if len(candidates) == 1:
        return candidates[0]
    years = Counter(candidate.year for candidate in candidates)
    dated = next(
        (candidate for candidate in candidates if candidate.year is not None and years[candidate.year] == 1), None
    )
    hint = f'Type it as it stands here, as in --title "{candidates[0]}"'
    if dated is not None:
        hint = f'{hint}, or with the year, as in --title "{dated.title} ({dated.year})"'
    raise RequestError(
        f"Several {what} in {collection.display_name} are called {quoted(scope.title)}:"
        f" {'; '.join(map(str, candidates))}.",
        code="ambiguous_title",
        hint=f"{hint}.",
        context={
            "candidates": [
                {"key": candidate.key, "title": candidate.title, "year": candidate.year, "edition": candidate.edition}
                for candidate in candidates
            ]
        },
    )


def not_found(collection: Collection, scope: Scope, part: str, *, server: str, seasons: bool) -> ScopeNotFound:
    """Make the error for a scope whose ``part`` doesn't exist: ``title``, ``season`` or ``episode``.

    ``seasons`` says whether libraries of this kind have seasons.
    """
    title = quoted(scope.title)
    text = {
        "title": f"There is no title {title} in {collection.display_name}.",
        "season": f"{title} has no season {scope.season} in {collection.display_name}.",
        "episode": f"Season {scope.season} of {title} has no episode {scope.episode} in {collection.display_name}.",
    }[part]
    hint = {
        "title": f"Look the title up in {server}: it has to be written in full.",
        "season": f"Look in {server} which seasons it has.",
        "episode": f"Look in {server} which episodes the season has.",
    }[part]
    if part == "season" and not seasons:
        text = f"{collection.display_name} is a library of kind {quoted(collection.kind)}: its titles have no seasons."
        hint = "Ask for the title alone, without a season."
    return ScopeNotFound(
        text,
        hint=hint,
        context={"missing": part, "title": scope.title, "season": scope.season, "episode": scope.episode},
    )
