"""Spans and metrics of OpenTelemetry. Does nothing unless the host program has imported its API.

RetroVue never imports OpenTelemetry first and doesn't depend on it: a host program that wants spans and metrics imports
the API to configure it. The cost is one span for each page; without the API, one look-up in a dictionary.

Spans: ``retrovue.run`` → ``retrovue.collection`` → ``retrovue.read_page``, ``retrovue.merge``. Metrics: the counters
``retrovue.collections`` (by outcome) and ``retrovue.items`` (by result), and the histogram
``retrovue.collection.duration`` (seconds, by phase). Attributes hold the id and name of a source, and nothing else of
it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec.structs import fields

from retrovue.core.results import CollectionOutcome, Durations, Failed, Ingested, Skipped
from retrovue.core.verdicts import COUNTS, EXCLUSIVE

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_NAME = "retrovue"


@contextmanager
def span(name: str, **attributes: str | int) -> "Iterator[Span | None]":
    """Run the block in a span ``retrovue.<name>`` within the current span. Yields None without OpenTelemetry."""
    if "opentelemetry.trace" not in sys.modules:
        yield None
        return
    from opentelemetry import trace  # noqa: PLC0415 - only if the host program has imported it

    tracer = trace.get_tracer(_NAME, version(_NAME))
    # Exceptions aren't recorded, as their text may hold secrets. The outcome has the redacted text.
    with tracer.start_as_current_span(
        f"{_NAME}.{name}",
        attributes={f"{_NAME}.{key}": value for key, value in attributes.items()},
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        yield current


def describe(current: "Span | None", outcome: CollectionOutcome | None) -> None:
    """Add the outcome to a collection's span; None means interrupted."""
    if current is None or not current.is_recording():
        return
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    current.set_attribute(f"{_NAME}.outcome", _word(outcome))
    if isinstance(outcome, Ingested | Failed):
        for name in COUNTS:
            current.set_attribute(f"{_NAME}.{name}", getattr(outcome.counts, name))
    if isinstance(outcome, Failed):
        current.set_attribute(f"{_NAME}.code", outcome.code)
        current.set_status(StatusCode.ERROR, outcome.code)


def count(outcome: CollectionOutcome) -> None:
    """Add an outcome to the metrics."""
    if "opentelemetry.metrics" not in sys.modules:
        return
    from opentelemetry import metrics  # noqa: PLC0415

    meter = metrics.get_meter(_NAME, version(_NAME))
    source = {f"{_NAME}.source_id": str(outcome.collection.source_id)}
    collections = meter.create_counter(f"{_NAME}.collections", description="Collections, by outcome")
    collections.add(1, {**source, f"{_NAME}.outcome": _word(outcome)})
    if isinstance(outcome, Skipped):
        return
    items = meter.create_counter(f"{_NAME}.items", description="Versions of items, by verdict")
    for result in EXCLUSIVE:
        items.add(getattr(outcome.counts, result), {**source, f"{_NAME}.result": result})
    duration = meter.create_histogram(f"{_NAME}.collection.duration", "s", "Where a collection's time went")
    for phase in fields(Durations):
        duration.record(getattr(outcome.durations, phase.name), {**source, f"{_NAME}.phase": phase.name})


def _word(outcome: CollectionOutcome | None) -> str:
    match outcome:
        case Ingested():
            return "ingested"
        case Skipped():
            return "skipped"
        case Failed(interrupted=False):
            return "failed"
        case _:
            return "interrupted"
