"""What the pages show and do, over real HTTP, with real runs on simulated servers."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import httpx
import pytest

from retrovue import Rejection, add_enricher, add_schedule, attach_enricher, enrich_one, list_schedules, request_run
from retrovue.simulator import ListSection, SimulatedPlex, movie
from retrovue.store import listeners, schedules
from retrovue.store.collections import set_check_files
from retrovue.store.session import Store
from tests.support.library import Library, contents, draft, execute, gate, rows
from tests.support.library import page as listed
from tests.support.syncing import TOKEN, PlexSource, Synced
from tests.support.working import worker
from tests.web.conftest import served

pytestmark = pytest.mark.anyio

HTML = {"Accept": "text/html"}
HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"


@pytest.fixture
async def films(shared_store: Store, media: Path) -> AsyncIterator[tuple[PlexSource, Synced]]:
    """A Plex server with four films, which are in the catalogue."""
    changing = PlexSource(media)
    async with changing.serve():
        for number in range(4):
            changing.add(number)
        synced = await Synced.make(shared_store, changing)
        async with shared_store.transaction() as session:
            await set_check_files(session, synced.collection, check_files=False)
        await synced.ingest()
        yield changing, synced


async def seen(client: httpx.AsyncClient, address: str, fits: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Load a page again and again until it fits, as a browser without scripts does; returns it."""
    with anyio.fail_after(60):
        while True:
            got = await client.get(address, headers=HTML, follow_redirects=True)
            if got.status_code == 200 and fits(got):
                return got
            await anyio.sleep(0.02)


async def ended(client: httpx.AsyncClient, answer: httpx.Response) -> str:
    """Follow what was started until its run is over; returns the last page."""
    assert answer.status_code == 303, answer.text
    return (await seen(client, answer.headers["Location"], lambda got: "data-live" not in got.text)).text


async def told(client: httpx.AsyncClient, answer: httpx.Response) -> str:
    """Return what the page says that a form leads to."""
    assert answer.status_code == 303, answer.text
    got = await client.get(answer.headers["Location"], headers=HTML)
    assert got.status_code == 200
    found = re.search(r'<div class="notice[^>]*>\s*<p>(.*?)</p>', got.text, re.DOTALL)
    assert found is not None, got.text
    return found[1]


def addresses(synced: Synced, asset: object, run: object) -> list[str]:
    return [
        "/", "/overview/counts", "/assets", "/assets?title=film&state=new", "/assets?season=x", f"/assets/{asset}",
        "/assets/review?decision=approve&title=film", f"/assets/{asset}.json", "/assets.csv", "/assets.jsonl", "/runs",
        f"/runs/{run}", f"/runs/{run}.json", f"/sources/{synced.source.id}", f"/sources/{synced.source.id}/reachable",
        f"/libraries/{synced.collection.id}", "/rejected", "/rejected.csv", "/duplicates", "/duplicates.jsonl",
        "/changes", f"/changes?source={synced.source.id}", "/removals", "/schedules", "/hosts", "/enrichers", "/doctor",
        "/doctor?examine=yes", "/setup", "/login", "/nothing", "/health",
    ]  # fmt: skip


