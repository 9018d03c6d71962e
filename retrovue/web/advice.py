"""Hints on the web page: a command that the page can also perform is followed by a link to the place for it."""

from typing import Final

from markupsafe import Markup, escape

_LIBRARY: Final = ("/", "on the library's page")
_SOURCE: Final = ("/", "on the source's page")
PAGES: Final = {
    "quickstart": ("/setup", "Add a source"),
    "source add": ("/setup", "Add a source"),
    "source list": ("/", "Overview"),
    **dict.fromkeys(("source show", "source discover", "source ingest", "source sync"), _SOURCE),
    **dict.fromkeys(
        (
            "collection list", "collection show", "collection update", "collection ingest", "collection sync",
            "collection attach-enricher", "collection detach-enricher", "collection enrich",
        ),
        _LIBRARY,
    ),
    **dict.fromkeys(
        ("asset list", "asset show", "asset approve", "asset retire", "asset unretire"), ("/assets", "Assets")
    ),
    "asset changes": ("/changes", "Changes"),
    **dict.fromkeys(("ingest log", "ingest show"), ("/runs", "Runs")),
    "ingest rejected": ("/rejected", "Rejected items"),
    **dict.fromkeys(("enricher add", "enricher list", "enricher remove"), ("/enrichers", "Enrichers")),
    **dict.fromkeys(
        (
            "schedule add", "schedule list", "schedule show", "schedule update", "schedule remove",
            "schedule run-now",
        ),
        ("/schedules", "Schedules"),
    ),
    "doctor": ("/doctor?examine=yes", "Doctor"),
}  # fmt: skip
"""For each command that the page can also perform, the address and name of the page for it."""


def hint_markup(hint: str | None) -> Markup:
    """Return the markup of a hint: text in backticks as code, followed by a link where the page does the same."""
    written = Markup()
    for number, text in enumerate((hint or "").split("`")):
        if number % 2 == 0:
            written += escape(text)
            continue
        written += Markup("<code>{}</code>").format(text)
        words = text.removeprefix("retrovue ").split()
        found = PAGES.get(" ".join(words[:2])) or PAGES.get(" ".join(words[:1]))
        if found is not None and text.startswith("retrovue "):
            written += Markup(' (here: <a href="{}">{}</a>)').format(*found)
    return written
