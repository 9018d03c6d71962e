"""Where the time went, what is logged, and what OpenTelemetry is told."""

import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from retrovue import discover, ingest_source, waiting_for_source
from retrovue.core.model import PathMapping, Secret
from retrovue.core.results import Durations, Ingested
from retrovue.errors import CollectionGone
from retrovue.simulator import Fault, SimulatedPlex, faults
from retrovue.store.collections import find_collection, set_check_files, set_enabled, set_path_mappings
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support.library import Library, codes, draft, page, rows
from tests.support.plex import IMPATIENT, TOKEN
from tests.support.world import movies

pytestmark = pytest.mark.anyio

SPELL = 0.05
"""Seconds. What is asserted of a time is only that it isn't less than what certainly passed."""


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture
async def plex(store: Store, tmp_path: Path) -> AsyncIterator[SimulatedPlex]:
    """A source "Plex" with its library Movies enabled."""
    plex = SimulatedPlex([movies()], token=TOKEN)
    async with plex.serve() as url:
        source = new_source("plex", "Plex", {"base_url": url, **IMPATIENT}, {"token": Secret(TOKEN)})
        async with store.transaction() as session:
            await insert_source(session, source)
        await discover(store, "Plex")
        async with store.transaction() as session:
            collection = await find_collection(session, "Movies")
            await set_path_mappings(session, collection, [PathMapping("/data/movies", str(tmp_path))])
            await set_enabled(session, collection, enabled=True)
            await set_check_files(session, collection, check_files=False)
        yield plex


async def ingested(store: Store) -> Ingested:
    async with ingest_source(store, "Plex") as run:
        pass
    (outcome,) = run.summary.outcomes
    assert isinstance(outcome, Ingested), outcome
    return outcome


class TestDurations:
    async def test_work_of_an_importer_is_not_waiting(self, library: Library) -> None:
        async def wait() -> None:
            with waiting_for_source():
                await anyio.sleep(SPELL)

        async def work() -> None:
            time.sleep(SPELL)  # noqa: ASYNC251 - work holds up the loop

        spent = (await library.ingest_one(wait, page(draft("a")), work, page(draft("b")))).durations
        assert spent.waiting_for_source >= SPELL
        assert spent.reading >= SPELL
        phases = spent.waiting_for_source + spent.reading + spent.enriching + spent.staging + spent.merging
        assert phases <= spent.total

    async def test_one_that_does_not_tell_waits_all_the_time(self, library: Library) -> None:
        async def pause() -> None:
            await anyio.sleep(SPELL)

        spent = (await library.ingest_one(pause, page(draft("a")))).durations
        assert spent.waiting_for_source >= SPELL
        assert spent.reading == 0

    async def test_waiting_within_waiting_counts_once(self, library: Library) -> None:
        async def wait() -> None:
            with waiting_for_source(), waiting_for_source():
                await anyio.sleep(SPELL)

        spent = (await library.ingest_one(wait, page(draft("a")))).durations
        assert spent.waiting_for_source + spent.reading + spent.staging + spent.merging <= spent.total

    async def test_a_slow_plex_server_is_waited_for(self, store: Store, plex: SimulatedPlex) -> None:
        plex.faults.add(Fault(faults.delay(2 * SPELL), path="/library/sections/1/all"))
        assert (await ingested(store)).durations.waiting_for_source >= 2 * SPELL

    @pytest.mark.usefixtures("plex")
    async def test_reading_what_plex_sent_is_our_own_work(self, store: Store) -> None:
        spent = (await ingested(store)).durations
        assert spent.reading > 0
        (kept,) = await rows(store, "SELECT details -> 'durations' FROM ingest_outcome")
        assert Durations(**kept[0]) == spent

    async def test_outside_of_an_ingest_nothing_is_measured(self) -> None:
        with waiting_for_source():
            await anyio.lowlevel.checkpoint()