class TestReading:
    async def test_every_page_is_whole_and_changes_and_betrays_nothing(
        self, films: tuple[PlexSource, Synced], shared_store: Store
    ) -> None:
        async with served(shared_store) as page:
            _, synced = films
            await add_schedule(synced.store, "Films", cron="@daily", name="daily")
            [(asset,)] = await synced.rows("SELECT uuid FROM asset ORDER BY title LIMIT 1")
            [(run,)] = await synced.rows("SELECT run_id FROM ingest_start")
            before = await contents(synced.store)
            for address in addresses(synced, asset, run):
                got = await page.get(address, headers=HTML)
                expected = {"/nothing": 404, "/assets?season=x": 400}.get(address, 200)
                assert got.status_code == expected, (address, got.text)
                assert TOKEN not in got.text
                if got.headers["Content-Type"].startswith("text/html") and "<html" in got.text:
                    assert got.text.rstrip().endswith("</html>")
                    assert re.findall(r"<script(?! src=\"/static/)|<style|\son[a-z]+=|\sstyle=", got.text) == []
                    assert len(re.findall("<h1>", got.text)) == 1
            assert await contents(synced.store) == before

    async def test_a_source_says_whether_it_is_listened_to(
        self, page: httpx.AsyncClient, films: tuple[PlexSource, Synced]
    ) -> None:
        _, synced = films
        address = f"/sources/{synced.source.id}"
        assert "no host listens" in (await page.get(address, headers=HTML)).text
        async with listeners.opened(synced.store) as locks:
            assert await listeners.claim(locks, synced.source)
            async with synced.store.transaction() as session:
                await listeners.note(session, synced.source, "tv-1", connected=True)
            assert "tv-1 has listened since" in (await page.get(address, headers=HTML)).text

    @pytest.mark.usefixtures("scripted")
    async def test_what_a_media_server_says_is_text(self, shared_store: Store) -> None:
        async with served(shared_store) as page:
            library = await Library.make(shared_store, f"Movies {HOSTILE}")
            (name,) = [one.name for one in (await library.collections()).values()]
            library.script.listings[name] = [page_of(HOSTILE)]
            await library.ingest()
            [(asset,)] = await library.rows("SELECT uuid FROM asset")
            [(run,)] = await library.rows("SELECT run_id FROM ingest_start")
            collection = await library.collection(name)
            places = (
                "/assets", f"/assets/{asset}", "/changes", f"/runs/{run}", f"/libraries/{collection.id}",
                f"/sources/{library.source.id}", f"/assets?title={HOSTILE}", "/assets/review?decision=approve",
            )  # fmt: skip
            for address in places:
                got = await page.get(address, headers=HTML)
                assert got.status_code == 200, (address, got.text)
                assert "alert(" in got.text or address == "/changes", address
                assert "<script>" not in got.text
                assert "<img" not in got.text

    @pytest.mark.usefixtures("scripted")
    async def test_a_list_is_a_file_and_no_formula(self, page: httpx.AsyncClient, shared_store: Store) -> None:
        library = await Library.make(shared_store, "Movies")
        await library.ingest_one(page_of("=HYPERLINK(1)"), name="Movies")
        text = (await page.get("/assets.csv?title=HYPERLINK")).text
        assert "'=HYPERLINK(1)" in text
        lines = (await page.get("/assets.jsonl")).text.splitlines()
        assert len(lines) == 1
        assert (await page.get("/assets.csv?season=x")).status_code == 400

    @pytest.mark.usefixtures("scripted")
    async def test_pages_of_a_list_follow_each_other(self, page: httpx.AsyncClient, shared_store: Store) -> None:
        library = await Library.make(shared_store, "Movies")
        await library.ingest_one(page_of(*(f"Film {number:02}" for number in range(30))), name="Movies")
        first = await page.get("/assets?limit=25&order=name", headers=HTML)
        found = re.search(r'href="(/assets\?[^"]*after=[^"]*)"', first.text)
        assert found is not None
        second = await page.get(found[1].replace("&amp;", "&"), headers=HTML)
        titles = [re.findall(r">(Film \d\d)</a>", one.text) for one in (first, second)]
        assert [len(one) for one in titles] == [25, 5]
        assert len({title for one in titles for title in one}) == 30


def page_of(*titles: str) -> object:
    return listed(*(draft(f"item {number}", title=title) for number, title in enumerate(titles)))


