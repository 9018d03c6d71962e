"""Check the answers of importers: pages, outlines, and the types of all others."""

from collections.abc import Sequence
from typing import TypeVar

from retrovue.core.bounds import LONGEST_BOOKMARK, LONGEST_PAGE_STAMP
from retrovue.core.errors import ImporterFailed
from retrovue.core.pages import AssetDraft, Outline, Page, Rejection
from retrovue.core.text import quoted, without_secrets
from retrovue.importers.drafts import draft_problem, without_secret_forms
from retrovue.importers.states import changes_problem

MOST_DRAFTS = 20_000
"""The most drafts of one page. A page is checked in one step, which delays the run. The longest show has 16,000
episodes.
"""

T = TypeVar("T")


def importer_bug(type_name: str, what: str, raised: BaseException) -> ImporterFailed:
    """Make the error for an exception that an importer must not raise."""
    return ImporterFailed(
        f"The importer {quoted(type_name)} failed in {what}: {type(raised).__name__}.",
        hint="This is a bug of the importer; the traceback is in the audit trail.",
    )


class AnswerChecks:
    """Checks the answers of one importer. All methods raise ImporterFailed for an invalid answer."""

    def __init__(self, type_name: str, *, ours: bool, drafts_are_checked: bool, secrets: tuple[str, ...]) -> None:
        """``ours`` means that the importer is RetroVue's own. ``secrets`` are removed from all its texts."""
        self._type_name = type_name
        self._ours = ours
        self._drafts_are_checked = drafts_are_checked
        self._secrets = secrets

    def page(self, page: object) -> Page:
        """Check a page, and reject its drafts that the catalogue can't store; raises ImporterFailed."""
        page = self.expect(Page, page)
        if not self._ours and len(page.drafts) > MOST_DRAFTS:
            raise ImporterFailed(
                f"The importer {quoted(self._type_name)} gave a page of {len(page.drafts)} drafts;"
                f" {MOST_DRAFTS} is the most.",
                hint="This is a bug of the importer: it has to give its listing in pages.",
            )
        self._check_total(page)
        if page.changes is not None and (problem := changes_problem(page.changes)) is not None:
            raise self.wrong(problem)
        self._check_bookmark(page)
        if not self._ours:
            page.text, page.last = None, False
        for draft in page.drafts:
            if type(draft) is not AssetDraft:
                self.expect(AssetDraft, draft)
        self._check_stamp(page.stamp)
        if not self._ours:
            page.summary = None
        if not self._drafts_are_checked:
            self._check_rejections(page.rejected)
            drafts, page.drafts = page.drafts, []
            for draft in drafts:
                problem = draft_problem(draft)
                if problem is None:
                    page.drafts.append(without_secret_forms(draft, self._secrets))
                else:
                    reason = f"The importer {quoted(self._type_name)} gave a draft that can't be used: {problem}"
                    page.rejected.append(Rejection("bad_draft", reason, str(draft.source_uri), str(draft.title)))
        return page

    def outline(self, outline: Outline) -> Outline:
        """Check an outline; raises ImporterFailed."""
        if not self._ours:
            outline.text, outline.last = None, False
        if len(outline.source_uris) != len(outline.source_paths) or (outline.recognised and outline.text is None):
            # A draft without paths could be taken for an asset of the catalogue.
            raise importer_bug(self._type_name, "enumerate", ValueError())
        self._check_stamp(outline.stamp)
        self._check_total(outline)
        self._check_bookmark(outline)
        if not self._drafts_are_checked:
            for uri in outline.source_uris:
                self.expect(str, uri)
            outline.source_uris = without_secrets(outline.source_uris, self._secrets)
            self._check_rejections(outline.rejected)
        return outline

    def _check_stamp(self, stamp: object) -> None:
        if stamp is not None and len(self.expect(bytes, stamp)) > LONGEST_PAGE_STAMP:
            raise ImporterFailed(
                f"The importer {quoted(self._type_name)} gave a page's stamp of {len(self.expect(bytes, stamp))} bytes;"
                f" {LONGEST_PAGE_STAMP} are the most.",
                hint="This is a bug of the importer: a stamp is a hash of what the page is made from.",
            )

    def _check_bookmark(self, page: Page | Outline) -> None:
        if page.bookmark is not None and len(self.expect(bytes, page.bookmark)) > LONGEST_BOOKMARK:
            raise ImporterFailed(
                f"The importer {quoted(self._type_name)} gave a bookmark of {len(page.bookmark):,} bytes;"
                f" {LONGEST_BOOKMARK:,} are the most.",
                hint="This is a bug of the importer: a bookmark is of one page.",
            )

    def _check_total(self, page: Page | Outline) -> None:
        if page.source_total is not None:
            self.expect(int, page.source_total)

    def _check_rejections(self, rejected: Sequence[object]) -> None:
        for value in rejected:
            rejection = self.expect(Rejection, value)
            for text in (rejection.code, rejection.reason, rejection.source_uri or "", rejection.title or ""):
                self.expect(str, text)

    def expect(self, wanted: type[T], value: object) -> T:
        """Return a value that must have a type; raises ImporterFailed."""
        if not isinstance(value, wanted):
            raise self.wrong(f"returned a {type(value).__name__} where a {wanted.__name__} belongs")
        return value

    def wrong(self, problem: str) -> ImporterFailed:
        """Make the error for an invalid answer of an importer; ``problem`` follows the importer's name."""
        return ImporterFailed(
            f"The importer {quoted(self._type_name)} {problem}.",
            hint="This is a bug of the importer; report it to its authors.",
        )
