"""Decide which files and directories aren't titles: system files, snapshots, extras, samples, discs. Does no I/O.

Jellyfin's ignored directories and extras are in its ``Emby.Server.Implementations/Library/IgnorePatterns.cs`` and
``Emby.Naming/Common/NamingOptions.cs``, Plex's in "How to Ignore Files or Folders". The names of snapshots, recycle
bins and unfinished files are those of Synology, QNAP, ZFS, SABnzbd, Tdarr and Plex's recorder.
"""

import re

VIDEO = frozenset(
    {
        "3g2", "3gp", "amv", "asf", "avi", "divx", "dv", "dvr-ms", "f4v", "flv", "m2t", "m2ts", "m2v", "m4v", "mk3d",
        "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "nsv", "nut", "nuv", "ogm", "ogv", "qt", "rec", "rm",
        "rmvb", "tp", "ts", "vob", "webm", "wmv", "wtv", "xvid",
    }
)  # fmt: skip
AUDIO = frozenset(
    {
        "aac", "ac3", "aif", "aiff", "alac", "ape", "dsf", "dts", "flac", "m4a", "m4b", "mka", "mp2", "mp3", "mpc",
        "oga", "ogg", "opus", "ra", "tta", "wav", "wma", "wv",
    }
)  # fmt: skip
MEDIA = VIDEO | AUDIO
DISC_IMAGES = frozenset({"iso", "img", "nrg", "mdf", "cdi", "dmg"})
DISC_FOLDERS = frozenset({"bdmv", "video_ts", "hvdvd_ts", "mpegav"})
"""Directories of a Blu-ray, a DVD, an HD DVD and a Video CD."""
EXTRAS = frozenset(
    {
        "trailers", "backdrops", "theme-music", "interviews", "scenes", "samples", "sample", "shorts", "featurettes",
        "extras", "other", "clips", "behind the scenes", "deleted scenes", "bonus", "bonus disc",
    }
)  # fmt: skip
"""Names of directories that hold a title's extras."""
EXTRAS_DEPTH = 2
"""The levels below its collection from which a directory may hold extras; higher up it is a genre or similar."""
_AMBIGUOUS = frozenset({"scenes", "shorts", "extras", "other", "clips", "bonus", "interviews"})
"""The names among them that a genre or a show may also have: they count only in the directory of a title."""
_SNAPSHOTS = frozenset(
    {
        "#snapshot", ".snapshot", ".snapshots", "~snapshot", "@snapshot", "@snapshots", "@recently-snapshot", ".zfs",
        "snapraid.content",
    }
)  # fmt: skip
_RECYCLE_BINS = frozenset(
    {
        "#recycle", "@recycle", "$recycle.bin", "recycler", "recycled", ".recycle", ".recycle.bin", ".recyclebin",
        "@recycle_bin", "network trash folder",
    }
)  # fmt: skip
_SYSTEM = frozenset(
    {
        "metadata", "ps3_update", "ps3_vprm", "extrafanart", "extrathumbs", "lost+found", "temprec", "tempsbe", "eadir",
        "@eadir", "@__thumb", "@tmp", "@transcode", "@sharebin", "@appstore", "system volume information",
        "plex versions",
    }
)  # fmt: skip
_UNFINISHED = re.compile(
    r"^_(?:UNPACK|FAILED)_|^__ADMIN__|^[._]?incomplete$|-TdarrCacheFile-|^tdarr-workdir|\.grab$"
    r"|\.(?:part|partial|temp|tmp|incomplete)\.[a-z0-9]{2,5}$",
    re.IGNORECASE,
)
_UNFINISHED_STARTS = ("_", "incomplete", ".incomplete", "tdarr-workdir")
_UNFINISHED_ENDS = (".grab", ".grab\n")
"""The beginnings and ends of the names that the pattern matches, except for matches in the middle."""
_UNFINISHED_FILES = frozenset(
    {
        "part", "partial", "filepart", "!qb", "!ut", "crdownload", "opdownload", "download", "aria2", "tmp", "temp",
        "bts", "incomplete", "unfinished", "dctmp", "xltd",
    }
)  # fmt: skip
"""Extensions that programs put behind the name of a file that they are still writing."""
_PACKED = frozenset({"rar", "zip", "7z", "bin"})
"""Extensions of archives and of raw images of discs, in which there may be titles."""
_FURTHER_VOLUME = re.compile(r"\.part0*(?:[2-9]|[1-9][0-9]+)\.rar$", re.IGNORECASE)
_EXTRA = re.compile(
    r"(?P<sample>^samples?$|^sample[._-]|[ ._-]sample$)|^(?:trailer|theme)$|[ ._-]trailer$"
    r"|-(?:scene|clip|interview|behindthescenes|deleted|deletedscene|featurette|short|extra|other)$",
    re.IGNORECASE,
)
_EXTRA_ENDS = (
    "sample", "samples", "trailer", "theme", "-scene", "-clip", "-interview", "-behindthescenes", "-deleted",
    "-deletedscene", "-featurette", "-short", "-extra", "-other", "\n",
)  # fmt: skip
"""The ends of the names that the pattern matches, except for names that begin with "sample"."""
_ODD_STARTS = (".", "_", "incomplete", "tdarr-workdir", "sample", "vts_", "video_ts")
_ODD_ENDS = (*_EXTRA_ENDS, ".part", ".partial", ".temp", ".tmp", ".incomplete")
"""The beginnings and ends of names of media files, without their extensions, that a rule may apply to."""
_ODD_DIRECTORY_STARTS = (".", *_UNFINISHED_STARTS)
_ODD_DIRECTORIES = _SNAPSHOTS | _RECYCLE_BINS | _SYSTEM | DISC_FOLDERS | EXTRAS
_DISC_FILE = re.compile(r"^(?:video_ts|vts_[0-9]{2}_[0-9])\.(?:vob|ifo|bup)$", re.IGNORECASE)


