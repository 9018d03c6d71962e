"""What the names of tracks tell."""

import pytest

from retrovue.importers.filesystem.music import Track, are_numbered, describe

VARIOUS = "Various Artists/Hits"


@pytest.mark.parametrize(
    ("path", "track"),
    [
        ("Nena/Nena/99 Luftballons.mp3", Track("99 Luftballons", "Nena", "Nena", "Nena")),
        ("A/B (1999)/07 - One.mp3", Track("One", "A", "A", "B", 1999, None, 7)),
        ("A/B/07_One.mp3", Track("One", "A", "A", "B", None, None, 7)),
        ("A/B/7. One.mp3", Track("One", "A", "A", "B", None, None, 7)),
        ("A/B/Disc 2/07 One.mp3", Track("One", "A", "A", "B", None, 2, 7)),
        ("A/B/07.mp3", Track("07", "A", "A", "B", None, None, 7)),
        ("A/B/07 - Echoes - Part 2.mp3", Track("Echoes - Part 2", "A", "A", "B", None, None, 7)),
        ("A/B/07 - A - B - One.mp3", Track("One", "A", "A", "B", None, None, 7)),
        ("SP/Mellon Collie/1979.flac", Track("1979", "SP", "SP", "Mellon Collie")),
        (f"{VARIOUS}/2-07 One.mp3", Track("One", "Various Artists", "Various Artists", "Hits", None, 2, 7)),
        (f"{VARIOUS}/07 - X - One.mp3", Track("One", "X", "Various Artists", "Hits", None, None, 7)),
        ("Hits/01 X - One.mp3", Track("One", "X", None, "Hits", None, None, 1)),
        ("Prince - 1999 (1982)/One.mp3", Track("One", "Prince", "Prince", "1999", 1982)),
        ("Prince - 1999 - 03 - One.mp3", Track("One", "Prince", "Prince", "1999", None, None, 3)),
        ("X - 03 - One.mp3", Track("One", "X", None, None, None, None, 3)),
        ("X - One.mp3", Track("X - One")),
        ("A/B CD1/07 - One.mp3", Track("One", "A", "A", "B", None, 1, 7)),
        ("A/B (1999) [Disc 2]/07 - One.mp3", Track("One", "A", "A", "B", 1999, 2, 7)),
        ("A/B (Disc 2) (1999)/07 - One.mp3", Track("One", "A", "A", "B", 1999, 2, 7)),
        ("A/1999 - B/07 - One.mp3", Track("One", "A", "A", "B", 1999, None, 7)),
        ("A/1999 - 2001/07 - One.mp3", Track("One", "A", "A", "1999 - 2001", None, None, 7)),
        ("A/B/Track 03.mp3", Track("Track 03", "A", "A", "B", None, None, 3)),
        ("A/B/Track 3 - One.mp3", Track("One", "A", "A", "B", None, None, 3)),
        ("A/Compact Disc 9/One.mp3", Track("One", "A", "A", "Compact", None, 9)),
        ("A/ABCD 1/One.mp3", Track("One", "A", "A", "ABCD 1")),
    ],
)
@pytest.mark.fault(207)
def test_names(path: str, track: Track) -> None:
    *directories, file = path.split("/")
    assert describe(file, directories, numbered=False)._replace(directory=()) == track


def test_a_number_before_a_blank_counts_where_all_tracks_have_one() -> None:
    assert are_numbered(["12 One.mp3", "13 Two.mp3"])
    assert not are_numbered(["99 Luftballons.mp3"])
    assert not are_numbered(["99 Luftballons.mp3", "Nur geträumt.mp3"])
    assert describe("12 One.mp3", ["A", "B"], numbered=True).track == 12
    assert describe("12 One.mp3", ["A", "B"], numbered=False).title == "12 One"
