"""The errors that RetroVue raises.

    RetrovueError
    ├ RequestError            what was asked for can't be done: the caller has to change it
    │ ├ NotFound              no such source or collection
    │ ├ Ambiguous             a name that fits several
    │ ├ UnsupportedImporter   no importer of that type is installed
    │ ├ ImporterNotCompliant  an importer that doesn't implement ImporterInterface
    │ ├ NothingEligible       no collection of the source may be ingested
    │ ├ ScopeNotFound         the title, season or episode asked for isn't there
    │ ├ UnsupportedEnricher   no enricher of that type is installed
    │ └ EnricherNotCompliant  an enricher that doesn't implement EnricherInterface, or can't run with its parameters
    ├ SourceError             the source can't be read
    │ ├ SourceUnreachable     DNS, connect, TLS, time-out, server error
    │ ├ SourceRefused         the token was refused
    │ ├ WrongIdentity         another server answers at the address
    │ ├ CollectionGone        the source no longer has the collection
    │ ├ DiscoveryUnsupported  the importer can't list collections
    │ ├ MalformedAnswer       the answer isn't what the source's API promises
    │ ├ IncompleteEnumeration what was read isn't proven to be the whole collection
    │ └ ImporterFailed        a bug of the importer: it raised, hung, or returned what it must not
    ├ EnrichmentError         one asset can't be enriched; it never leaves the enrichment
    └ StoreError              the catalogue can't be used
      ├ StoreUnavailable      the database can't be reached or doesn't answer
      ├ SchemaMismatch        the database's schema is missing, behind or ahead
      ├ AlreadyRunning        another ingest holds the collection
      └ CommitUnknown         the answer to COMMIT was lost

Every error carries a stable ``code`` for programs, a ``message`` for people, a ``hint`` that says what to do next
(its own, else that of ``retrovue.core.guide``), and a ``context`` of plain JSON values. Passwords and tokens in
addresses are taken out of all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from retrovue.core.guide import advice
from retrovue.core.text import plain, safe_text

__all__ = [
    "AlreadyRunning",
    "Ambiguous",
    "CollectionGone",
    "CommitUnknown",
    "DiscoveryUnsupported",
    "EnricherNotCompliant",
    "EnrichmentError",
    "ImporterFailed",
    "ImporterNotCompliant",
    "IncompleteEnumeration",
    "MalformedAnswer",
    "NotFound",
    "NothingEligible",
    "RequestError",
    "RetrovueError",
    "SchemaMismatch",
    "ScopeNotFound",
    "SourceError",
    "SourceRefused",
    "SourceUnreachable",
    "StoreError",
    "StoreUnavailable",
    "UnsupportedEnricher",
    "UnsupportedImporter",
    "WrongIdentity",
]


class RetrovueError(Exception):
    """Something went wrong that RetroVue can explain."""

    default_code: ClassVar[str] = "error"
    unreachable: ClassVar[bool] = False
    """Whether the failure means that the source could not be reached (exit status 3)."""

    # Values of the class, for plugins whose subclasses don't call this constructor.
    message: str = ""
    code: str = default_code
    hint: str | None = None
    context: dict[str, Any]

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(safe_text(message))
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        self.context = dict(context or {})
        self.normalize()

    def normalize(self) -> None:
        """Make message, hint and context text and plain JSON, without passwords, and fill in the hint from the guide.

        Whoever takes an error over from a plugin calls it again, as a plugin may have changed what it says.
        """
        self.message = safe_text(self.message or type(self).__name__)
        self.code = str(vars(self).get("code") or self.default_code)
        self.hint = safe_text(self.hint or advice(self.code, self.default_code) or "") or None
        self.context = plain(vars(self).get("context") or {})


def normalized(error: RetrovueError) -> bool:
    """Normalize an error that a plugin raised; return False if that fails, which is the plugin's bug."""
    try:
        error.normalize()
    except Exception:  # noqa: BLE001 - whatever a plugin has put into it
        return False
    return True


