"""The search for listed files on this machine, before a collection is written."""

import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio.lowlevel
import pytest
from msgspec.structs import replace

from retrovue.core.errors import FilesNotFound, SourceUnreachable
from retrovue.core.model import Collection, PathMapping
from retrovue.core.pages import Outline, Page
from retrovue.core.paths import PathMapper
from retrovue.core.results import Failed, Ingested
from retrovue.core.runs import Scope
from retrovue.importers.locations import check_locations
from retrovue.ingest.files import SAMPLE, FileCheck
from retrovue.store.collections import set_check_files
from retrovue.store.session import Store
from retrovue.testing import sample_collection
from tests.support.library import DATA, Library, draft, outline, page

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


def mapped(**local: Path) -> Collection:
    """A collection whose locations, /data/NAME, are mapped to these directories."""
    mappings = tuple(PathMapping(f"/data/{name}", str(path)) for name, path in local.items())
    return replace(
        sample_collection("Movies", mappings=mappings), locations=tuple(mapping.source_prefix for mapping in mappings)
    )


class Search:
    """A check whose looks are recorded."""

    def __init__(self, collection: Collection) -> None:
        self.looked: list[str] = []
        self.check = FileCheck(collection, PathMapper(collection.path_mappings).file, exists=self._exists)

    def _exists(self, path: Path) -> bool:
        self.looked.append(path.name)
        return path.exists()

    async def read(self, *pages: list[str]) -> str | None:
        """Read pages to their end; returns the code of the refusal."""
        try:
            for paths in pages:
                if self.check.wanted:
                    await self.check.look(paths)
            await self.check.finish()
        except FilesNotFound as exc:
            return exc.code
        return None


def files(name: str, *numbers: int) -> list[str]:
    return [f"/data/{name}/{number}.mkv" for number in numbers]


@pytest.mark.fault(303)
class TestSample:
    async def test_one_file_that_is_found_ends_the_search(self, tmp_path: Path) -> None:
        (tmp_path / "0.mkv").touch()
        search = Search(mapped(a=tmp_path))
        assert await search.read(files("a", *range(1000)), files("a", *range(1000, 2000))) is None
        assert search.looked == ["0.mkv"]

    async def test_a_sample_is_spread_over_each_page_and_bounded(self, tmp_path: Path) -> None:
        (tmp_path / "other").touch()
        search = Search(mapped(a=tmp_path))
        pages = [files("a", *range(first, first + 1000)) for first in range(0, 100_000, 1000)]
        assert await search.read(*pages) == "files_not_found"
        assert len(search.looked) == SAMPLE
        assert search.looked[:3] == ["0.mkv", "100.mkv", "200.mkv"]

    async def test_one_of_many_is_enough(self, tmp_path: Path) -> None:
        (tmp_path / "1700.mkv").touch()
        search = Search(mapped(a=tmp_path))
        assert await search.read(files("a", *range(1000)), files("a", *range(1000, 2000))) is None

    async def test_a_collection_without_files_is_left_alone(self, tmp_path: Path) -> None:
        assert await Search(mapped(a=tmp_path)).read([], []) is None

    async def test_files_that_no_mapping_covers_are_left_to_be_rejected(self, tmp_path: Path) -> None:
        search = Search(mapped(a=tmp_path))
        assert await search.read(["/elsewhere/1.mkv", "relative.mkv"]) is None
        assert search.looked == []

    async def test_an_empty_directory_is_named(self, tmp_path: Path) -> None:
        assert await Search(mapped(a=tmp_path)).read(files("a", 1)) == "location_empty"

    async def test_names_that_no_file_can_have_are_missing(self, tmp_path: Path) -> None:
        (tmp_path / "other").touch()
        assert await Search(mapped(a=tmp_path)).read([f"/data/a/{'x' * 5000}.mkv"]) == "files_not_found"


@pytest.mark.fault(303)
class TestLocations:
    @pytest.mark.parametrize(
        ("missing", "empty", "code"),
        [(4, False, None), (5, False, "files_not_found"), (1, True, "location_empty")],
    )
    async def test_one_of_two_is_lost(self, tmp_path: Path, missing: int, empty: bool, code: str | None) -> None:
        for name in "ab":
            (tmp_path / name).mkdir()
        (tmp_path / "a" / "1.mkv").touch()
        if not empty:
            (tmp_path / "b" / "other").touch()
        search = Search(mapped(a=tmp_path / "a", b=tmp_path / "b"))
        page = [*files("a", *range(1, 500)), *files("b", *range(missing))]
        assert await search.read(page) == code

    async def test_a_location_inside_of_another_has_its_own_sample(self, tmp_path: Path) -> None:
        outer, inner = tmp_path / "outer", tmp_path / "inner"
        outer.mkdir()
        inner.mkdir()
        (outer / "1.mkv").touch()
        mappings = (PathMapping("/data", str(outer)), PathMapping("/data/4k", str(inner)))
        nested = replace(sample_collection("Movies", mappings=mappings), locations=("/data", "/data/4k"))
        assert await Search(nested).read(["/data/1.mkv", "/data/4k/2.mkv"]) == "location_empty"

    async def test_files_outside_of_all_locations_count_too(self, tmp_path: Path) -> None:
        (tmp_path / "1.mkv").touch()
        stray = replace(mapped(a=tmp_path), locations=())
        assert await Search(stray).read(files("a", 1)) is None
        assert await Search(stray).read(files("a", 2)) == "files_not_found"

    async def test_a_mount_that_hangs_delays_nothing_else(self, tmp_path: Path) -> None:
        release = threading.Event()

        def hang(_: Path) -> bool:
            return release.wait()

        found = mapped(a=tmp_path)
        check = FileCheck(found, PathMapper(found.path_mappings).file, deadline_s=0.01, exists=hang)
        try:
            with pytest.raises(FilesNotFound) as refused:
                await check.look(files("a", 1))
        finally:
            release.set()
        assert refused.value.code == "directory_timeout"