class TestLists:
    @pytest.mark.usefixtures("scripted")
    async def test_behind_each_number_is_its_list(self, page: httpx.AsyncClient, shared_store: Store) -> None:
        library = await Library.make(shared_store, "Movies")
        library.script.listings["Movies"] = [
            listed(
                draft("A", "a.mkv", title="First of two", provider_ids={"imdb": "tt1"}),
                draft("B", "a.mkv", title="Second of two"),
                Rejection("no_file", "It has no file.", title=f"Refused {HOSTILE}"),
            )
        ]
        await library.ingest()
        [(run,)] = await library.rows("SELECT run_id FROM ingest_start")
        [(asset,)] = await library.rows("SELECT uuid FROM asset")
        table = (await page.get(f"/runs/{run}", headers=HTML)).text
        collection = (await library.collection("Movies")).id
        for address, text in (
            (f"/rejected?run={run}&collection={collection}", "Refused &lt;script&gt;"),
            (f"/duplicates?collection={collection}", "Second of two"),
        ):
            assert address.replace("&", "&amp;") in table
            shown = await page.get(address, headers=HTML)
            assert (shown.status_code, text in shown.text) == (200, True)
            assert "<script>" not in shown.text
        assert "Second of two" in (await page.get(f"/assets/{asset}", headers=HTML)).text
        rejected = (await page.get(f"/rejected.csv?run={run}")).text.splitlines()
        assert (len(rejected), "no_file" in rejected[1]) == (2, True)
        assert (await page.get("/duplicates.jsonl")).json()["asset_title"] == "First of two"
        filtered = await page.get("/rejected?reason=unmapped_path", headers=HTML)
        assert "0</data> items" in filtered.text
        assert (await page.get("/rejected?run=nonsense", headers=HTML)).status_code == 400

    async def test_what_enrichers_did_and_hosts_do_is_told(
        self, films: tuple[PlexSource, Synced], shared_store: Store
    ) -> None:
        async with served(shared_store) as page:
            _, synced = films
            await add_enricher(synced.store, "nfo", "Sidecars", {})
            await attach_enricher(synced.store, str(synced.collection.id), "Sidecars")
            async with enrich_one(synced.store, str(synced.collection.id)) as work:
                await work.run()
            assert "Sidecars" in (await page.get("/enrichers", headers=HTML)).text
            [(asset,)] = await synced.rows("SELECT uuid FROM asset LIMIT 1")
            assert "Enrichments" in (await page.get(f"/assets/{asset}", headers=HTML)).text
            await add_schedule(synced.store, "Films", cron="@daily", name="nightly")
            await execute(
                synced.store,
                "INSERT INTO schedule_run (schedule_id, due_at, host_id, host)"
                " SELECT id, now(), gen_random_uuid(), 'tv-7' FROM schedule",
            )
            async with schedules.joined(synced.store, "tv-7"):
                hosts = (await page.get("/hosts", headers=HTML)).text
            assert "works the schedules" in hosts
            assert "nightly: due" in hosts
            assert "tv-7" in (await page.get("/schedules", headers=HTML)).text
            await page.post(f"/assets/{asset}", data={"decision": "retire"})
            assert "retired" in (await page.get("/changes", headers=HTML)).text


class TestRuns:
    async def test_a_sync_is_started_watched_and_in_the_audit_trail(
        self, films: tuple[PlexSource, Synced], shared_store: Store
    ) -> None:
        async with served(shared_store) as page:
            changing, synced = films
            changing.add(9)
            text = await ended(page, await page.post(f"/sources/{synced.source.id}/runs", data={"what": "full-sync"}))
            assert "Sync of Films" in text
            assert await synced.rows("SELECT mode, created FROM ingest_start JOIN ingest_outcome USING (run_id)"
                                     " WHERE mode = 'sync'") == [("sync", 1)]  # fmt: skip

    async def test_what_cannot_begin_says_why(self, films: tuple[PlexSource, Synced], shared_store: Store) -> None:
        async with served(shared_store) as page:
            _, synced = films
            address = f"/libraries/{synced.collection.id}"
            assert "Changed: Movies" in await told(page, await page.post(address, data={"action": "disable"}))
            text = await ended(page, await page.post(f"/sources/{synced.source.id}/runs", data={"what": "sync"}))
            assert "enabled" in text
            refused = await told(page, await page.post(f"/sources/{synced.source.id}/runs", data={"what": "nonsense"}))
            assert "can&#39;t start" in refused

    async def test_removals_are_reviewed_and_confirmed(
        self, films: tuple[PlexSource, Synced], shared_store: Store
    ) -> None:
        async with served(shared_store) as page:
            changing, synced = films
            for number in range(4, 30):
                changing.add(number)
            await synced.ingest()
            for number in range(25):
                changing.remove(number)
            await synced.sync(full=True)
            listed = (await page.get("/removals", headers=HTML)).text
            assert '<data value="25">' in listed
            assert "Removals have to be confirmed" in (await page.get("/", headers=HTML)).text
            form = {"source": str(synced.source.id), "collection": str(synced.collection.id)}
            review = await ended(page, await page.post("/removals", data={**form, "action": "review"}))
            assert "Film 1" in review
            token = re.search(r'name="token" value="([^"]+)"', review)
            assert token is not None
            assert await synced.rows("SELECT count(*) FROM asset WHERE availability = 'missing'") == [(0,)]
            await ended(page, await page.post("/removals", data={**form, "action": "confirm", "token": token[1]}))
            assert await synced.rows("SELECT count(*) FROM asset WHERE availability = 'missing'") == [(25,)]
            assert "No removals are held back" in (await page.get("/removals", headers=HTML)).text

    @pytest.mark.usefixtures("scripted")
    async def test_a_run_is_stopped(self, shared_store: Store) -> None:
        async with served(shared_store) as page:
            library = await Library.make(shared_store, "Movies")
            library.script.listings["Movies"] = [page_of("A"), anyio.Event()]
            answer = await page.post(f"/sources/{library.source.id}/runs", data={"what": "ingest"})
            shown = await seen(page, answer.headers["Location"], lambda got: "/runs/" in str(got.url))
            run = str(shown.url).rpartition("/")[2]
            assert "being stopped" in await told(page, await page.post(f"/runs/{run}/stop"))
            await seen(page, f"/runs/{run}.json", lambda got: got.json()["collections"][0]["status"] != "running")
            assert await library.audit() == [("Movies", "interrupted", "interrupted")]
            again = await told(page, await page.post(f"/runs/{run}/stop"))
            assert "isn&#39;t at work" in again


