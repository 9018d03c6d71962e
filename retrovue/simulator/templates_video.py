"""The fixed parts of generated movies, shows, seasons and episodes, with fields as often as recorded."""

from __future__ import annotations

from typing import Any

from retrovue.simulator.templates import Draw, number_slot, text_slot
from retrovue.simulator.words import (
    CONTENT_RATINGS,
    COUNTRIES,
    GENRES,
    PEOPLE,
    STUDIOS,
    TV_RATINGS,
)

# The values that a row of any kind is filled with, by their place.
ID, TITLE, SLUG, GUID, DURATION, SIZE, ADDED, UPDATED = range(8)
MEDIA_1, MEDIA_2, PART_1, PART_2 = range(8, 12)
PARENT, GRANDPARENT, PARENT_GUID, GRANDPARENT_GUID, TOP_TITLE, TOP_SLUG = range(12, 18)
INDEX, PARENT_INDEX, LEAVES, CHILDREN, FILE_TAG = range(18, 23)
# A movie has nothing above it, so these places hold the lengths of the two parts that it may be split into.
HALF_1, HALF_2 = PARENT, GRANDPARENT

_CODECS = ("h264", "hevc", "h264", "mpeg4", "vp9")
_AUDIO = (("aac", 2, "lc"), ("ac3", 6, None), ("eac3", 6, None), ("dca", 6, "dts"), ("aac", 2, "lc"), ("flac", 2, None))
_SCREENS = ((1920, 1080, "1080", 1.78), (1920, 800, "1080", 2.35), (1280, 720, "720", 1.78), (720, 576, "576", 1.33))
_VIEWED = 1_737_651_191


def movie(draw: Draw, root: str) -> dict[str, Any]:
    """Describe a movie; a few are unmatched, unanalysed, in two versions or in two parts."""
    rates, rng = draw.rates, draw.random
    title = text_slot(TITLE) + draw.accent()
    article = "The " if draw.happens("article", 0.2) else ""
    year = rng.randint(1925, 2024)
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}"}
    media = _versions(draw, _file(draw, root, f"{article}{title} ({year})"), multi_part=rates.multi_part)
    if draw.happens("unmatched", rates.unmatched):
        row |= {"guid": f"local://{text_slot(ID)}", "type": "movie", "title": article + title}
        row |= {"titleSort": title} if article else {}
        row |= {"summary": "", "year": year} | _times() | {"Media": media}
        return row
    # The rest of the library makes up for what unmatched items lack.
    scale = 1 / (1 - min(rates.unmatched, 0.5))

    def put(key: str, percent: float, value: Any) -> None:
        draw.put(row, key, min(percent * scale, 100), value)

    row["guid"] = f"plex://movie/{text_slot(GUID)}"
    put("slug", 95, text_slot(SLUG))
    put("studio", 98, rng.choice(STUDIOS))
    row |= {"type": "movie", "title": article + title}
    row |= {"titleSort": title} if article else {}
    put("originalTitle", 9, "L\u2019" + title)
    put("contentRating", 96, rng.choice(CONTENT_RATINGS))
    row["summary"] = draw.summary(7, 10)
    put("rating", 91, draw.rating())
    put("audienceRating", 96, draw.rating())
    _viewed(draw, row, 16, 11)
    put("viewOffset", 4, 1_200_000)
    put("skipCount", 2, 1)
    row["year"] = year
    put("tagline", 92, draw.summary(1, 1))
    _pictures(draw, row, text_slot(ID), 99)
    row |= _times()
    put("originallyAvailableAt", 99, f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}")
    put("audienceRatingImage", 96, "rottentomatoes://image.rating.upright")
    put("chapterSource", 64, "media")
    put("primaryExtraKey", 12, f"/library/metadata/9{text_slot(ID)}")
    put("ratingImage", 78, "rottentomatoes://image.rating.ripe")
    row["Media"] = media
    put("Image", 95, _images(article + title, text_slot(ID), text_slot(ID)))
    put("UltraBlurColors", 95, draw.colors())
    put("Genre", 98, draw.tags(GENRES, 1, 2))
    put("Country", 98, draw.tags(COUNTRIES, 1, 2))
    put("Collection", 10, [{"tag": "Saturday Matin\u00e9e"}])
    put("Director", 98, draw.tags(PEOPLE, 1, 1))
    put("Writer", 96, draw.tags(PEOPLE, 1, 2))
    put("Role", 97, draw.tags(PEOPLE, 3, 3))
    put("Guid", 90, _guids(movie=True))
    return row