@pytest.mark.fault(303)
class TestIngest:
    @pytest.fixture
    async def checked(self, library: Library, store: Store, tmp_path: Path) -> Library:
        await library.map("Movies", (DATA, str(tmp_path)))
        async with store.transaction() as session:
            await set_check_files(session, await library.collection("Movies"), check_files=True)
        return library

    async def test_nothing_is_created_if_no_file_is_there(self, checked: Library, tmp_path: Path) -> None:
        (tmp_path / "other.mkv").touch()
        for dry_run in (True, False):
            (outcome,) = (await checked.ingest({"Movies": [page(draft("a"), draft("b"))]}, dry_run=dry_run)).outcomes
            assert isinstance(outcome, Failed)
            assert outcome.code == "files_not_found"
        assert await checked.rows("SELECT 1 FROM asset") == []
        (tmp_path / "b.mkv").touch()
        outcome = await checked.ingest_one(page(draft("a"), draft("b")))
        assert outcome.counts.created == 2

    async def test_known_pages_are_looked_for_as_well(self, checked: Library, tmp_path: Path) -> None:
        (tmp_path / "a.mkv").touch()
        await checked.ingest_one(outline(draft("a")))
        (tmp_path / "a.mkv").rename(tmp_path / "z.mkv")
        (outcome,) = (await checked.ingest({"Movies": [outline(draft("a"))]})).outcomes
        assert isinstance(outcome, Failed)
        assert outcome.code == "files_not_found"

    async def test_files_that_have_moved_with_their_mapping_are_found(self, checked: Library, tmp_path: Path) -> None:
        (tmp_path / "a.mkv").touch()
        await checked.ingest_one(page(draft("a")))
        (tmp_path / "new").mkdir()
        (tmp_path / "a.mkv").rename(tmp_path / "new" / "a.mkv")
        await checked.map("Movies", (DATA, str(tmp_path / "new")))
        assert (await checked.ingest_one(page(draft("a")))).counts.relocated == 1

    async def test_it_can_be_switched_off(self, library: Library, tmp_path: Path) -> None:
        await library.map("Movies", (DATA, str(tmp_path)))
        (outcome,) = (await library.ingest({"Movies": [page(draft("a"))]})).outcomes
        assert isinstance(outcome, Ingested)


@pytest.mark.fault(303)
class TestEmptyDirectory:
    """What the importers' check says of a directory that is there and empty."""

    async def check(self, collection: Collection, *pages: Page | Outline | Exception) -> str | None:
        async def listing(_: Collection, __: Scope) -> AsyncGenerator[Page | Outline, None]:
            await anyio.lowlevel.checkpoint()
            for one in pages:
                if isinstance(one, Exception):
                    raise one
                self.read += 1
                yield one

        self.read = 0
        locations = collection.locations
        answer = await check_locations(collection, locations, server="Plex", listing=listing)
        return answer.code

    @pytest.mark.parametrize("hidden", [(), (".DS_Store",), ("lost+found",), (".hidden", "@eaDir")], ids=str)
    @pytest.mark.parametrize("form", [page, outline])
    async def test_files_are_listed_in_it(self, tmp_path: Path, hidden: tuple[str, ...], form: type) -> None:
        for name in hidden:
            (tmp_path / name).touch()
        assert await self.check(mapped(a=tmp_path), form(draft("x", "/data/a/x.mkv"))) == "location_empty"

    async def test_nothing_is_listed_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "x.mkv").touch()
        both = mapped(a=tmp_path / "a", b=tmp_path / "b")
        assert await self.check(both, page(draft("x", "/data/b/x.mkv"))) is None
        assert await self.check(both) is None

    async def test_the_listing_is_read_only_for_an_empty_directory_and_only_its_beginning(self, tmp_path: Path) -> None:
        library = mapped(a=tmp_path)
        assert await self.check(library, *[page() for _ in range(10)]) is None
        assert self.read == 3
        (tmp_path / "x.mkv").touch()
        assert await self.check(library, page(draft("x", "/data/a/x.mkv"))) is None
        assert self.read == 0

    async def test_a_listing_that_fails_is_left_to_the_ingest(self, tmp_path: Path) -> None:
        assert await self.check(mapped(a=tmp_path), SourceUnreachable("gone")) is None

    async def test_files_are_meant_to_be_elsewhere(self, tmp_path: Path) -> None:
        elsewhere = replace(mapped(a=tmp_path), check_files=False)
        assert await self.check(elsewhere, page(draft("x", "/data/a/x.mkv"))) is None