class RequestError(RetrovueError):
    """What was asked for can't be done."""

    default_code = "bad_request"


def require_within(what: str, number: int, least: int, most: int, *, code: str) -> None:
    """Raise RequestError with a code unless a number that was given is within its bounds, themselves included."""
    if not least <= number <= most:
        raise RequestError(f"{what} is a whole number from {least:,} to {most:,}, not {number:,}.", code=code)


class NotFound(RequestError):
    """There is no such source or collection."""

    default_code = "not_found"


class Ambiguous(RequestError):
    """The name fits several sources or collections; the candidates are in the context."""

    default_code = "ambiguous"


class UnsupportedImporter(RequestError):
    """No importer of that type is installed."""

    default_code = "unsupported_importer"


class ImporterNotCompliant(RequestError):
    """The importer doesn't implement ImporterInterface."""

    default_code = "importer_not_compliant"


class NothingEligible(RequestError):
    """No collection of the source may be ingested; the code says which of the reasons holds."""

    default_code = "no_ingestible_collections"


class ScopeNotFound(RequestError):
    """The title, season or episode asked for doesn't exist in the collection."""

    default_code = "scope_not_found"


class UnsupportedEnricher(RequestError):
    """No enricher of that type is installed."""

    default_code = "unsupported_enricher"


class EnricherNotCompliant(RequestError):
    """The enricher doesn't implement EnricherInterface, or can't run with its parameters."""

    default_code = "enricher_not_compliant"


class SourceError(RetrovueError):
    """The source can't be read."""

    default_code = "source_error"


class SourceUnreachable(SourceError):
    """The source didn't answer: DNS, connect, TLS, time-out or a server error after all retries."""

    default_code = "source_unreachable"
    unreachable = True


class SourceRefused(SourceError):
    """The source refused the credentials."""

    default_code = "auth"


class WrongIdentity(SourceError):
    """Another server answers at the source's address."""

    default_code = "wrong_identity"


class CollectionGone(SourceError):
    """The source no longer has the collection."""

    default_code = "gone_from_source"


class DiscoveryUnsupported(SourceError):
    """The importer can't list collections; the operator adds them by other means."""

    default_code = "discovery_unsupported"


class MalformedAnswer(SourceError):
    """The answer isn't what the source's API promises."""

    default_code = "malformed_answer"


class IncompleteEnumeration(SourceError):
    """What was read isn't proven to be the whole collection."""

    default_code = "incomplete_enumeration"


class ImporterFailed(SourceError):
    """A bug of the importer: it raised, hung, or returned what it must not."""

    default_code = "importer_failed"


class EnrichmentError(RetrovueError):
    """One asset can't be enriched; an enricher raises it, and it is recorded for that asset."""

    default_code = "enrichment_failed"


class StoreError(RetrovueError):
    """The catalogue can't be used."""

    default_code = "store_error"


class StoreUnavailable(StoreError):
    """The database can't be reached or doesn't answer."""

    default_code = "database_unavailable"


class SchemaMismatch(StoreError):
    """The database's schema is missing, behind or ahead of this program."""

    default_code = "schema_outdated"


class AlreadyRunning(StoreError):
    """Another ingest holds the collection; the context names the holder."""

    default_code = "already_running"


class CommitUnknown(StoreError):
    """The connection broke while COMMIT was under way: the outcome has to be read back."""

    default_code = "commit_unknown"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it is reported, in JSON or to a person; unlike an exception it crosses tasks and is stored."""

    code: str
    message: str
    hint: str | None = None
    """What to do next. None takes the guide's advice about the code."""
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    collection: Mapping[str, Any] | None = None
    """The collection that failed, if the problem is about a single one."""

    def __post_init__(self) -> None:
        if self.hint is None:
            object.__setattr__(self, "hint", advice(self.code))

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the problem."""
        fields = {"code": self.code, "message": self.message, "hint": self.hint, "context": dict(self.context)}
        return fields if self.collection is None else {**fields, "collection": dict(self.collection)}
