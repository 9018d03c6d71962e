"""Generated libraries have the fields, the types and the presence rates of recorded ones."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from retrovue.simulator import GeneratedSection, Sort, View

TABLE = Path(__file__).parents[1] / "data" / "plex" / "field-types.txt"
SAMPLE = 2048
TOLERANCE = 15

KINDS = {
    "movie": ("movie", 1),
    "show": ("show", 2),
    "season": ("show", 3),
    "episode": ("show", 4),
    "artist": ("artist", 8),
    "album": ("artist", 9),
    "track": ("artist", 10),
}

# Recorded rows are a mixture of listings, with and without includeGuids, and of details. We list with includeGuids.
FROM_DETAILS = {"librarySectionID", "librarySectionKey", "librarySectionTitle", "Rating", "Stream"}
EXCEPTIONS = {
    ("show", "Guid"): "few recorded shows were listed with includeGuids; with it, a matched show always has them",
    ("movie", "Guid"): "the same: 82 % of recorded rows, all matched rows where asked for",
    ("Media", "premium"): "only trailers and extras of Plex itself have it, which no section lists",
    ("Media", "protocol"): "the same",
    ("Media", "audioProfile"): "depends on the codecs of the library",
    ("Part", "audioProfile"): "the same",
}
MULTIPLE_TYPES = {("Metadata:movie", "rating"), ("Metadata:show", "rating")}


def presence_table() -> dict[str, dict[str, tuple[set[str], int]]]:
    table: dict[str, dict[str, tuple[set[str], int]]] = {}
    name = ""
    for line in TABLE.read_text().splitlines():
        heading = re.fullmatch(r"-- (?:Metadata:)?(\w+) \d+", line)
        if heading:
            name = heading[1]
        elif name and line.startswith("  "):
            table[name] = {
                key: (set(types.split("/")), int(percent))
                for key, types, percent in re.findall(r"(\w+):([\w/]+):(\d+)%", line)
            }
    return table


def listed(kind: str) -> list[dict[str, Any]]:
    of, item_type = KINDS[kind]
    # Twelve episodes or tracks and more belong to one season.
    section = GeneratedSection(
        "3", "Sample", "movie" if of == "movie" else "show" if of == "show" else "artist", 60_000
    )
    body, _ = section.list_json(item_type, 0, SAMPLE, Sort("id"), View())
    rows: list[dict[str, Any]] = orjson.loads(b"[" + body + b"]")
    return rows


def check(name: str, objects: list[dict[str, Any]], recorded: dict[str, tuple[set[str], int]]) -> Iterator[str]:
    found: Counter[str] = Counter()
    for one in objects:
        for key, value in one.items():
            found[key] += 1
            if key not in recorded:
                yield f"{name}.{key} is not known"
            elif type(value).__name__ not in recorded[key][0]:
                yield f"{name}.{key} is {type(value).__name__}, not {recorded[key][0]}"
    for key, (_, percent) in recorded.items():
        if percent < 5 or key in FROM_DETAILS or (name, key) in EXCEPTIONS:
            continue
        share = 100 * found[key] / len(objects)
        if abs(share - percent) > TOLERANCE:
            yield f"{name}.{key} is in {share:.0f} % of rows, recorded in {percent} %"


def test_the_table_is_read_completely() -> None:
    table = presence_table()
    assert set(KINDS) | {"Media", "Part", "Stream", "Directory"} <= set(table)
    assert table["movie"]["ratingKey"] == ({"str"}, 100)
    assert table["movie"]["audienceRating"] == ({"float", "int"}, 96)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_like_recorded_ones(kind: str) -> None:
    assert sorted(set(check(kind, listed(kind), presence_table()[kind]))) == []


def test_media_and_parts_are_like_recorded_ones() -> None:
    versions = [version for kind in ("movie", "episode") for row in listed(kind) for version in row["Media"]]
    parts = [part for version in versions for part in version["Part"]]
    table = presence_table()
    problems = set(check("Media", versions, table["Media"])) | set(check("Part", parts, table["Part"]))
    assert sorted(problems) == []


def test_tracks_have_known_media() -> None:
    table = presence_table()
    for row in listed("track"):
        for version in row["Media"]:
            assert version.keys() <= table["Media"].keys()
            assert all(part.keys() <= table["Part"].keys() for part in version["Part"])


def test_streams_of_details_have_known_fields_of_known_types() -> None:
    from retrovue.simulator.views import detail_view  # noqa: PLC0415 - only the server calls it

    row = GeneratedSection("3", "Sample", "movie", 50).item("30000001")
    assert row is not None
    streams = detail_view(row, section_number=3, section_title="Sample")["Media"][0]["Part"][0]["Stream"]
    recorded = presence_table()["Stream"]
    assert len(streams) == 2
    for stream in streams:
        for key, value in stream.items():
            assert type(value).__name__ in recorded[key][0], key


def test_section_entries_have_known_fields_of_known_types() -> None:
    recorded = presence_table()["Directory"]
    for key, value in GeneratedSection("3", "Sample", "movie", 5).directory().items():
        assert type(value).__name__ in recorded[key][0], key
