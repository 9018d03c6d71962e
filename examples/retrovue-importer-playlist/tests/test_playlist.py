"""The playlist importer, by RetroVue's conformance kit and by what is its own."""

from pathlib import Path

import anyio
import pytest

from retrovue import Collection, ImporterInterface, Scope
from retrovue.errors import ScopeNotFound, SourceUnreachable
from retrovue.testing import ImporterConformance, check_enumeration, sample_collection
from retrovue_importer_playlist import PlaylistImporter


@pytest.fixture
def playlists(tmp_path: Path) -> Path:
    """A directory with one playlist, of which two lines of five can be used."""
    (tmp_path / "evening.csv").write_text(
        "file,title,year\n/srv/heat.mkv,Heat,1995\n/srv/alien.mkv,Alien,\nalien.mkv,Alien,1979\n/srv/x.mkv,,\n/srv/heat.mkv,Heat,\n"
    )
    return tmp_path


class TestConformance(ImporterConformance):
    """What every importer owes to ingest."""

    items = 5

    @pytest.fixture(autouse=True)
    def source(self, playlists: Path) -> None:
        """Say where the sample is."""
        self.playlists = playlists

    def make_importer(self) -> ImporterInterface:
        """Make the importer."""
        return PlaylistImporter({"directory": str(self.playlists)})

    def make_collection(self) -> Collection:
        """Name the sample collection."""
        return sample_collection("evening.csv")


def test_a_title(playlists: Path) -> None:
    """Only what is in scope is given."""

    async def check(title: str) -> list[str]:
        importer = PlaylistImporter({"directory": str(playlists)})
        drafts = await check_enumeration(lambda: importer, sample_collection("evening.csv"), scope=Scope(title))
        return [draft.parts[0].source_path for draft in drafts]

    assert anyio.run(check, "heat") == ["/srv/heat.mkv"]
    with pytest.raises(ScopeNotFound):
        anyio.run(check, "Nothing")


def test_a_replaced_file_has_another_stamp(tmp_path: Path) -> None:
    """A sync compares the stamps."""
    film = tmp_path / "heat.mkv"
    (tmp_path / "evening.csv").write_text(f"file,title,year\n{film},Heat,1995\n")

    async def stamp() -> str | None:
        importer = PlaylistImporter({"directory": str(tmp_path)})
        (draft,) = await check_enumeration(lambda: importer, sample_collection("evening.csv"))
        return draft.parts[0].stamp

    assert anyio.run(stamp) is None
    film.write_bytes(b"a film")
    before = anyio.run(stamp)
    film.write_bytes(b"another film")
    assert None is not before != anyio.run(stamp) is not None


def test_a_playlist_that_is_being_written(playlists: Path) -> None:
    """A sync removes nothing of it."""

    async def refreshing() -> bool:
        importer = PlaylistImporter({"directory": str(playlists)})
        return (await importer.change_state(sample_collection("evening.csv"))).refreshing

    assert not anyio.run(refreshing)
    (playlists / "evening.csv.part").touch()
    assert anyio.run(refreshing)


def test_a_directory_that_is_not_there() -> None:
    """It is unreachable."""
    with pytest.raises(SourceUnreachable):
        anyio.run(PlaylistImporter({"directory": "/nowhere"}).check_reachable)
