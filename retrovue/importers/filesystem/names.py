"""Parse file names: decide whether they belong to films or episodes, and what they tell. Does no I/O."""

from collections.abc import Iterable, Sequence

from retrovue.importers.filesystem.episodes import Description, Name, find_episode, is_disc, is_season
from retrovue.importers.filesystem.exclusions import AUDIO, DISC_FOLDERS, EXTRAS, extension, stem
from retrovue.importers.filesystem.titles import (
    ID,
    PART,
    YEAR,
    as_text,
    cleaned,
    edition_in,
    ids_in,
    may_hold_tags,
    split_at,
    split_year,
    without_tags,
)

KINDS = ("movie", "show", "music", "clip", "mixed")
_NO_TITLES = frozenset({"movie", "film", "video", "main", "feature"})
"""Names of files that tell nothing about the film."""


def read_name(parts: Sequence[str], directories: Sequence[str]) -> Name:
    """Parse the names of a title's parts; ``directories`` lead from the collection's directory to them."""
    return describe(parts, directories).name


def describe(parts: Sequence[str], directories: Sequence[str], kind: str = "mixed") -> Description:
    """Parse the names of a title's parts.

    ``directories`` lead from the collection's directory to them, ``kind`` is that of the collection, one of KINDS. A
    number alone or a date counts as an episode's only in a collection of shows, or in the directory of a season.
    """
    text = stem(parts[0])
    if len(parts) > 1 and (match := PART.match(text)):
        text = match["title"]
    plain, ids = text, dict[str, str]()
    if may_hold_tags(text):
        plain, ids = without_tags(text) or text, ids_in(text)
    if kind != "movie" and (episode := find_episode(plain, parts[0], tuple(directories), kind, ids)) is not None:
        return episode
    match = YEAR.search(plain)
    title, year = split_at(plain, match)
    directory = directories[-1] if directories else None
    if year is None and directory is not None:
        title, year = _of_directory(title, directory)
    if directory is not None and directory != text and (more := ids_in(directory)):
        ids = more | ids
    name = Name(title or cleaned(text) or as_text(parts[0]), None, None, None, year)
    edition = edition_in(text, directory, match if plain == text else YEAR.search(text))
    return Description(name, (), None, ids, edition=edition)


def _of_directory(title: str, directory: str) -> tuple[str, int | None]:
    """Take the year of a film, and its title if the file's name has none, from the name of its directory."""
    if YEAR.search(directory) is None:
        return title, None
    name, year = split_year(without_tags(directory))
    if title.casefold() == name.casefold() or not any(map(str.isalpha, title)) or title.casefold() in _NO_TITLES:
        return name, year
    return title, None


def is_title_directory(name: str, directories: Iterable[str], files: Iterable[str]) -> bool:
    """Return whether a directory is that of one film, show or season, by its name and its content."""
    if is_season(name) or YEAR.search(name) or ID.search(name):
        return True
    if any(is_season(directory) or directory.casefold() in DISC_FOLDERS for directory in directories):
        return True
    title = cleaned(name).casefold()
    return any(cleaned(stem(file)).casefold().startswith(title) for file in files)


def directory_title(directories: Sequence[str]) -> str:
    """Return the title to which the directory belongs; the directory of a disc or a season has no title of its own."""
    named = [name for name in directories if not is_disc(name)]
    titles = [name for name in named if not is_season(name)] or named or directories
    return split_year(ID.sub("", titles[-1]))[0] if titles else ""


def kind_of(name: str) -> str:
    """Return the kind that a collection's name suggests, one of KINDS; ``mixed`` if it suggests none."""
    return _KINDS.get(name.casefold(), "mixed")


_KINDS = {
    **dict.fromkeys(("movies", "films", "film"), "movie"),
    **dict.fromkeys(("tv", "tv shows", "shows", "series"), "show"),
    **dict.fromkeys(("music", "audio"), "music"),
    **dict.fromkeys(("clips", "promos", "bumpers", "idents", "commercials", "home videos", *EXTRAS), "clip"),
}


def asset_type(kind: str, name: str, parsed: Name, *, is_episode: bool = True) -> str:
    """Return the type of the asset that a file of a collection becomes; ``kind`` is the collection's."""
    return "track" if extension(name) in AUDIO else video_type(kind, parsed, is_episode=is_episode)


def video_type(kind: str, parsed: Name, *, is_episode: bool = True) -> str:
    """Do what `asset_type` does, for a file of video."""
    if is_episode and (parsed.episode is not None or parsed.show_title) and kind in {"show", "mixed"}:
        return "episode"
    return "movie" if kind in {"movie", "mixed"} else "clip"
