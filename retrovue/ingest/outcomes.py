"""Encode the options of runs and the outcomes of collections as JSON for the database.

A program that follows workers decodes them, and gets the same summary as from a run in its own process.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from retrovue.core.results import CollectionOutcome, Enriched, Failed, Ingested, Skipped
from retrovue.core.text import storable
from retrovue.ingest.options import IngestOptions

_KINDS: dict[str, type[CollectionOutcome]] = {"ingested": Ingested, "skipped": Skipped, "failed": Failed}


def encoded(outcome: CollectionOutcome) -> str:
    """Encode an outcome."""
    kind = next(name for name, type_ in _KINDS.items() if isinstance(outcome, type_))
    return _text({"kind": kind, "outcome": outcome})


def encoded_all(outcomes: Sequence[Skipped]) -> str:
    """Encode outcomes of collections that aren't targeted."""
    return _text(outcomes)


def decoded(text: str) -> CollectionOutcome:
    """Decode an outcome."""
    document = msgspec.json.decode(text)
    return msgspec.convert(document["outcome"], _KINDS[document["kind"]])


def decoded_all(text: str) -> list[Skipped]:
    """Decode outcomes of collections that aren't targeted."""
    return msgspec.json.decode(text, type=list[Skipped])


def encoded_options(options: IngestOptions) -> str:
    """Encode the options of a run."""
    return _text(options)


def decoded_options(text: str) -> IngestOptions:
    """Decode the options of a run."""
    return msgspec.json.decode(text, type=IngestOptions)


def work_of(options: IngestOptions) -> IngestOptions:
    """Return the options that affect the work on a single collection.

    Requests for which these are equal share one run.
    """
    default = IngestOptions()
    return replace(options, strict=default.strict, retry_failed=False, concurrency=default.concurrency)


def encoded_enriched(result: Enriched) -> str:
    """Encode the result of an enrichment."""
    return _text(result)


def decoded_enriched(text: str) -> Enriched:
    """Decode the result of an enrichment."""
    return msgspec.json.decode(text, type=Enriched)


def _text(value: Any) -> str:
    # Importers may put any value into the context of an error.
    return msgspec.json.encode(storable(msgspec.to_builtins(value, enc_hook=str))).decode()