def clip(draw: Draw, root: str) -> dict[str, Any]:
    """Describe a home video: no agent, so little more than the file."""
    rng = draw.random
    title = text_slot(TITLE) + draw.accent()
    year = rng.randint(2001, 2024)
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}"}
    row |= {"guid": f"com.plexapp.agents.none://{text_slot(GUID)}?lang=xn", "type": "movie", "title": title}
    row |= {"subtype": "clip", "summary": "", "year": year}
    _pictures(draw, row, text_slot(ID), 70)
    row |= _times()
    row["originallyAvailableAt"] = f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    row |= {"createdAtAccuracy": "epoch,local", "createdAtTZOffset": "0"}
    row["Media"] = _versions(draw, _file(draw, root, title))
    return row


def show(draw: Draw, root: str) -> dict[str, Any]:
    """Describe a show, as a section lists it."""
    del root
    rng = draw.random
    title = text_slot(TITLE)
    year = rng.randint(1960, 2024)
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}/children"}
    row["guid"] = f"plex://show/{text_slot(GUID)}"
    draw.put(row, "slug", 90, text_slot(SLUG))
    draw.put(row, "studio", 99, rng.choice(STUDIOS))
    row |= {"type": "show", "title": title}
    draw.put(row, "titleSort", 20, title)
    draw.put(row, "contentRating", 97, rng.choice(TV_RATINGS))
    row |= {"summary": draw.summary(3, 7), "index": 1}
    draw.put(row, "rating", 8, draw.rating())
    draw.put(row, "audienceRating", 90, draw.rating())
    _viewed(draw, row, 4, 3)
    draw.put(row, "skipCount", 3, 1)
    draw.put(row, "year", 99, year)
    draw.put(row, "tagline", 57, draw.summary(1, 1))
    _pictures(draw, row, text_slot(ID), 99)
    draw.put(row, "banner", 8, f"/library/metadata/{text_slot(ID)}/banner/{text_slot(UPDATED)}")
    draw.put(row, "theme", 74, f"/library/metadata/{text_slot(ID)}/theme/{text_slot(UPDATED)}")
    row |= {"duration": rng.choice((1_320_000, 1_800_000, 2_700_000, 3_600_000))}
    draw.put(row, "originallyAvailableAt", 99, f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}")
    row |= {"leafCount": number_slot(LEAVES), "viewedLeafCount": 0, "childCount": number_slot(CHILDREN)}
    row |= {"addedAt": number_slot(ADDED), "updatedAt": number_slot(UPDATED)}
    draw.put(row, "audienceRatingImage", 90, "themoviedb://image.rating")
    draw.put(row, "primaryExtraKey", 63, f"/library/metadata/9{text_slot(ID)}")
    draw.put(row, "Image", 98, _images(title, text_slot(ID), text_slot(ID)))
    draw.put(row, "UltraBlurColors", 98, draw.colors())
    draw.put(row, "Genre", 99, draw.tags(GENRES, 1, 2))
    draw.put(row, "Country", 90, draw.tags(COUNTRIES, 1, 1))
    draw.put(row, "Role", 98, draw.tags(PEOPLE, 3, 3))
    row["Guid"] = _guids(movie=False)
    return row


def season(draw: Draw, root: str) -> dict[str, Any]:
    """Describe a season, as a section and a show list it."""
    del root
    top = f"/library/metadata/{text_slot(PARENT)}"
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}/children"}
    row |= {"parentRatingKey": text_slot(PARENT), "guid": f"plex://season/{text_slot(GUID)}"}
    row["parentGuid"] = f"plex://show/{text_slot(PARENT_GUID)}"
    draw.put(row, "parentSlug", 77, text_slot(TOP_SLUG))
    row |= {"parentStudio": draw.random.choice(STUDIOS), "type": "season", "title": f"Season {text_slot(INDEX)}"}
    draw.put(row, "titleSort", 22, f"Season {text_slot(INDEX)}")
    row |= {"parentKey": top, "parentTitle": text_slot(TOP_TITLE), "summary": ""}
    row |= {"index": number_slot(INDEX), "parentIndex": 1}
    draw.put(row, "year", 22, draw.random.randint(1960, 2024))
    draw.put(row, "parentYear", 77, draw.random.randint(1960, 2024))
    row |= {"thumb": f"/library/metadata/{text_slot(ID)}/thumb/{text_slot(UPDATED)}"}
    row |= {"art": f"{top}/art/{text_slot(UPDATED)}", "parentThumb": f"{top}/thumb/{text_slot(UPDATED)}"}
    draw.put(row, "parentTheme", 77, f"{top}/theme/{text_slot(UPDATED)}")
    row |= {"leafCount": number_slot(LEAVES), "viewedLeafCount": 0}
    row |= {"addedAt": number_slot(ADDED), "updatedAt": number_slot(UPDATED)}
    draw.put(row, "Image", 77, _images(f"Season {text_slot(INDEX)}", text_slot(ID), text_slot(PARENT)))
    draw.put(row, "UltraBlurColors", 66, draw.colors())
    draw.put(row, "Guid", 77, [{"id": f"tmdb://{text_slot(ID)}"}, {"id": f"tvdb://{text_slot(ID)}"}])
    return row


