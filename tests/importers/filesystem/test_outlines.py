"""Outlines: what is given of a page in place of its drafts, so that a known one is recognised."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from retrovue.core.pages import Outline, Page
from retrovue.core.runs import FULL, Scope
from retrovue.importers.filesystem import FilesystemImporter
from retrovue.importers.filesystem.names import KINDS
from retrovue.testing import sample_collection

pytestmark = pytest.mark.anyio

CASES = Path(__file__).parents[2] / "data" / "files"


async def steps(root: Path, name: str, kind: str, *, known: bool, scope: Scope = FULL) -> list[Page | Outline]:
    collection = replace(sample_collection(name, kind=kind), assets_count=int(known))
    async with FilesystemImporter({"path": str(root)}) as importer, importer.enumerate(collection, scope) as pages:
        return [page async for page in pages]


async def stamp(root: Path, kind: str = "movie") -> bytes:
    (page,) = await steps(root, "Movies", kind, known=False)
    assert isinstance(page, Page)
    assert page.stamp is not None
    return page.stamp


async def test_outlines_say_what_their_pages_say() -> None:
    """Of all cases, as each kind of collection."""
    outlined = 0
    for name in sorted(path.name for path in CASES.iterdir() if path.is_dir()):
        for kind in KINDS:
            whole = [page for page in await steps(CASES, name, kind, known=False) if isinstance(page, Page)]
            found = Page([], [], 0)
            for step in await steps(CASES, name, kind, known=True):
                page = await step.read() if isinstance(step, Outline) else step
                if isinstance(step, Outline):
                    outlined += 1
                    assert step.source_uris == [draft.source_uri for draft in page.drafts], (name, kind)
                    assert step.source_paths == [tuple(part.source_path for part in d.parts) for d in page.drafts]
                    assert (step.source_items, step.stamp, step.rejected) == (page.source_items, page.stamp, [])
                    assert page.stamp in {one.stamp for one in whole}, (name, kind)
                found.drafts += page.drafts
                found.rejected += page.rejected
                found.source_items += page.source_items
            assert found.drafts == [draft for page in whole for draft in page.drafts], (name, kind)
            assert found.rejected == [one for page in whole for one in page.rejected], (name, kind)
            assert found.source_items == sum(page.source_items for page in whole), (name, kind)
    assert outlined >= len(KINDS)


@pytest.mark.parametrize("kind", ["movie", "show"])
async def test_a_file_of_several_episodes_is_as_many_drafts(tmp_path: Path, kind: str) -> None:
    (tmp_path / "Movies").mkdir()
    (tmp_path / "Movies" / "Show S01E01-E03.mkv").write_bytes(b"media")
    (outline,) = await steps(tmp_path, "Movies", kind, known=True)
    assert isinstance(outline, Outline)
    assert len(outline.source_uris) == len((await outline.read()).drafts) == (3 if kind == "show" else 1)


async def test_a_stamp_changes_with_all_that_drafts_are_made_of(tmp_path: Path) -> None:
    film = tmp_path / "Movies" / "Film (1999)" / "Film (1999).mkv"
    film.parent.mkdir(parents=True)
    film.write_bytes(b"media")
    os.utime(film, (1_000_000_000, 1_000_000_000))
    stamps = [await stamp(tmp_path), await stamp(tmp_path, "show")]
    os.utime(film, (1_000_000_001, 1_000_000_001))
    stamps.append(await stamp(tmp_path))
    film.write_bytes(b"more media")
    os.utime(film, (1_000_000_001, 1_000_000_001))
    stamps.append(await stamp(tmp_path))
    film.with_suffix(".nfo").write_text("<movie/>")
    stamps.append(await stamp(tmp_path))
    film.parent.rename(film.parent.with_name("Film (2000)"))
    stamps.append(await stamp(tmp_path))
    assert len(set(stamps)) == len(stamps)
    assert stamps[-1] == await stamp(tmp_path)


async def test_what_was_left_out_is_told_before_an_outline(tmp_path: Path) -> None:
    (tmp_path / "Movies").mkdir()
    for name in ("Film.mkv", "Film-trailer.mkv"):
        (tmp_path / "Movies" / name).write_bytes(b"media")
    first, second = await steps(tmp_path, "Movies", "movie", known=True)
    assert isinstance(first, Page)
    assert dict(first.warnings) == {"left_out_extra": 1}
    assert isinstance(second, Outline)


async def test_a_scope_is_read_in_full(tmp_path: Path) -> None:
    (tmp_path / "Movies").mkdir()
    (tmp_path / "Movies" / "Film (1999).mkv").write_bytes(b"media")
    (page,) = await steps(tmp_path, "Movies", "movie", known=True, scope=Scope(title="Film"))
    assert isinstance(page, Page)
    assert [draft.title for draft in page.drafts] == ["Film"]