class TestLogs:
    async def test_records_say_which_run_and_collection(
        self, library: Library, caplog: pytest.LogCaptureFixture
    ) -> None:
        many = await Library.make(library.store, "A", "B")
        caplog.clear()
        summary = await many.ingest({"A": [page(draft("a"))], "B": [CollectionGone("gone")]})
        ids = {name: str(known.id) for name, known in (await many.collections()).items()}
        ours = [record for record in caplog.records if record.name.startswith("retrovue")]
        assert {getattr(record, "run_id", None) for record in ours} == {str(summary.run_id)}
        said = {(record.levelname, record.getMessage().split(" in ")[0], _collection(record)) for record in ours}
        assert said == {
            ("INFO", "Run started: 2 collections of 'A source'", None),
            ("INFO", "Collection 'A' of source 'A source' started", ids["A"]),
            ("INFO", "Collection 'B' of source 'A source' started", ids["B"]),
            ("INFO", "Collection 'A' of source 'A source' finished", ids["A"]),
            ("ERROR", "Collection 'B' of source 'A source' failed: gone_from_source", ids["B"]),
            ("INFO", "Run finished", None),
        }

    async def test_a_question_that_is_asked_again_is_told(
        self, store: Store, plex: SimulatedPlex, caplog: pytest.LogCaptureFixture
    ) -> None:
        plex.faults.add(Fault(faults.status(503), path="/library/sections/1/all", times=1))
        outcome = await ingested(store)
        (retry,) = [one for one in caplog.records if one.name == "retrovue.importers.http.client"]
        assert retry.levelno == logging.WARNING
        assert "/library/sections/1/all" in retry.getMessage()
        assert _collection(retry) == str(outcome.collection.id)
        assert TOKEN not in caplog.text

    def test_without_a_handler_of_the_host_nothing_is_printed(self) -> None:
        program = "import logging, retrovue; logging.getLogger('retrovue.x').error('boom')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _collection(record: logging.LogRecord) -> str | None:
    return getattr(record, "collection_id", None)


@pytest.fixture(scope="module")
def providers() -> tuple[InMemorySpanExporter, InMemoryMetricReader]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracing)  # once in a process
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    return exporter, reader


@pytest.fixture
def spans(providers: tuple[InMemorySpanExporter, InMemoryMetricReader]) -> InMemorySpanExporter:
    providers[0].clear()
    return providers[0]


class TestTelemetry:
    async def test_spans_nest_from_the_run_to_the_page(self, library: Library, spans: InMemorySpanExporter) -> None:
        with trace.get_tracer("host").start_as_current_span("host"):
            await library.ingest_one(page(draft("a")), page(draft("b")))
        found = spans.get_finished_spans()
        assert _tree(found, None) == {
            "host": {"retrovue.run": {"retrovue.collection": {"retrovue.read_page": {}, "retrovue.merge": {}}}}
        }
        assert sum(span.name == "retrovue.read_page" for span in found) == 3  # the last one finds the end
        (collection,) = [span for span in found if span.name == "retrovue.collection"]
        assert collection.attributes is not None
        assert collection.attributes["retrovue.outcome"] == "ingested"
        assert collection.attributes["retrovue.created"] == 2
        assert collection.status.status_code is StatusCode.UNSET

    async def test_a_failure_is_an_error_with_its_code_and_nothing_else(
        self, library: Library, spans: InMemorySpanExporter
    ) -> None:
        library.script.listings["Movies"] = [CollectionGone("gone, said somebody's importer")]
        assert codes(await library.ingest({})) == {"Movies": "gone_from_source"}
        (collection,) = [span for span in spans.get_finished_spans() if span.name == "retrovue.collection"]
        assert (collection.status.status_code, collection.status.description) == (StatusCode.ERROR, "gone_from_source")
        assert not any("somebody" in span.to_json() for span in spans.get_finished_spans())

    async def test_metrics_count_items_and_outcomes(
        self, library: Library, providers: tuple[InMemorySpanExporter, InMemoryMetricReader]
    ) -> None:
        outcome = await library.ingest_one(page(draft("a"), draft("b"), draft("c", "a.mkv")))
        source = str(library.source.id)
        read = providers[1].get_metrics_data()
        assert read is not None
        points = {
            (metric.name, *(point.attributes[key] for key in point.attributes if key != "retrovue.source_id")): point
            for resource in read.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if point.attributes is not None and point.attributes.get("retrovue.source_id") == source
        }
        assert points["retrovue.collections", "ingested"].value == 1  # type: ignore[union-attr]
        assert points["retrovue.items", "created"].value == 2  # type: ignore[union-attr]
        assert points["retrovue.items", "duplicates"].value == 1  # type: ignore[union-attr]
        assert points["retrovue.collection.duration", "total"].sum == outcome.durations.total  # type: ignore[union-attr]

    def test_nobody_loads_it_but_the_host(self) -> None:
        program = "import sys, retrovue; retrovue.ingest_source; print('opentelemetry' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "False"


def _tree(spans: tuple[ReadableSpan, ...], parent: int | None) -> dict[str, object]:
    children = [span for span in spans if (span.parent.span_id if span.parent else None) == parent]
    return {span.name: _tree(spans, span.context.span_id) for span in children if span.context is not None}