class TestEvents:
    @pytest.mark.usefixtures("scripted")
    async def test_a_stream_begins_with_all_and_goes_on_with_what_changes(self, shared_store: Store) -> None:
        async with served(shared_store) as page:
            library, more = await Library.make(shared_store, "Movies"), anyio.Event()
            library.script.listings["Movies"] = [page_of("A"), more]
            with anyio.fail_after(60):
                async with page.stream("GET", "/events") as stream:
                    events = read_events(stream)
                    first = await anext(events)
                    assert (first["event"], "Nothing is at work" in first["data"]) == ("piece", True)
                    await page.post(f"/sources/{library.source.id}/runs", data={"what": "ingest"})
                    second = await anext(events)
                    while "/runs/" not in second["data"]:
                        second = await anext(events)
                    assert second["id"] != first["id"]
                    run = re.search(r"/runs/([0-9a-f-]{36})", second["data"])
                    assert run is not None
                    async with page.stream("GET", f"/runs/{run[1]}/events") as of_run:
                        of = read_events(of_run)
                        assert "running" in (await anext(of))["data"]
                        more.set()
                        last = await anext(of)
                        while last["event"] != "reload":
                            last = await anext(of)
                        with pytest.raises(StopAsyncIteration):
                            await anext(of)

    async def test_a_browser_that_has_all_gets_nothing_twice(self, shared_store: Store) -> None:
        async with served(shared_store) as page:
            with anyio.fail_after(60):
                async with page.stream("GET", "/events") as stream:
                    first = await anext(read_events(stream))
                async with page.stream("GET", "/events", headers={"Last-Event-ID": "another"}) as stream:
                    assert await anext(read_events(stream)) == first
                with anyio.move_on_after(1.5) as waited:
                    async with page.stream("GET", "/events", headers={"Last-Event-ID": first["id"]}) as stream:
                        await anext(read_events(stream))
            assert waited.cancelled_caught


async def read_events(stream: httpx.Response) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in stream.aiter_lines():
        name, _, value = line.partition(": ")
        if line and name in {"event", "id", "data"}:
            event[name] = f"{event[name]}\n{value}" if name == "data" and name in event else value
        elif not line and "event" in event:
            yield event
            event = {}


