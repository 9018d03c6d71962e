"""The dry-run of a collection without assets, which plans less than others, tells what an ingest does then."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from retrovue.core.pages import AssetDraft
from retrovue.core.results import Ingested
from retrovue.store import preview_new
from tests.support.library import Library, draft, page
from tests.support.statements import statements

pytestmark = pytest.mark.anyio

FILMS = [draft(f"film{number:03}") for number in range(130)]
COPIES = [draft(f"copy{number:03}", "copied.mkv") for number in range(130)]
PAIRS = [draft(f"pair{number:03}", f"{number // 2}.mkv") for number in range(260)]


def _told(outcome: Ingested) -> Sequence[object]:
    """Return the counts, and the lists without what only an asset has."""
    lists = outcome.listed
    return (
        replace(outcome.counts, resumed=0),
        [named.title for named in lists.created],
        [(named.title, named.detail) for named in lists.duplicates],
        [(rejection.code, rejection.title) for rejection in lists.rejected],
    )


@pytest.mark.parametrize(("at_once", "passes"), [(100_000, 1), (20, 16), (20, 0)], ids=["here", "passes", "database"])
@pytest.mark.parametrize(
    ("listing", "created", "duplicates"),
    [
        ([draft("a"), draft("b", "1", "2")], 2, 0),
        ([draft("a", "f"), draft("c", "f"), draft("b"), draft("d", "f")], 2, 2),
        ([draft("b", "1", "2"), draft("a"), draft("c", "1", "2")], 2, 1),
        (FILMS, 130, 0),
        ([*COPIES, *FILMS], 131, 129),
        ([*FILMS[:7], *PAIRS, *FILMS[7:], *COPIES], 261, 259),
    ],
    ids=["different", "copies", "parts", "many", "copies first", "pairs"],
)
async def test_it_tells_what_an_ingest_does(
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    passes: int,
    listing: list[AssetDraft],
    created: int,
    duplicates: int,
) -> None:
    monkeypatch.setattr(preview_new, "_AT_ONCE", at_once)
    monkeypatch.setattr(preview_new, "_MOST_PASSES", passes)
    pages = [page(*listing[at : at + 50]) for at in range(0, len(listing), 50)]
    plans: list[str] = []
    with statements(lambda statement, _: plans.append(statement) if "RECURSIVE" in statement else None):
        preview = await library.ingest_one(*pages, dry_run=True)
    assert (preview.counts.created, preview.counts.duplicates, plans) == (created, duplicates, [])
    assert _told(preview) == _told(await library.ingest_one(*pages))


async def test_a_collection_without_items_has_none(library: Library) -> None:
    assert _told(await library.ingest_one(page(), dry_run=True)) == _told(await library.ingest_one(page()))
