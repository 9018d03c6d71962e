"""Conformance kits for the authors of importers and enrichers, and plugins that misbehave.

Nothing here needs pytest. ``ImporterConformance`` and ``EnricherConformance`` are base classes whose ``test_…`` methods
pytest or any other runner can call. The functions behind them raise AssertionError with a text that says what to fix.
"""

from retrovue.testing.conformance import (
    ImporterConformance,
    check_cancellation,
    check_change_state,
    check_closing,
    check_compliance,
    check_discovery,
    check_enumeration,
    check_ingestible,
    check_reachable,
    check_repetition,
    check_source_state,
    check_stamps,
    sample_collection,
)
from retrovue.testing.enricher_conformance import (
    EnricherConformance,
    check_answers,
    check_enricher_cancellation,
    check_enricher_closing,
    check_enricher_compliance,
    check_same_alone,
    check_same_beside,
    check_unchanged,
    sample_asset,
)
from retrovue.testing.misbehaving import hold_again, let_go
from retrovue.testing.parts import check_changes, check_items
from retrovue.testing.resuming import check_resuming

__all__ = [
    "EnricherConformance",
    "ImporterConformance",
    "check_answers",
    "check_cancellation",
    "check_change_state",
    "check_changes",
    "check_closing",
    "check_compliance",
    "check_discovery",
    "check_enricher_cancellation",
    "check_enricher_closing",
    "check_enricher_compliance",
    "check_enumeration",
    "check_ingestible",
    "check_items",
    "check_reachable",
    "check_repetition",
    "check_resuming",
    "check_same_alone",
    "check_same_beside",
    "check_source_state",
    "check_stamps",
    "check_unchanged",
    "hold_again",
    "let_go",
    "sample_asset",
    "sample_collection",
]