class TestAssets:
    async def test_one_is_approved_and_retired(self, page: httpx.AsyncClient, films: tuple[PlexSource, Synced]) -> None:
        _, synced = films
        [(asset,)] = await synced.rows("SELECT uuid FROM asset WHERE title = 'Film 1'")
        assert "was new" in await told(page, await page.post(f"/assets/{asset}", data={"decision": "approve"}))
        assert "was ready" in await told(page, await page.post(f"/assets/{asset}", data={"decision": "retire"}))
        assert "Unretired" in await told(page, await page.post(f"/assets/{asset}", data={"decision": "unretire"}))
        assert await synced.rows("SELECT state FROM asset WHERE title = 'Film 1'") == [("ready",)]
        history = (await page.get(f"/assets/{asset}", headers=HTML)).text
        assert "approved by " in history

    async def test_many_are_approved_after_their_number_was_shown(
        self, page: httpx.AsyncClient, films: tuple[PlexSource, Synced]
    ) -> None:
        changing, synced = films
        asked = await page.post("/assets/decide", data={"decision": "approve", "title": "Film"})
        shown = (await page.get(asked.headers["Location"], headers=HTML)).text
        assert '<data value="4">4</data> of them would be approved' in shown
        changing.add(7)
        await synced.ingest()
        form = {"decision": "approve", "title": "Film", "expected": "4"}
        refused = await told(page, await page.post("/assets/decide", data=form))
        assert "changed by another program meanwhile" in refused
        assert await synced.rows("SELECT count(*) FROM asset WHERE state = 'ready'") == [(0,)]
        form["expected"] = "5"
        assert "5 assets approved" in await told(page, await page.post("/assets/decide", data=form))
        assert await synced.rows("SELECT count(*) FROM asset WHERE state = 'ready'") == [(5,)]


class TestLibraries:
    async def test_a_mapping_is_checked_before_it_is_added(
        self, films: tuple[PlexSource, Synced], tmp_path: Path, shared_store: Store
    ) -> None:
        async with served(shared_store) as page:
            changing, synced = films
            address = f"/libraries/{synced.collection.id}"
            place = tmp_path / "disk"
            place.mkdir()
            for film in list(changing.films().values())[:3]:
                (place / Path(film.path).name).touch()
            form = {"prefix": "/data/movies", "local": str(place)}
            checked = (await page.post(address, data={"action": "check", **form})).text
            assert re.search(r'<data value="3">3</data> of <data value="4">4</data> are here', checked)
            before = (await page.post(address, data={"action": "check"})).text
            assert re.search(r'<data value="0">0</data> of <data value="4">4</data> are here', before)
            assert "Changed" in await told(page, await page.post(address, data={"action": "map", **form}))
            assert await synced.rows("SELECT local_path FROM path_mapping") == [(str(place),)]
            refused = await told(
                page, await page.post(address, data={"action": "map", "prefix": "/data", "local": "x"})
            )
            assert "absolute" in refused or "path" in refused
            await page.post(address, data={"action": "unmap", "prefix": "/data/movies"})

    async def test_its_settings_are_changed(self, films: tuple[PlexSource, Synced], shared_store: Store) -> None:
        async with served(shared_store) as page:
            _, synced = films
            await add_enricher(synced.store, "nfo", "Sidecars", {})
            await attach_enricher(synced.store, str(synced.collection.id), "Sidecars")
            address = f"/libraries/{synced.collection.id}"
            assert "Sidecars" in (await page.get(address, headers=HTML)).text
            await page.post(address, data={"action": "keep-approval"})
            await page.post(address, data={"action": "disable"})
            assert await synced.rows("SELECT keep_approval, sync_enabled FROM collection") == [(True, False)]
            found = await told(page, await page.post(f"/sources/{synced.source.id}/discover"))
            assert "1 libraries" in found


async def test_enrichers_are_added_attached_let_work_and_removed(
    films: tuple[PlexSource, Synced], shared_store: Store
) -> None:
    async with served(shared_store) as page:
        _, synced = films
        own = f"/libraries/{synced.collection.id}/enrichers"
        assert "Added: Names" in await told(
            page, await page.post("/enrichers", data={"type": "filename", "name": "Names"})
        )
        assert "can&#39;t add" in await told(page, await page.post("/enrichers", data={"type": "no-such-type"}))
        [(enricher,)] = await synced.rows("SELECT id FROM enricher")
        attach = {"action": "attach", "enricher": str(enricher), "priority": "7"}
        assert "whole number" in await told(page, await page.post(own, data={**attach, "priority": "x"}))
        [(films_,)] = await synced.rows("SELECT count(*) FROM asset")
        assert f"owes enrichments of {films_} assets" in await told(page, await page.post(own, data=attach))
        assert '<data value="7">' in (await page.get(f"/libraries/{synced.collection.id}", headers=HTML)).text
        assert "The enrichers are at work" in await told(page, await page.post(own, data={"action": "enrich"}))
        over = await seen(page, f"/libraries/{synced.collection.id}", lambda got: "Retry what failed" in got.text)
        assert f'<data value="{films_}">{films_}</data> succeeded' in over.text
        assert await synced.rows("SELECT DISTINCT state FROM asset") == [("new",)]
        assert "that was started here" in await told(page, await page.post(own, data={"action": "stop"}))
        detach = {"action": "detach", "enricher": str(enricher)}
        assert "Detached: Names" in await told(page, await page.post(own, data=detach))
        assert "has no enricher" in await told(page, await page.post(own, data={"action": "retry"}))
        remove = await page.post(f"/enrichers/{enricher}", data={"action": "remove"})
        assert "Removed: Names" in await told(page, remove)
        assert await synced.rows("SELECT id FROM enricher") == []


