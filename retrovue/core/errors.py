"""The errors that RetroVue raises.

    RetrovueError
    ├ RequestError            the request can't be carried out; the caller has to change it
    │ ├ NotFound              no such source, collection, …
    │ ├ Ambiguous             several of them have the name
    │ ├ UnsupportedImporter   no importer of that type is installed
    │ ├ ImporterNotCompliant  an importer that doesn't implement ImporterInterface
    │ ├ NothingEligible       no collection of the source may be ingested
    │ ├ ScopeNotFound         the collection has no such title, season or episode
    │ ├ CursorExpired         the feed of changes can't be read from this cursor
    │ ├ UnsupportedEnricher   no enricher of that type is installed
    │ └ EnricherNotCompliant  an enricher that doesn't implement EnricherInterface, or can't run with its parameters
    ├ SourceError             the source can't be read
    │ ├ SourceUnreachable     the source doesn't answer: DNS, connect, TLS, time-out, server error
    │ ├ SourceRefused         the source refuses the token
    │ ├ WrongIdentity         another server answers at the address
    │ ├ CollectionGone        the source no longer has the collection
    │ ├ DiscoveryUnsupported  the importer can't list collections
    │ ├ MalformedAnswer       the answer doesn't follow the source's API
    │ ├ IncompleteEnumeration the listing isn't proven to be complete
    │ ├ FilesNotFound         the files that the source lists aren't on this machine
    │ └ ImporterFailed        a bug of the importer: it raises, hangs, or returns invalid data
    ├ EnrichmentError         one asset can't be enriched; recorded for that asset, never raised by an ingest
    └ StoreError              the catalogue can't be used
      ├ StoreUnavailable      the database can't be reached or doesn't answer
      ├ SchemaMismatch        the database's schema is missing, behind or ahead
      ├ AlreadyRunning        another command holds the lock of the collection
      └ CommitUnknown         the answer to COMMIT was lost

Every error has a stable ``code`` for programs, a ``message`` for people, a ``hint`` that says what to do next (from
``retrovue.core.guide`` if the error has none of its own), and a ``context`` of plain JSON values. None of them holds
a password or token of an address.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct, field
from msgspec.structs import force_setattr

from retrovue.core.guide import advice
from retrovue.core.text import plain, safe_text

__all__ = [
    "AlreadyRunning", "Ambiguous", "ChangesUnknown", "CollectionGone", "CommitUnknown", "CursorExpired",
    "DiscoveryUnsupported", "EnricherNotCompliant", "EnrichmentError", "FilesNotFound",
    "ImporterFailed", "ImporterNotCompliant", "IncompleteEnumeration", "MalformedAnswer", "NotFound",
    "NothingEligible", "RequestError", "RetrovueError", "SchemaMismatch", "ScopeNotFound", "SourceError",
    "SourceRefused", "SourceUnreachable", "StoreError", "StoreUnavailable", "UnsupportedEnricher",
    "UnsupportedImporter", "WrongIdentity",
]  # fmt: skip


class RetrovueError(Exception):
    """The base class of all errors that RetroVue raises on purpose."""

    default_code: ClassVar[str] = "error"
    unreachable: ClassVar[bool] = False
    """Whether the source could not be reached (exit status 3)."""

    # Class attributes, for subclasses in plugins that don't call this constructor.
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
        """Convert message and hint to text and the context to plain JSON, redact all, and add the guide's hint.

        Call it again for an error that a plugin raised: the plugin may have changed the attributes.
        """
        self.message = safe_text(self.message or type(self).__name__)
        self.code = str(vars(self).get("code") or self.default_code)
        self.hint = safe_text(self.hint or advice(self.code, self.default_code) or "") or None
        self.context = plain(vars(self).get("context") or {})


def normalized(error: RetrovueError) -> bool:
    """Normalize an error that a plugin raised. Return False if that fails, which is a bug of the plugin."""
    try:
        error.normalize()
    except Exception:  # noqa: BLE001 - the attributes are the plugin's objects
        return False
    return True


class RequestError(RetrovueError):
    """The request can't be carried out; the caller has to change it."""

    default_code = "bad_request"


def require_within(what: str, number: int, least: int, most: int, *, code: str) -> None:
    """Raise RequestError with the given code unless ``least <= number <= most``. ``what`` begins the message."""
    if not least <= number <= most:
        raise RequestError(f"{what} is a whole number from {least:,} to {most:,}, not {number:,}.", code=code)


def changed_meanwhile(what: str) -> RequestError:
    """Make the error for an object that another program changed between being read and being locked."""
    return RequestError(
        f"{what} was changed by another program meanwhile.",
        code="conflict",
        hint="Nothing was changed. Look at it, then run the command again.",
    )


class NotFound(RequestError):
    """The catalogue has no object of that name or id."""

    default_code = "not_found"


class Ambiguous(RequestError):
    """Several objects have the name; the context lists them."""

    default_code = "ambiguous"


class CursorExpired(RequestError):
    """The feed of changes can't be read from this cursor: changes after it were removed, or it is from another feed."""

    default_code = "cursor_expired"


class UnsupportedImporter(RequestError):
    """No importer of that type is installed."""

    default_code = "unsupported_importer"


class ImporterNotCompliant(RequestError):
    """The importer doesn't implement ImporterInterface."""

    default_code = "importer_not_compliant"


class NothingEligible(RequestError):
    """No collection of the source may be ingested; the code says why."""

    default_code = "no_ingestible_collections"


class ScopeNotFound(RequestError):
    """The collection has no such title, season or episode."""

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
    """The source didn't answer after all retries: DNS, connect, TLS, time-out or a server error."""

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
    """The answer doesn't follow the source's API."""

    default_code = "malformed_answer"


class IncompleteEnumeration(SourceError):
    """The listing isn't proven to be complete."""

    default_code = "incomplete_enumeration"


class ChangesUnknown(SourceError):
    """The source can't tell reliably what has changed, so all of the collection has to be read."""

    default_code = "changes_unknown"

    def __init__(self, message: str, *, filters: Mapping[str, bool] | None = None) -> None:
        """``filters`` holds what was found out about the source's filters, as `ChangesRead.filters` does."""
        super().__init__(message)
        self.filters: Mapping[str, bool] = dict(filters or {})


class FilesNotFound(SourceError):
    """The files that the source lists aren't on this machine at their mapped paths."""

    default_code = "files_not_found"


class ImporterFailed(SourceError):
    """A bug of the importer: it raised, hung, or returned invalid data."""

    default_code = "importer_failed"


class EnrichmentError(RetrovueError):
    """One asset can't be enriched. Raised by an enricher, recorded for the asset."""

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
    """Another command holds the lock of the collection; the context names the holder."""

    default_code = "already_running"


class CommitUnknown(StoreError):
    """The connection broke during COMMIT: whether it succeeded has to be read from the catalogue."""

    default_code = "commit_unknown"


class Problem(Struct, frozen=True):
    """An error as it is reported in JSON or to a person. Unlike an exception it is passed between tasks and stored."""

    code: str
    message: str
    hint: str | None = None
    """What to do next. With None the guide's advice for the code is used."""
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    collection: Mapping[str, Any] | None = None
    """The collection that failed, if the problem is about a single one."""

    def __post_init__(self) -> None:
        if self.hint is None:
            force_setattr(self, "hint", advice(self.code))

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the problem."""
        fields = {"code": self.code, "message": self.message, "hint": self.hint, "context": dict(self.context)}
        return fields if self.collection is None else {**fields, "collection": dict(self.collection)}
