"""What authors of importers test them with: a conformance kit, and importers that misbehave.

Nothing of it needs pytest. ``ImporterConformance`` is a base class that pytest, or anything that calls methods named
``test_…``, can run; the functions behind it raise AssertionError with a text that says what to mend.
"""

from retrovue.testing.conformance import (
    ImporterConformance,
    check_cancellation,
    check_closing,
    check_compliance,
    check_discovery,
    check_enumeration,
    check_ingestible,
    check_reachable,
    check_repetition,
    sample_collection,
)

__all__ = [
    "ImporterConformance",
    "check_cancellation",
    "check_closing",
    "check_compliance",
    "check_discovery",
    "check_enumeration",
    "check_ingestible",
    "check_reachable",
    "check_repetition",
    "sample_collection",
]
