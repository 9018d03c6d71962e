"""Parse the names of tracks: artist, album, disc and number. Does no I/O.

A track is in the directory of its album, which is in that of the album's artist, as in Plex's "Adding Music Media From
Folders" and Jellyfin's "Music". Discs may have their own directories.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from retrovue.importers.filesystem.exclusions import stem
from retrovue.importers.filesystem.titles import cleaned, split_year

_DISC = re.compile(r"^(?:cd|dis[ck]|disque|vol(?:ume)?)[ ._-]*(?P<number>[0-9]{1,2})(?![0-9])", re.IGNORECASE)
_NUMBER = re.compile(
    r"^(?:(?P<disc>[0-9]{1,2})[-.](?=[0-9]{2}(?![0-9])))?(?P<track>[0-9]{1,3})"
    r"(?:(?P<mark>[ ._]*[-.)_][ ._]*|[ ]+-[ ]+)|(?P<blank> +))(?=[^ ])"
)
_DISC_OF_ALBUM = re.compile(
    r"(?P<album>.*[^ ._-])[ ._-]*(?:[ ._-](?:cd|dis[ck])|[(\[](?:cd|dis[ck]))[ ._-]*(?P<number>[0-9]{1,2})[)\]]?",
    re.IGNORECASE,
)
"""An album whose discs have directories beside each other: ``The Wall CD1``, ``The Wall (Disc 2)``."""
_YEAR_OF_ALBUM = re.compile(r"(?P<year>(?:19|20)[0-9]{2})(?: - |\. )(?P<album>.*[^0-9 ].*)")
_NUMBER_WORD = re.compile(
    r"(?:track|titel|piste|chapter|kapitel)[ ._-]*(?P<track>[0-9]{1,3})(?: - (?P<title>.+))?", re.IGNORECASE
)
_BETWEEN = " - "
_VARIOUS = frozenset({"various artists", "various", "va", "v.a.", "soundtrack", "soundtracks", "compilations"})
"""Names of album artists whose tracks have their own artists."""


class Track(NamedTuple):
    """What the name of a track and the directories above it tell."""

    title: str
    artist: str | None = None
    album_artist: str | None = None
    album: str | None = None
    year: int | None = None
    """The artist of the album."""
    disc: int | None = None
    track: int | None = None
    directory: tuple[str, ...] = ()
    """The directory of the album's artist, relative to that of its collection; empty if it has none."""


def are_numbered(files: Iterable[str]) -> bool:
    """Return whether the names of an album begin with numbers.

    A single "99 Luftballons" doesn't begin with its number.
    """
    numbers = [match["track"] if (match := _NUMBER.match(stem(file))) else None for file in files]
    return len(numbers) > 1 and None not in numbers


def describe(file: str, directories: Sequence[str], *, numbered: bool) -> Track:
    """Parse the name of a track.

    ``directories`` lead from the collection's directory to the file; ``numbered`` means that all names of its album
    begin with numbers.
    """
    placed = _place(directories)
    album, album_artist, disc = placed.album, placed.album_artist, placed.disc
    text, track = stem(file), None
    match = _NUMBER.match(text)
    if match is not None and (match["mark"] or match["disc"] or numbered or match["track"].startswith("0")):
        disc = int(match["disc"]) if match["disc"] else disc
        track, text = int(match["track"]), text[match.end() :]
    elif match := _NUMBER_WORD.fullmatch(text):
        track, text = int(match["track"]), match["title"] or text
    elif album and text.isdecimal() and len(text) < 4:
        track = int(text)
    words = [cleaned(word) for word in text.split(_BETWEEN)]
    artist = album_artist
    # "Artist - 07 - Title" and "Artist - Album - 07 - Title".
    place = next((i for i, word in enumerate(words[:-1]) if i and word.isdecimal() and len(word) < 4), None)
    if track is None and place is not None:
        track, artist = int(words[place]), words[0]
        if place == 2:
            album_artist, album = album_artist or artist, album or words[1]
        words = words[place + 1 :]
    elif len(words) > 1 and _is_artist(words[0], album_artist, of_album=track is not None):
        artist, words = words[0], words[1:]
        if len(words) > 1 and words[0] == album:
            words = words[1:]
    title = _BETWEEN.join(words) or cleaned(stem(file)) or file
    return Track(title, artist, album_artist, album or None, placed.year, disc, track, placed.directory)


def _place(directories: Sequence[str]) -> Track:
    """Read artist, album and disc from the directories above a track."""
    above, disc = list(directories), None
    if above and (match := _DISC.match(above[-1])) and len(above) > 1:
        disc, _ = int(match["number"]), above.pop()
    if not above:
        return Track("", disc=disc)
    album, year, own = _album(above.pop(), of_artist=bool(above))
    album_artist = split_year(above[-1])[0] if above else None
    first, separator, rest = album.partition(_BETWEEN)
    if separator and album_artist in {None, first}:  # "Artist - Album"
        album_artist, album = first, rest
    return Track("", None, album_artist, album, year, disc or own, directory=tuple(above))


def _album(name: str, *, of_artist: bool) -> tuple[str, int | None, int | None]:
    """Read title, year and disc from the name of an album's directory.

    ``of_artist``: it is in an artist's directory.
    """
    match = _DISC_OF_ALBUM.fullmatch(name)
    album, year = split_year(match["album"] if match else name)
    if match is None and (match := _DISC_OF_ALBUM.fullmatch(album)):
        album = match["album"]
    disc = int(match["number"]) if match else None
    if year is None and of_artist and (match := _YEAR_OF_ALBUM.fullmatch(album)):
        album, year = match["album"], int(match["year"])
    return album, year, disc


def _is_artist(word: str, album_artist: str | None, *, of_album: bool) -> bool:
    """Return whether the first part of a name is that of an artist, and not of a title like "Echoes - Part 2"."""
    if album_artist is None:
        return of_album and bool(word)
    return word == album_artist or album_artist.casefold() in _VARIOUS