async def test_an_enrichment_that_is_under_way_is_not_begun_twice_and_is_stopped(
    films: tuple[PlexSource, Synced], shared_store: Store
) -> None:
    _, synced = films
    own = f"/libraries/{synced.collection.id}/enrichers"
    await add_enricher(synced.store, "filename", "Names", {})
    await attach_enricher(synced.store, str(synced.collection.id), "Names")
    async with gate(synced.store, "asset_enrichment") as closed, served(shared_store) as page:
        assert "The enrichers are at work" in await told(page, await page.post(own, data={"action": "enrich"}))
        await closed.reached()
        assert "The enrichers are at work" in await told(page, await page.post(own, data={"action": "retry"}))
        assert "being stopped" in await told(page, await page.post(own, data={"action": "stop"}))
        await closed.open()
        await seen(page, f"/libraries/{synced.collection.id}", lambda got: "Run the enrichers" in got.text)
    assert await synced.rows("SELECT count(*) FROM asset_enrichment") == [(0,)]


async def test_where_a_worker_is_there_it_works_what_the_page_starts(
    films: tuple[PlexSource, Synced], shared_store: Store
) -> None:
    async with served(shared_store) as page, worker(shared_store) as worked:
        _, synced = films
        answer = await page.post(f"/sources/{synced.source.id}/runs", data={"what": "full-sync"})
        assert (await worked.receive()).collection.id == synced.collection.id
        assert "Sync of Films" in await ended(page, answer)
        assert await synced.rows("SELECT outcome ->> 'kind' FROM requested_collection") == [("ingested",)]
        assert "Workers: A" in (await page.get("/hosts", headers=HTML)).text


async def test_jobs_that_wait_are_listed_and_stopped(films: tuple[PlexSource, Synced], shared_store: Store) -> None:
    async with served(shared_store) as page:
        _, synced = films
        asked = await request_run(synced.store, "Films")
        listed = (await page.get("/hosts", headers=HTML)).text
        assert "No worker is running" in listed
        assert str(asked.id) in listed
        nonsense = await page.post("/hosts", data={"request": "x"})
        assert "refers to something" in await told(page, nonsense)
        assert "being stopped" in await told(page, await page.post("/hosts", data={"request": str(asked.id)}))
        assert "No jobs." in (await page.get("/hosts", headers=HTML)).text
        assert await synced.rows("SELECT ended_at IS NOT NULL FROM requested_collection") == [(True,)]


async def test_schedules_are_added_run_disabled_and_removed(
    films: tuple[PlexSource, Synced], shared_store: Store
) -> None:
    async with served(shared_store) as page:
        _, synced = films
        form = {"source": str(synced.source.id), "cron": "0 4 * * *", "time_zone": "Europe/Berlin", "what": "sync"}
        assert "Added: Films: sync" in await told(page, await page.post("/schedules", data=form))
        assert "Europe/Berlin" in (await page.get("/schedules", headers=HTML)).text
        assert "cron" in await told(page, await page.post("/schedules", data={**form, "cron": "x", "name": "Y"}))
        [listing] = await list_schedules(synced.store)
        address = f"/schedules/{listing.schedule.id}"
        assert "runs" in await told(page, await page.post(address, data={"action": "run-now"}))
        changed = {"action": "change", "name": "nightly", "cron": "0 5 * * *", "time_zone": "UTC", "what": "ingest"}
        assert "Changed: nightly" in await told(page, await page.post(address, data=changed))
        assert "cron" in await told(page, await page.post(address, data={**changed, "cron": "x"}))
        [listing] = await list_schedules(synced.store)
        now = listing.schedule
        assert (now.name, now.cron, now.time_zone, now.what) == ("nightly", "0 5 * * *", "UTC", "ingest")
        assert "Disabled" in await told(page, await page.post(address, data={"action": "disable"}))
        assert "Removed" in await told(page, await page.post(address, data={"action": "remove"}))
        assert await list_schedules(synced.store) == []