def episode(draw: Draw, root: str) -> dict[str, Any]:
    """Describe an episode, with its season and its show beside it."""
    rng = draw.random
    title = text_slot(TITLE) + draw.accent()
    parent, top = f"/library/metadata/{text_slot(PARENT)}", f"/library/metadata/{text_slot(GRANDPARENT)}"
    slash = "\\" if draw.rates.windows_paths else "/"
    folder = f"{text_slot(TOP_TITLE)}{slash}Season {text_slot(PARENT_INDEX)}{slash}"
    row: dict[str, Any] = {"ratingKey": text_slot(ID), "key": f"/library/metadata/{text_slot(ID)}"}
    row |= {"parentRatingKey": text_slot(PARENT), "grandparentRatingKey": text_slot(GRANDPARENT)}
    row |= {"guid": f"plex://episode/{text_slot(GUID)}", "parentGuid": f"plex://season/{text_slot(PARENT_GUID)}"}
    row["grandparentGuid"] = f"plex://show/{text_slot(GRANDPARENT_GUID)}"
    draw.put(row, "grandparentSlug", 93, text_slot(TOP_SLUG))
    row |= {"type": "episode", "title": title}
    draw.put(row, "titleSort", 18, title)
    row |= {"grandparentKey": top, "parentKey": parent, "grandparentTitle": text_slot(TOP_TITLE)}
    row["parentTitle"] = f"Season {text_slot(PARENT_INDEX)}"
    draw.put(row, "originalTitle", 18, "\u00c9pisode: " + title)
    draw.put(row, "contentRating", 95, rng.choice(TV_RATINGS))
    row |= {"summary": draw.summary(2, 5), "index": number_slot(INDEX), "parentIndex": number_slot(PARENT_INDEX)}
    draw.put(row, "rating", 5, rng.randint(30, 95) + 0.5)
    draw.put(row, "audienceRating", 74, draw.rating())
    _viewed(draw, row, 37, 37)
    draw.put(row, "year", 98, rng.randint(1960, 2024))
    row["thumb"] = f"/library/metadata/{text_slot(ID)}/thumb/{text_slot(UPDATED)}"
    row["art"] = f"{top}/art/{text_slot(UPDATED)}"
    draw.put(row, "parentThumb", 94, f"{parent}/thumb/{text_slot(UPDATED)}")
    row |= {"grandparentThumb": f"{top}/thumb/{text_slot(UPDATED)}", "grandparentArt": row["art"]}
    draw.put(row, "grandparentTheme", 78, f"{top}/theme/{text_slot(UPDATED)}")
    row["duration"] = number_slot(DURATION)
    row["originallyAvailableAt"] = f"{rng.randint(1960, 2024)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    row["addedAt"] = number_slot(ADDED)
    draw.put(row, "updatedAt", 90, number_slot(UPDATED))
    draw.put(row, "audienceRatingImage", 74, "themoviedb://image.rating")
    draw.put(row, "chapterSource", 28, "media")
    row["Media"] = _versions(draw, _file(draw, root, folder + f"{text_slot(TOP_TITLE)} - {text_slot(FILE_TAG)}"))
    draw.put(row, "Image", 94, _images(title, text_slot(ID), text_slot(GRANDPARENT)))
    draw.put(row, "UltraBlurColors", 94, draw.colors())
    draw.put(row, "Director", 56, draw.tags(PEOPLE, 1, 1))
    draw.put(row, "Producer", 31, draw.tags(PEOPLE, 1, 2))
    draw.put(row, "Writer", 62, draw.tags(PEOPLE, 1, 2))
    draw.put(row, "Role", 68, draw.tags(PEOPLE, 2, 3))
    draw.put(row, "Guid", 62, _guids(movie=False))
    return row


def _times() -> dict[str, int]:
    return {"duration": number_slot(DURATION), "addedAt": number_slot(ADDED), "updatedAt": number_slot(UPDATED)}


def _viewed(draw: Draw, row: dict[str, Any], seen: float, counted: float) -> None:
    draw.put(row, "lastViewedAt", seen, _VIEWED + draw.random.randint(0, 9_999_999))
    draw.put(row, "viewCount", counted, draw.random.randint(1, 4))


