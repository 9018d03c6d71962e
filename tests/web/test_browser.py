"""The page in a real browser: what people do, live views, reconnecting, and whether everybody can use it."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser

from retrovue import add_schedule, ingest_source
from retrovue.ingest import progress_writer
from retrovue.service.serving import HostStatus
from retrovue.simulator import ListSection, SimulatedPlex, movie
from retrovue.store.collections import set_check_files
from retrovue.store.session import Store
from retrovue.web.server import page_served
from retrovue.web.settings import PageSettings
from tests.support.library import Library, draft, rows
from tests.support.library import page as listed
from tests.support.syncing import TOKEN, PlexSource, Synced
from tests.web.browser import Tab, chromium, needs_chromium, tab
from tests.web.conftest import TOKEN as PAGE_TOKEN

pytestmark = [pytest.mark.anyio, needs_chromium]

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def library(shared_store: Store, scripted: None) -> Library:
    return await Library.make(shared_store, "Movies")


def page_of(store: Store, settings: PageSettings | None = None) -> AbstractAsyncContextManager[str]:
    return page_served(store, settings or PageSettings(port=0), HostStatus("test host", works=True))


def films(*titles: str) -> object:
    return listed(*(draft(f"item {number}", title=title) for number, title in enumerate(titles)))


async def test_from_the_first_page_to_a_catalogue(browser: Browser, shared_store: Store, media: Path) -> None:
    rows_ = [movie(number, f"Film {number}", file=f"/data/movies/{number}.mkv") for number in (1, 2)]
    for number in (1, 2):
        (media / f"{number}.mkv").touch()
    plex = SimulatedPlex([ListSection("1", "Movies", "movie", rows_, locations=["/data/movies"])], token=TOKEN)
    async with plex.serve() as server, page_of(shared_store) as url, tab(browser, url) as here:
        await here.open("/")
        await here.page.get_by_role("link", name="Add a source").last.click()
        await here.page.get_by_label("Address").fill(server)
        await here.page.get_by_label("Token").fill(TOKEN)
        await here.page.get_by_label("Token").press("Enter")
        await here.page.get_by_label("Movies (movie)").check()
        await here.page.get_by_label("Where is /data/movies").fill(str(media))
        await here.press("Check, and show what will happen")
        await here.sees("What will happen")
        await here.press("Do it")
        await here.page.wait_for_url("**/runs/*")
        await here.sees("ingested")
        await here.page.get_by_role("link", name="Assets", exact=True).click()
        await here.sees("Film 2")
        # The search goes on while it is typed, without a new page.
        await here.page.get_by_label("Title").press_sequentially("film 1")
        await here.page.get_by_text("Film 2").first.wait_for(state="detached")
        assert await here.page.get_by_text("Film 1").count() == 1
        assert TOKEN not in await here.page.content()


async def test_a_run_of_somebody_else_is_watched_in_two_tabs_and_stopped(
    browser: Browser, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_writer, "PAUSE_SECONDS", 0.05)
    store, more = library.store, anyio.Event()
    library.script.listings["Movies"] = [films("A", "B"), more, listed(draft("C")), anyio.Event()]
    async with page_of(store) as url, tab(browser, url) as one, tab(browser, url) as two:
        await one.open("/")
        await one.sees("Nothing is at work.")
        async with ingest_source(store, "A source") as run:
            await one.sees("items read")
            await one.page.get_by_role("link", name="ingest of A source").click()
            await two.open(f"/runs/{run.id}")
            for each in (one, two):
                await each.page.get_by_text(re.compile(r"reading\s+2, ")).wait_for()
            more.set()
            for each in (one, two):
                await each.page.get_by_text(re.compile(r"reading\s+3, ")).wait_for()
            await one.press("Stop the run")
            for each in (one, two):
                await each.sees("interrupted")
    assert await library.audit() == [("Movies", "interrupted", "interrupted")]


async def test_what_is_shown_comes_back_when_the_server_does(browser: Browser, library: Library) -> None:
    async with tab(browser, "", complains=True) as here:
        async with page_of(library.store) as url:
            here.url = url
            await here.open("/")
            await here.page.get_by_text("Live", exact=True).wait_for()
        await here.sees("trying again")
        library.script.listings["Movies"] = [films("A"), anyio.Event()]
        with anyio.CancelScope() as scope:
            async with ingest_source(library.store, "A source"):
                port = int(url.rstrip("/").rpartition(":")[2])
                async with page_of(library.store, PageSettings(port=port)):
                    await here.page.get_by_text("Live", exact=True).wait_for()
                    await here.page.get_by_role("link", name="ingest of A source").wait_for()
                    await here.page.close()
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert await library.audit() == [("Movies", "interrupted", "interrupted")]


async def test_removals_are_confirmed_by_keyboard(browser: Browser, shared_store: Store, media: Path) -> None:
    changing = PlexSource(media)
    async with changing.serve():
        for number in range(30):
            changing.add(number)
        synced = await Synced.make(shared_store, changing)
        async with shared_store.transaction() as session:
            await set_check_files(session, synced.collection, check_files=False)
        await synced.ingest()
        for number in range(25):
            changing.remove(number)
        await synced.sync(full=True)
        async with page_of(shared_store) as url, tab(browser, url) as here:
            await here.open("/")
            await here.page.keyboard.press("Tab")
            assert await here.page.evaluate("document.activeElement.textContent") == "Skip to the content"
            await focus(here, "Review them")
            await here.page.keyboard.press("Enter")
            await here.page.wait_for_url("**/removals")
            await focus(here, "Review")
            await here.page.keyboard.press("Enter")
            await here.sees("Film 7")
            await focus(here, "Confirm these 25 removals")
            await here.page.keyboard.press("Enter")
            await here.page.wait_for_url("**/runs/*")
            await here.page.get_by_role("cell", name="ingested").first.wait_for()
    assert await rows(shared_store, "SELECT count(*) FROM asset WHERE availability = 'missing'") == [(25,)]


async def test_a_hostile_title_does_nothing(browser: Browser, library: Library) -> None:
    library.script.listings["Movies"] = [films(HOSTILE)]
    await library.ingest()
    async with page_of(library.store) as url, tab(browser, url) as here:
        await here.open("/assets")
        await here.page.get_by_role("link", name=HOSTILE).click()
        assert await here.page.locator("h1").inner_text() == HOSTILE
        assert await here.page.locator("main img, main script").count() == 0


async def test_without_scripts_everything_can_be_read_and_signing_in_works(browser: Browser, library: Library) -> None:
    library.script.listings["Movies"] = [films("A film")]
    await library.ingest()
    settings = PageSettings(port=0, token=PAGE_TOKEN)
    async with page_of(library.store, settings) as url, tab(browser, url, java_script_enabled=False) as here:
        await here.open("/assets")
        await here.page.get_by_label("Token of the web page").fill(PAGE_TOKEN)
        await here.press("Sign in")
        await here.page.get_by_role("link", name="A film").click()
        await here.sees("/mnt/item 0.mkv")
        await here.open("/")
        await here.sees("Nothing is at work.")
        await here.sees_after_a_while("Counted")


async def focus(here: Tab, name: str) -> None:
    """Move the focus by the Tab key until it is on the control with a name."""
    for _ in range(80):
        await here.page.keyboard.press("Tab")
        found = (
            "[document.activeElement.textContent, document.activeElement.ariaLabel].map((one) => (one ?? '').trim())"
        )
        names = await here.page.evaluate(found)
        if any(one == name or one.startswith(f"{name} ") for one in names):
            return
    pytest.fail(f"no Tab leads to {name}")


@pytest.mark.long
async def test_everybody_can_use_every_page(browser: Browser, library: Library) -> None:
    library.script.listings["Movies"] = [films("A film", "A film with a very long title " * 8)]
    await library.ingest()
    await add_schedule(library.store, "A source", cron="@daily")
    [(asset,)] = await library.rows("SELECT uuid FROM asset LIMIT 1")
    [(run,)] = await library.rows("SELECT run_id FROM ingest_start")
    movies = await library.collection("Movies")
    addresses = (
        "/", "/assets", f"/assets/{asset}", "/assets/review?decision=approve", "/runs", f"/runs/{run}", "/changes",
        f"/sources/{library.source.id}", f"/libraries/{movies.id}", "/removals", "/schedules", "/hosts", "/enrichers",
        "/doctor?examine=yes", "/setup", "/login", "/rejected", "/duplicates", "/nothing",
    )  # fmt: skip
    views = (("light", 1920, addresses), ("dark", 360, ("/", "/assets", f"/runs/{run}", f"/libraries/{movies.id}")))
    problems: list[str] = []
    async with page_of(library.store) as url:
        for scheme, width, looked_at in views:
            view = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
            async with tab(browser, url, complains=True, **view) as here:
                for address in addresses:
                    await here.open(address)
                    wide = await here.page.evaluate(_TOO_WIDE)
                    problems += [f"{width} {address}: wider than the window: {one}" for one in wide]
                    if address not in looked_at:
                        continue
                    found = await Axe().run(here.page, options=_WHAT)
                    problems += [
                        f"{scheme} {address}: {one['id']}: {one['nodes'][0]['html']}"
                        for one in found.response["violations"]
                        if one["impact"] in {"serious", "critical"}
                    ]
    assert problems == []


_WHAT = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa"]}}
_TOO_WIDE = """
    document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("main *, header *")]
        .filter((one) => one.getBoundingClientRect().right > innerWidth && !one.closest(".scroll"))
        .map((one) => one.outerHTML.slice(0, 200))
"""