async def test_the_first_run_leads_from_an_address_to_a_catalogue(shared_store: Store, media: Path) -> None:
    async with served(shared_store) as page:
        films = [movie(number, f"Film {number}", file=f"/data/movies/{number}.mkv") for number in (1, 2)]
        for number in (1, 2):
            (media / f"{number}.mkv").touch()
        plex = SimulatedPlex([ListSection("1", "Movies", "movie", films, locations=["/data/movies"])], token=TOKEN)
        async with plex.serve() as url:
            form = {"type": "plex", "url": url.removeprefix("http://"), "token": "wrong-token-here", "name": "My Plex"}
            refused = await page.post("/setup", data=form)
            assert (refused.status_code, 'role="alert"' in refused.text) == (400, True)
            assert "wrong-token-here" not in refused.text
            asked = plex.request_count
            for reference in ("file:/etc/hostname", "env:HOME", "credential:x"):
                refused = await page.post("/setup", data={**form, "token": reference})
                assert (refused.status_code, "not a reference" in refused.text) == (400, True)
            assert plex.request_count == asked
            found = await page.post("/setup", data={**form, "token": TOKEN})
            step = found.headers["Location"]
            shown = (await page.get(step, headers=HTML)).text
            assert "/data/movies" in shown
            assert TOKEN not in shown
            unready = await page.post(step, data={"library": "1", "action": "check"})
            assert (unready.status_code, "Give the directories of its files" in unready.text) == (400, True)
            chosen = {"library": "1", "local-1-0": str(media)}
            plan = (await page.post(step, data={**chosen, "action": "check"})).text
            assert "What will happen" in plan
            assert await rows(shared_store, "SELECT count(*) FROM source") == [(0,)]
            text = await ended(page, await page.post(step, data={**chosen, "action": "ingest"}))
            assert "Ingest of My Plex" in text
        assert await rows(shared_store, "SELECT title FROM asset ORDER BY title") == [("Film 1",), ("Film 2",)]
        gone = await page.get("/setup/nothing", headers=HTML)
        assert (gone.status_code, "Start again" in gone.text) == (404, True)


async def test_the_first_run_takes_directories_of_this_machine(shared_store: Store, tmp_path: Path) -> None:
    (tmp_path / "Movies").mkdir()
    (tmp_path / "Movies" / "Film (1999).mkv").write_bytes(b"x")
    async with served(shared_store) as page:
        refused = await page.post("/setup", data={"type": "filesystem", "path": "media"})
        assert (refused.status_code, "an absolute path" in refused.text) == (400, True)
        refused = await page.post("/setup", data={"type": "filesystem"})
        assert (refused.status_code, "The directory is missing" in refused.text) == (400, True)
        found = await page.post("/setup", data={"type": "filesystem", "path": str(tmp_path), "name": "Disk"})
        step = found.headers["Location"]
        assert "Movies" in (await page.get(step, headers=HTML)).text
        await ended(page, await page.post(step, data={"library": "Movies", "action": "ingest"}))
    assert await rows(shared_store, "SELECT title, year FROM asset") == [("Film", 1999)]


async def test_the_first_run_takes_a_certificate_of_ones_own(shared_store: Store, tmp_path: Path) -> None:
    async with served(shared_store) as page:
        form = {"type": "plex", "url": "https://127.0.0.1:1", "token": TOKEN, "ca_file": str(tmp_path / "no.pem")}
        refused = await page.post("/setup", data=form)
        assert (refused.status_code, "no.pem" in refused.text) == (400, True)
        assert f'value="{tmp_path / "no.pem"}"' in refused.text
