"""The codes of errors, skipped collections and failed enrichments: what each means and what to do next.

An error without its own hint takes the hint from here. ``docs/reference/errors.md`` is generated from this table,
and a test compares the table with the codes that the program uses.
"""

from collections.abc import Mapping

from retrovue.core.guide.advice import Advice
from retrovue.core.guide.catalogue import CATALOGUE
from retrovue.core.guide.enrichers import ENRICHERS
from retrovue.core.guide.page import PAGE
from retrovue.core.guide.requests import REQUESTS
from retrovue.core.guide.sources import SOURCES

GUIDE: Mapping[str, Advice] = {**REQUESTS, **SOURCES, **ENRICHERS, **CATALOGUE, **PAGE}


def advice(*codes: str) -> str | None:
    """Return what to do about the first code that the guide has; None if it has none of them."""
    return next((GUIDE[code].do for code in codes if code in GUIDE), None)