def _pictures(draw: Draw, row: dict[str, Any], owner: str, percent: float) -> None:
    draw.put(row, "thumb", percent, f"/library/metadata/{owner}/thumb/{text_slot(UPDATED)}")
    draw.put(row, "art", percent, f"/library/metadata/{owner}/art/{text_slot(UPDATED)}")


def _images(title: str, own: str, top: str) -> list[dict[str, str]]:
    kinds = (("coverPoster", own, "thumb"), ("background", top, "art"), ("clearLogo", top, "clearLogo"))
    return [
        {"alt": title, "type": kind, "url": f"/library/metadata/{owner}/{name}/{text_slot(UPDATED)}"}
        for kind, owner, name in kinds
    ]


def _guids(*, movie: bool) -> list[dict[str, str]]:
    ids = [f"imdb://tt{text_slot(ID)}", f"tmdb://{text_slot(ID)}"]
    return [{"id": value} for value in (ids if movie else [*ids, f"tvdb://{text_slot(ID)}"])]


def _file(draw: Draw, root: str, name: str) -> str:
    slash = "\\" if draw.rates.windows_paths else "/"
    folder = name.rpartition(slash)[2]
    return root + slash + (name if slash in name else folder + slash + name)


def _versions(draw: Draw, path: str, *, multi_part: float = 0) -> list[dict[str, Any]]:
    versions = [_media(draw, MEDIA_1, PART_1, path, "")]
    if draw.happens("multi-part", multi_part) and "container" in versions[0]:
        halves = [_part(versions[0], PART_1, path + " - pt1"), _part(versions[0], PART_2, path + " - pt2")]
        halves[0]["duration"], halves[1]["duration"] = number_slot(HALF_1), number_slot(HALF_2)
        halves[1]["size"] = 700_000_000 + draw.random.getrandbits(28)
        versions[0]["Part"] = halves
    elif draw.happens("multi-version", draw.rates.multi_version):
        versions.append(_media(draw, MEDIA_2, PART_2, path, " - 4K"))
        versions[1]["Part"][0]["size"] = 9_000_000_000 + draw.random.getrandbits(34)
    return versions


def _media(draw: Draw, media: int, part: int, path: str, suffix: str) -> dict[str, Any]:
    rng = draw.random
    width, height, resolution, ratio = (3840, 2160, "4k", 1.78) if suffix else rng.choice(_SCREENS)
    audio, channels, profile = rng.choice(_AUDIO)
    container = "mp4" if draw.happens("mp4", 0.08) else "mkv"
    version: dict[str, Any] = {"id": number_slot(media)}
    if draw.happens("unanalysed", draw.rates.unanalysed):
        version["Part"] = [{"id": number_slot(part), "key": f"/library/parts/{text_slot(part)}/0/file.{container}"}]
        version["Part"][0] |= {"file": f"{path}{suffix}.{container}", "size": number_slot(SIZE)}
        return version
    version |= {"duration": number_slot(DURATION), "bitrate": rng.randint(900, 18_000)}
    version |= {"width": width, "height": height, "aspectRatio": ratio}
    draw.put(version, "audioChannels", 95, channels)
    version |= {"audioCodec": audio, "videoCodec": rng.choice(_CODECS), "videoResolution": resolution}
    version["container"] = container
    draw.put(version, "videoFrameRate", 94, rng.choice(("24p", "PAL", "NTSC", "60p")))
    if container == "mp4":
        version |= {"optimizedForStreaming": rng.choice((0, 1)), "has64bitOffsets": False}
    if profile:
        version["audioProfile"] = profile
    draw.put(version, "videoProfile", 94, rng.choice(("main", "high", "main 10")))
    draw.put(version, "hasVoiceActivity", 91, rng.choice((True, False)))
    version["Part"] = [_part(version, part, path + suffix)]
    draw.put(version["Part"][0], "indexes", 76, "sd")
    draw.put(version["Part"][0], "hasThumbnail", 7, "1")
    return version


def _part(version: dict[str, Any], part_id: int, path: str) -> dict[str, Any]:
    container = version["container"]
    part: dict[str, Any] = {"id": number_slot(part_id)}
    part["key"] = f"/library/parts/{text_slot(part_id)}/{text_slot(ADDED)}/file.{container}"
    part |= {"duration": number_slot(DURATION), "file": f"{path}.{container}", "size": number_slot(SIZE)}
    part["container"] = container
    for key in ("audioProfile", "videoProfile", "has64bitOffsets"):
        if key in version:
            part[key] = version[key]
    if version.get("optimizedForStreaming"):
        part["optimizedForStreaming"] = True
    return part
