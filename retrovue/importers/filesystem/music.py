"""Read the names of tracks: artist, album, disc and number. Pure.

A track lies in the directory of its album, which lies in that of the album's artist, as Plex's "Adding Music Media From
Folders" and Jellyfin's "Music" want it. Discs may have directories of their own.
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
_BETWEEN = " - "
_VARIOUS = frozenset({"various artists", "various", "va", "v.a.", "soundtrack", "soundtracks", "compilations"})
"""Artists of albums whose tracks have artists of their own."""


class Track(NamedTuple):
    """What the name of a track and the directories above it say."""

    title: str
    artist: str | None = None
    album_artist: str | None = None
    album: str | None = None
    year: int | None = None
    """Of the album."""
    disc: int | None = None
    track: int | None = None
    directory: tuple[str, ...] = ()
    """The directory of the album's artist, from its collection's; empty if it has none."""


def are_numbered(files: Iterable[str]) -> bool:
    """Return whether the names of an album begin with numbers: "99 Luftballons" alone doesn't begin with a track's."""
    numbers = [match["track"] if (match := _NUMBER.match(stem(file))) else None for file in files]
    return len(numbers) > 1 and None not in numbers


def describe(file: str, directories: Sequence[str], *, numbered: bool) -> Track:
    """Read the name of a track.

    ``directories`` lead from the collection's own down to it; ``numbered`` says that all names of its album begin with
    numbers.
    """
    above, disc = list(directories), None
    if above and (match := _DISC.match(above[-1])) and len(above) > 1:
        disc, _ = int(match["number"]), above.pop()
    album = album_artist = year = None
    directory: tuple[str, ...] = ()
    if above:
        album, year = split_year(above.pop())
        directory, album_artist = tuple(above), split_year(above[-1])[0] if above else None
        first, separator, rest = album.partition(_BETWEEN)
        if separator and album_artist in {None, first}:  # "Artist - Album"
            album_artist, album = first, rest
    text, track = stem(file), None
    match = _NUMBER.match(text)
    if match is not None and (match["mark"] or match["disc"] or numbered or match["track"].startswith("0")):
        disc = int(match["disc"]) if match["disc"] else disc
        track, text = int(match["track"]), text[match.end() :]
    elif above or album:
        track = int(text) if text.isdecimal() and len(text) < 4 else None
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
    return Track(title, artist, album_artist, album or None, year, disc, track, directory)


def _is_artist(word: str, album_artist: str | None, *, of_album: bool) -> bool:
    """Return whether the first part of a name is an artist's, and not that of a title like "Echoes - Part 2"."""
    if album_artist is None:
        return of_album and bool(word)
    return word == album_artist or album_artist.casefold() in _VARIOUS