def extension(name: str) -> str:
    """Return the extension in lower case, without its dot."""
    before, _, after = name.rpartition(".")
    return after.lower() if before.strip(".") else ""


def stem(name: str) -> str:
    """Return the name without its extension."""
    before, _, _ = name.rpartition(".")
    return before if before.strip(".") else name


def is_media(name: str) -> bool:
    """Return whether the extension is one of video or sound; disc images aren't."""
    return extension(name) in MEDIA


def is_audio(name: str) -> bool:
    """Return whether the extension is one of sound only."""
    return extension(name) in AUDIO


def is_disc_file(name: str) -> bool:
    """Return whether a file is part of a DVD's file system, such as VTS_01_1.VOB."""
    return _DISC_FILE.match(name) is not None


def may_be_part(folded: str) -> bool:
    """Return whether a folded name may be that of a part of a title; few names may."""
    return "cd" in folded or "pt" in folded or "part" in folded or "dvd" in folded or "dis" in folded


def is_usual(name: str) -> bool:
    """Return whether the name is that of a media file that no rule about names can apply to.

    Such a file is neither a sample or another extra, nor unfinished, hidden, part of a disc, or a part of a title.
    """
    before, _, format_ = name.rpartition(".")
    if format_ not in MEDIA or not before or not name.isascii():
        return False
    folded = before.lower()
    if folded.startswith(_ODD_STARTS) or folded.endswith(_ODD_ENDS) or "-tdarrcachefile-" in folded:
        return False
    return not may_be_part(folded)


def is_usual_directory(name: str) -> bool:
    """Return whether no rule about names can apply to a directory."""
    folded = name.lower()
    odd = folded in _ODD_DIRECTORIES or folded.startswith(_ODD_DIRECTORY_STARTS) or not name.isascii()
    return not odd and ("." not in folded or not _is_unfinished(name, folded)) and "-tdarr" not in folded


def system_reason(name: str, *, directory: bool) -> str | None:
    """Return why an entry is left out in any directory, as a word; None if it isn't.

    Of files only those are told that would be media otherwise, or may hold media.
    """
    if not directory:
        return file_reason(name, extension(name))
    folded = name.casefold()
    if folded in _SNAPSHOTS:
        return "snapshot"
    if folded in _RECYCLE_BINS or folded.startswith(".trash"):
        return "recycle_bin"
    if _is_unfinished(name, folded):
        return "unfinished"
    return "hidden" if name.startswith(".") else "system" if folded in _SYSTEM else None


def file_reason(name: str, format_: str) -> str | None:
    """Do what `system_reason` does, for a file. ``format_`` is its extension."""
    hidden = name.startswith(".")
    if format_ in MEDIA:
        return "unfinished" if _UNFINISHED.search(name) else "hidden" if hidden else None
    if format_ in _PACKED:
        return None if hidden or _FURTHER_VOLUME.search(name) else "packed"
    return "unfinished" if format_ in _UNFINISHED_FILES and is_media(stem(name)) and not hidden else None


def _is_unfinished(name: str, folded: str) -> bool:
    # Most names are ruled out by string searches, which take a tenth of the pattern's time.
    if name.isascii() and not folded.startswith(_UNFINISHED_STARTS) and not folded.endswith(_UNFINISHED_ENDS):
        begins = ".part" in folded or ".t" in folded or ".incomplete" in folded
        if not begins and "-tdarrcachefile-" not in folded:
            return False
    return _UNFINISHED.search(name) is not None


def is_ignored(name: str) -> bool:
    """Return whether a file or directory is hidden, or belongs to the system."""
    return name.startswith(".") or system_reason(name, directory=True) is not None


def extra_reason(name: str) -> str | None:
    """Return ``sample`` or ``extra`` for a media file whose name says so; None for a title."""
    text = stem(name)
    folded = text.casefold()
    # Ruled out as above.
    if text.isascii() and not folded.endswith(_EXTRA_ENDS) and not folded.startswith("sample"):
        return None
    match = _EXTRA.search(text)
    return None if match is None else "sample" if match["sample"] else "extra"


def is_extra(name: str) -> bool:
    """Return whether the name marks a file as a trailer, a sample or another extra of a title."""
    return extra_reason(name) is not None


def extra_directory_reason(name: str, depth: int, *, of_title: bool) -> str | None:
    """Return ``sample`` or ``extra`` for a directory of a title's extras; None for others.

    ``depth`` is its level below its collection, ``of_title`` whether it is in the directory of one film or show.
    """
    folded = name.casefold()
    if folded in {"sample", "samples"}:
        return "sample"
    if folded not in EXTRAS or depth < EXTRAS_DEPTH or (folded in _AMBIGUOUS and not of_title):
        return None
    return "extra"


def is_disc_folder(name: str) -> bool:
    """Return whether a directory is the file system of a disc, such as VIDEO_TS."""
    return name.casefold() in DISC_FOLDERS
