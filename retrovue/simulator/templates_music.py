"""The fixed parts of generated artists, albums and tracks."""

from __future__ import annotations

from typing import Any

from retrovue.simulator.templates import Draw, number_slot, text_slot
from retrovue.simulator.templates_video import (
    ADDED,
    DURATION,
    FILE_TAG,
    GRANDPARENT,
    GRANDPARENT_GUID,
    GUID,
    ID,
    INDEX,
    MEDIA_1,
    PARENT,
    PARENT_GUID,
    PARENT_INDEX,
    PART_1,
    SIZE,
    TITLE,
    TOP_TITLE,
    UPDATED,
)
from retrovue.simulator.words import GENRES, STUDIOS


def artist(draw: Draw, root: str) -> dict[str, Any]:
    """Describe an artist, as a section lists it."""
    del root
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}/children"}
    row |= {"guid": f"plex://artist/{text_slot(GUID)}", "type": "artist", "title": text_slot(TITLE)}
    row |= {"summary": draw.summary(2, 5), "index": 1}
    row["thumb"] = f"/library/metadata/{text_slot(ID)}/thumb/{text_slot(UPDATED)}"
    row |= {"addedAt": number_slot(ADDED), "updatedAt": number_slot(UPDATED), "Genre": draw.tags(GENRES, 1, 2)}
    return row


def album(draw: Draw, root: str) -> dict[str, Any]:
    """Describe an album, with its artist beside it."""
    del root
    rng = draw.random
    top = f"/library/metadata/{text_slot(PARENT)}"
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}/children"}
    row |= {"parentRatingKey": text_slot(PARENT), "guid": f"plex://album/{text_slot(GUID)}"}
    row["parentGuid"] = f"plex://artist/{text_slot(PARENT_GUID)}"
    draw.put(row, "studio", 93, rng.choice(STUDIOS))
    row |= {"type": "album", "title": f"Volume {text_slot(INDEX)}"}
    row |= {"parentKey": top, "parentTitle": text_slot(TOP_TITLE), "summary": "", "index": number_slot(INDEX)}
    draw.put(row, "titleSort", 8, f"Volume {text_slot(INDEX)}")
    draw.put(row, "rating", 57, rng.randint(4, 10))
    draw.put(row, "year", 99, rng.randint(1955, 2024))
    row["thumb"] = f"/library/metadata/{text_slot(ID)}/thumb/{text_slot(UPDATED)}"
    draw.put(row, "art", 86, f"{top}/art/{text_slot(UPDATED)}")
    draw.put(row, "parentThumb", 88, f"{top}/thumb/{text_slot(UPDATED)}")
    draw.put(row, "originallyAvailableAt", 99, f"{rng.randint(1955, 2024)}-{rng.randint(1, 12):02}-01")
    row["addedAt"] = number_slot(ADDED)
    draw.put(row, "updatedAt", 95, number_slot(UPDATED))
    cover = {"alt": f"Volume {text_slot(INDEX)}", "type": "coverPoster", "url": row["thumb"]}
    draw.put(row, "Image", 98, [cover])
    draw.put(row, "UltraBlurColors", 93, draw.colors())
    draw.put(row, "Genre", 75, draw.tags(GENRES, 1, 2))
    draw.put(row, "Collection", 9, [{"tag": "Caf\u00e9"}])
    return row


def track(draw: Draw, root: str) -> dict[str, Any]:
    """Describe a track, with its album and its artist beside it."""
    rng = draw.random
    slash = "\\" if draw.rates.windows_paths else "/"
    title = text_slot(TITLE) + draw.accent()
    parent, top = f"/library/metadata/{text_slot(PARENT)}", f"/library/metadata/{text_slot(GRANDPARENT)}"
    codec, rate = rng.choice((("mp3", 320), ("flac", 912), ("aac", 256), ("mp3", 192)))
    ending = "m4a" if codec == "aac" else codec
    folder = slash.join((root, text_slot(TOP_TITLE), f"Volume {text_slot(PARENT_INDEX)}"))
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}"}
    row |= {"parentRatingKey": text_slot(PARENT), "grandparentRatingKey": text_slot(GRANDPARENT)}
    row |= {"guid": f"plex://track/{text_slot(GUID)}", "parentGuid": f"plex://album/{text_slot(PARENT_GUID)}"}
    row["grandparentGuid"] = f"plex://artist/{text_slot(GRANDPARENT_GUID)}"
    draw.put(row, "parentStudio", 25, rng.choice(STUDIOS))
    row |= {"type": "track", "title": title, "grandparentKey": top, "parentKey": parent}
    row |= {"grandparentTitle": text_slot(TOP_TITLE), "parentTitle": f"Volume {text_slot(PARENT_INDEX)}"}
    row |= {"summary": "", "index": number_slot(INDEX), "parentIndex": number_slot(PARENT_INDEX)}
    draw.put(row, "ratingCount", 25, rng.randint(10, 1_600_000))
    draw.put(row, "parentYear", 25, rng.randint(1955, 2024))
    row["thumb"] = f"{parent}/thumb/{text_slot(UPDATED)}"
    draw.put(row, "art", 25, f"{top}/art/{text_slot(UPDATED)}")
    row |= {"parentThumb": row["thumb"], "grandparentThumb": f"{top}/thumb/{text_slot(UPDATED)}"}
    draw.put(row, "grandparentArt", 25, f"{top}/art/{text_slot(UPDATED)}")
    row |= {"duration": number_slot(DURATION), "addedAt": number_slot(ADDED), "updatedAt": number_slot(UPDATED)}
    draw.put(row, "musicAnalysisVersion", 25, "1")
    part: dict[str, Any] = {"id": number_slot(PART_1)}
    part["key"] = f"/library/parts/{text_slot(PART_1)}/{text_slot(ADDED)}/file.{ending}"
    part |= {"duration": number_slot(DURATION), "file": f"{folder}{slash}{text_slot(FILE_TAG)}.{ending}"}
    part |= {"size": number_slot(SIZE), "container": ending}
    version: dict[str, Any] = {"id": number_slot(MEDIA_1), "duration": number_slot(DURATION), "bitrate": rate}
    version |= {"audioChannels": 2, "audioCodec": codec, "container": ending, "Part": [part]}
    row["Media"] = [version]
    draw.put(row, "Guid", 25, [{"id": f"mbid://{text_slot(GUID)}"}])
    draw.put(row, "Mood", 25, [{"tag": "Brisk"}, {"tag": "Wistful"}])
    return row
