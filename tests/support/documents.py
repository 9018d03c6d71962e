"""The JSON that commands print: one typed description, from which the schemas in the docs are made.

Every key is always present; null means that there is no value. A string below a field describes it, as in the code.
"""

import datetime as dt
import inspect
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec

from retrovue.core.results import Read
from retrovue.core.runs import Mode
from retrovue.core.verdicts import ABSENCES, ADDED, LISTED, LISTS, VERDICTS, Figure, Verdict
from retrovue.ingest.documents import FIRST_TOTALS

T = TypeVar("T", bound="Strict")
CheckVerdict = Literal["ok", "warning", "problem"]
AssetState = Literal["new", "enriching", "ready", "retired"]
Json = dict[str, Any]


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An object that has these keys and no others."""


class Counts:
    """Stands in a class for a count of each verdict."""


class Lists:
    """Stands in a class for the list of each verdict whose entries are listed."""


class Totals:
    """Stands in a class for the total of each verdict that has one, but for those that come first."""


class AddedCounts:
    """Stands in a class for the counts that came with syncs."""


class AddedLists:
    """Stands in a class for the lists that came with syncs."""


class AddedTotals:
    """Stands in a class for the totals that came with syncs."""


DESCRIPTIONS = {
    **{verdict.count: f"Of the {verdict.part_of}." for verdict in VERDICTS if verdict.part_of is not None},
    **{absence.count: f"{absence.meaning[:1].upper()}{absence.meaning[1:]}." for absence in ABSENCES},
    **{entries.key: f"The first {entries.most}." for _, entries in LISTS if entries.most != LISTED},
    "duplicate_candidates": f"The first {LISTED}, as in the lists that follow; the audit trail has all rejections.",
}
"""What the fields of a collection's result mean that the table of verdicts gives it."""


def of_verdicts(kind: type[T]) -> type[T]:
    """Make the class anew, with fields from the table of verdicts in the places that stand for them."""
    fields: list[tuple[str, Any]] = []
    first = [verdict for verdict in VERDICTS if not verdict.added]
    for name, annotation in inspect.get_annotations(kind).items():
        if annotation is Counts:
            fields += [(verdict.count, int) for verdict in first]
        elif annotation is AddedCounts:
            fields += [(kind.count, int) for kind in ADDED]
        elif annotation is Lists:
            fields += [(verdict.entries.key, list[_entry(verdict)]) for verdict in first if verdict.entries]  # type: ignore[misc]
        elif annotation is AddedLists:
            fields += [(kind.entries.key, list[_entry(kind)]) for kind in ADDED if kind.entries]  # type: ignore[misc]
        elif annotation is Totals:
            totals = [verdict.total for verdict in first if verdict.total is not None]
            fields += [(total, int) for total in totals if total not in FIRST_TOTALS]
        elif annotation is AddedTotals:
            fields += [(str(kind.total), int) for kind in ADDED]
        else:
            fields.append((name, annotation))
    namespace = {"__doc__": kind.__doc__}
    return msgspec.defstruct(kind.__name__, fields, bases=kind.__bases__, namespace=namespace, module=__name__)  # type: ignore[return-value]


def _entry(verdict: Figure) -> Any:
    """Give the type of a verdict's entries: titles, rejections, or an object with a detail."""
    if isinstance(verdict, Verdict) and not verdict.planned:
        return Rejected
    assert verdict.entries is not None
    if verdict.entries.detail is None:
        return str
    name = (verdict.name if isinstance(verdict, Verdict) else verdict.count).title().replace("_", "")
    fields: list[tuple[str, Any]] = [("title", str), ("source_uri", str | None), (verdict.entries.detail, str | None)]
    namespace = {"__doc__": verdict.entries.meaning}
    return msgspec.defstruct(name, fields, bases=(Strict,), namespace=namespace, module=__name__)


# Parts


class Identity(Strict):
    """A source. If it wasn't found, all keys except the name are null, and the name is what was asked for."""

    id: UUID | None
    external_id: str | None
    """Such as plex-5063d926."""
    name: str | None
    type: str | None


class CollectionIdentity(Strict):
    """A collection, by its own id, its key at the source, and its name."""

    id: UUID
    external_id: str
    name: str


class CollectionWithKind(CollectionIdentity):
    """A collection and its kind."""

    kind: str


class Named(Strict):
    """The id and name of a source or collection, in a row of the audit trail."""

    id: UUID
    name: str


class SourceOfCollection(Strict):
    """The source of a collection."""

    id: UUID
    name: str | None


class Scope(Strict):
    """The part of a collection that was asked for. All null means all of it."""

    title: str | None
    season: int | None
    episode: int | None


class Error(Strict):
    """A problem, and what to do about it."""

    code: str
    """Stable, for programs."""
    message: str
    hint: str | None
    context: Json
    """The objects that the message is about; the keys depend on the code."""
    collection: CollectionIdentity | msgspec.UnsetType = msgspec.UNSET
    """Set only if it concerns one collection of several."""


class Rejected(Strict):
    """An item that can't be used."""

    title: str | None
    source_uri: str | None
    code: str
    reason: str


class FailedEnrichment(Strict):
    """An enricher that failed for an asset."""

    asset: str
    """The title of the asset."""
    enricher: str
    """The name of the enricher."""
    code: str
    cause: str


class Durations(Strict):
    """The durations of the phases, in seconds of wall time."""

    total: float
    waiting_for_source: float
    reading: float
    enriching: float
    staging: float
    merging: float


class Enrichment(Strict):
    """The result of a collection's enrichment, after its commit."""

    succeeded: int
    failed: int
    owed: int | None
    """Enrichments that are still owed; null if unknown."""
    interrupted: bool
    problem: str | None
    """Why the enrichment couldn't be done at all."""
    duration: float
    """Seconds of wall time."""


class Detailed(Strict):
    """An asset with a detail."""

    title: str
    source_uri: str | None
    detail: str | None


class Guard(Strict):
    """Why removals were held back."""

    code: str
    reason: str


class HeldBack(Strict):
    """The removals of a collection that guards held back. None of them was written."""

    guards: list[Guard]
    number: int
    items: list[Detailed]
    """The first 100, by name."""
    token: str | None
    """Confirms exactly these removals at the next sync; null if they can't be confirmed."""


class ReadingWhy(Strict):
    """How much of a collection was read, why, and what it took."""

    code: str
    """`stamp_equal`, `stamp_moved`, `no_stamp`, `scanning` (unchanged or changes); `changes_unknown`, `count_differs`,
    `unexplained`, `doubtful`, `no_changes`, `went_back`, `incomplete`, `sweep_due`, `absences_due`, `files_lost`
    (sweep); `first`, `full_due`, `asked`, `ingest` (full); `scope`."""
    reason: str
    items: int
    """The number of source items that were read."""
    requests: int | None
    """The number of requests to the source; null if they aren't counted."""
    sweep_in_seconds: int | None
    """Seconds until a sync reads all of the collection in any case; null for an ingest or a scope."""


class LoggedHeldBack(Strict):
    """The removals that guards held back, in the audit trail."""

    guards: list[Guard]
    number: int
    token: str | None


@of_verdicts
class CollectionResult(Strict):
    """What became of a collection. discovered is always created + skipped + duplicates + rejected."""

    id: UUID | None
    external_id: str | None
    name: str | None
    kind: str | None
    status: Literal["ingested", "failed", "interrupted", "skipped"]
    targeted: bool
    """False for a skipped collection."""
    code: str | None
    """The code of the failure or the skip."""
    reason: str | None
    """Why it was skipped."""
    message: str | None
    """Why it failed."""
    hint: str | None
    source_items: int
    """Distinct items of the source. Their number proves that the listing was complete."""
    discovered: int
    """Versions that the importer yielded, including rejected ones."""
    of_verdicts: Counts
    warnings: int
    """Items with a value that was removed or corrected."""
    failed_enrichments: int
    lists: Lists
    failed_enrichment_items: list[FailedEnrichment]
    warning_counts: dict[str, int]
    """The number of items with each kind of warning. ``far_smaller`` is by how many items the collection is smaller
    than last time, if that is more than half of them.
    """
    durations: Durations
    enrichment: Enrichment | None
    """Null if no enricher is attached."""
    added_counts: AddedCounts
    added_lists: AddedLists
    ambiguous_relink_items: list[Detailed]
    """Assets that several new items match, or several assets that match one new item. They are left unchanged. The
    first 100.
    """
    read: Read | None
    """Null if it wasn't ingested."""
    held_back: HeldBack | None
    """Null if no guard held removals back."""
    reading: ReadingWhy | None
    """Null if it wasn't ingested."""


class Collection(Strict):
    """A collection in the catalogue."""

    id: UUID
    external_id: str
    name: str
    kind: str
    source_id: UUID
    sync_enabled: bool
    ingestible: bool | None
    """The result of the latest check; null before the first one."""
    not_ingestible_reason: str | None
    locations: list[str]
    """Directories, as the source spells them."""
    path_mappings: list["PathMapping"]
    assets_count: int
    last_ingest_at: dt.datetime | None
    check_files: bool
    """Whether an ingest looks for some of the listed files on this machine."""
    keep_approval: bool
    """Whether an approved asset stays approved when a sync finds that its file was replaced."""
    source_name: str | None
    """Null in a plan for a source that isn't in the catalogue yet."""


class Enricher(Strict):
    """An enricher in the catalogue."""

    id: UUID
    external_id: str
    name: str
    type: str
    parameters: Json


class AttachedEnricher(Enricher):
    """An enricher of a collection. Lower priorities run first."""

    priority: int


class AttachedTo(Named):
    """A collection to which an enricher is attached."""

    priority: int


class ListedEnricher(Enricher):
    """An enricher, its collections, and for how many assets it has succeeded and failed."""

    collections: list[AttachedTo]
    succeeded: int
    failed: int


class Parameter(Strict):
    """A parameter of an enricher."""

    name: str
    description: str
    required: bool


class EnricherType(Strict):
    """An installed type of enricher."""

    type: str
    problem: str | None
    """Why it can't be used."""
    runs_on_pages: bool | None
    """Whether it refines the pages of an ingest, or runs after the commit; null if it can't be used."""
    parameters: list[Parameter]


class CollectionInFull(Collection):
    """A collection with its enrichers, in the order in which they run."""

    enrichers: list[AttachedEnricher]


class PathMapping(Strict):
    """A directory of the source, and the local directory with the same files."""

    source_prefix: str
    local_path: str


class KeptSecret(Strict):
    """How the catalogue keeps a secret."""

    kept: Literal["plain", "encrypted", "file", "env", "credential"]
    """Stored plain or encrypted, or read in each run from a file, a variable or a credential of systemd."""
    place: str | None
    """The path or name from which it is read."""


class Source(Identity):
    """A source in the catalogue."""

    config: Json
    credentials: list[str]
    """The names of its secrets."""
    secrets: dict[str, KeptSecret]
    """How each secret is kept."""


class ListedSource(Source):
    """A source in a list."""

    collections_count: int
    enabled_count: int
    assets_count: int


class Discovery(Strict):
    """The result of a discovery, with the names of changed collections."""

    total: int
    collections: list[Collection]
    added: list[str]
    updated: list[str]
    gone: list[str]
    unsupported: str | None
    """Why the importer can't discover collections."""
    renamed: list["Renamed"]
    """The updated collections whose name changed."""
    remade: list["Remade"]
    """Libraries that were probably created again at the source."""
    unidentified: list[str]
    """The names of libraries that the source lists without a key, or with that of an earlier one."""
    locations_hidden: list[str]
    """The names of libraries whose directories the source hides from the token."""


class Remade(Strict):
    """A library with the directories of a lost one, or another library under the key of a known one."""

    collection: UUID
    """The collection that has the assets."""
    before: str
    """The key of that collection."""
    now: str
    """The key of the library in its place: the same key, or that of the library for `collection adopt`."""


class Renamed(Strict):
    """A collection whose name has changed at the source."""

    before: str
    now: str


class Setting(Strict):
    """A setting of an importer."""

    name: str
    option: str
    description: str
    required: bool
    secret: bool


class SourceType(Strict):
    """An installed importer."""

    type: str
    problem: str | None
    """Why it can't be used."""
    settings: list[Setting]


class Asset(Strict):
    """An asset in the catalogue."""

    uuid: UUID
    collection_uuid: UUID
    type: Literal["movie", "episode", "clip", "track"]
    title: str
    show_title: str | None
    season_number: int | None
    episode_number: int | None
    year: int | None
    originally_aired: dt.date | None
    runtime_ms: int | None
    edition: str | None
    studio: str | None
    content_rating: str | None
    rating: float | None
    source_uri: str
    """The source's own name of the item and version, verbatim."""
    canonical_uri: str
    """The local path of the first file."""
    canonical_key: str
    canonical_hash: str
    """The hash of the canonical key, in hexadecimal: the identity within the collection."""
    part_count: int
    size_bytes: int | None
    container: str | None
    video_codec: str | None
    audio_codec: str | None
    audio_channels: int | None
    video_resolution: str | None
    width: int | None
    height: int | None
    bitrate_kbps: int | None
    provider_ids: dict[str, str]
    tags: dict[str, list[str]]
    chapters: list[Json] | None
    markers: list[Json] | None
    streams: list[Json] | None
    provenance: dict[str, str] | None
    """For each field that an enricher gave, the enricher. Other fields came from the source."""
    state: AssetState
    approved_for_broadcast: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    deleted_at: dt.datetime | None
    show_key: str | None
    """The source's own id of the show, or of the artist of a track's album."""
    show_year: int | None
    show_provider_ids: dict[str, str] | None
    artist: str | None
    """The artist of the track. That of its album is show_title."""
    album: str | None
    disc_number: int | None
    track_number: int | None
    availability: Literal["present", "missing", "gone"]
    unavailable_since: dt.datetime | None
    unavailable_reason: Literal["not_listed", "trashed"] | None


class AssetFile(Strict):
    """A file of an asset, in playing order."""

    position: int
    local_path: str
    size_bytes: int | None
    duration_ms: int | None


class AssetAlias(Strict):
    """Another item of the source with the same file."""

    source_uri: str
    title: str
    season_number: int | None
    episode_number: int | None


class AssetEnrichment(Strict):
    """The latest result of an enricher for an asset."""

    enricher: str
    """The external id of the enricher."""
    name: str
    status: Literal["succeeded", "failed", "owed"]
    attempts: int
    code: str | None
    message: str | None
    updated_at: dt.datetime | None


class AssetDecision(Strict):
    """A decision about an asset."""

    what: Literal["approved", "retired", "unretired", "withdrawn"]
    by: str | None
    """user@host of the person; null for a sync."""
    at: dt.datetime
    before: AssetState | None
    """The state before the decision."""
    after: AssetState | None


class ValueChange(Strict):
    """The values of a field before and after a change."""

    before: Any
    after: Any


class ChangedAsset(Strict):
    """The asset that was changed. It may have been purged since."""

    uuid: UUID
    title: str
    """Its label at the time, with show, season and episode."""


class OnlyId(Strict):
    """An object with its id only."""

    id: UUID


class AssetChange(Strict):
    """A change of an asset."""

    cursor: int
    """The position, for --after, which lists the changes after this one."""
    at: dt.datetime
    what: Literal[
        "refreshed", "replaced", "relocated", "relinked", "restored", "missing", "gone",
        "approved", "retired", "unretired", "withdrawn", "purged",
    ]  # fmt: skip
    asset: ChangedAsset
    collection: OnlyId
    run_id: UUID | None
    """The run that made it; null if a person made it."""
    by: str | None
    """User and host of the person who made it; null if a run made it."""
    fields: dict[str, ValueChange]


class FormerIdentity(Strict):
    """An item of the source that the asset belonged to before it was relinked."""

    source_uri: str
    until: dt.datetime
    rule: Literal["guid", "external_id", "file", "episode", "place", "chosen"]
    """The rule by which both items match; "chosen" if a person chose the assets."""
    run_id: UUID | None
    """Null if a person relinked it."""


class AssetInFull(Asset):
    """An asset with its files, aliases, enrichments, decisions and changes."""

    files: list[AssetFile]
    aliases: list[AssetAlias]
    enrichments: list[AssetEnrichment]
    decisions: list[AssetDecision]
    """The oldest first."""
    changes: list[AssetChange]
    """The latest 100, the oldest first."""
    identities: list[FormerIdentity]
    """The latest first."""


class AssetStep(Strict):
    """An asset that was approved, retired or unretired."""

    uuid: UUID
    title: str
    state_before: AssetState
    state: AssetState


@of_verdicts
class EntryFields(Strict):
    """A collection of a run, in the audit trail."""

    collection: Named
    status: Literal["running", "ingested", "skipped", "failed", "interrupted", "unknown"]
    started_at: dt.datetime
    ended_at: dt.datetime | None
    code: str | None
    message: str | None
    hint: str | None
    source_items: int
    discovered: int
    of_verdicts: Counts
    warnings: int
    failed_enrichments: int


@of_verdicts
class LogEntry(EntryFields):
    """An entry of the audit trail: a collection of a run, with the run."""

    run_id: UUID
    source: Named
    trigger: Literal["source", "collection"]
    """`source` for a source ingest, `collection` for a collection ingest."""
    scope: Scope
    version: str
    started_by: str
    mode: Mode
    read: Read | None
    """Null without an outcome, or after a failure."""
    added_counts: AddedCounts
    held_back: LoggedHeldBack | None
    atomic: bool
    """Whether one transaction merged all collections of the run."""
    reading: ReadingWhy | None
    """Null if it wasn't ingested, or after its details were removed."""


class LoggedEnrichment(Strict):
    """The result of the enrichment after a collection's commit, in the audit trail."""

    status: Literal["done", "interrupted", "failed"]
    succeeded: int
    failed: int
    owed: int | None
    failures: list[FailedEnrichment] | None
    """The first failures."""
    problem: str | None


@of_verdicts
class RunCollection(EntryFields):
    """A collection of a run, with all details."""

    durations: dict[str, float]
    """Seconds; empty if it hasn't ended."""
    warning_counts: dict[str, int]
    context: Json
    traceback: str | None
    enrichment: LoggedEnrichment | None
    """Null if nothing was tried."""
    rejected_items: list[Rejected]
    mode: Mode
    read: Read | None
    """Null without an outcome, or after a failure."""
    added_counts: AddedCounts
    held_back: LoggedHeldBack | None
    atomic: bool
    """Whether one transaction merged all collections of the run."""
    reading: ReadingWhy | None
    """Null if it wasn't ingested, or after its details were removed."""


class Destroyed(Strict):
    """How much was destroyed, or would be."""

    collections: int
    assets: int
    approved_assets: int


class Holdings(Strict):
    """The size of a database."""

    sources: int
    collections: int
    assets: int


class Ingestibility(Strict):
    """The result of the check."""

    ingestible: bool
    code: str | None
    reason: str | None


class Finding(Strict):
    """A finding of the doctor."""

    check: str
    subject: str
    verdict: CheckVerdict
    message: str
    hint: str | None
    unreachable: bool


# Documents


class Failure(Strict):
    """The document of any command that failed, except source ingest, which always has its own document."""

    status: Literal["error"]
    errors: list[Error]


class Ok(Strict):
    """The first key of every other document."""

    status: Literal["ok"]


class Change(Ok):
    """The keys of commands that write."""

    dry_run: bool
    """Whether nothing was written."""


@of_verdicts
class IngestNumbers(Strict):
    """The common keys of source ingest and collection ingest."""

    collections_processed: int
    """Including failed and interrupted ones."""
    total_created_assets: int
    total_skipped_assets: int
    total_duplicates: int
    collection_results: list[CollectionResult]
    """Every collection, targeted or skipped, sorted by name."""
    errors: list[Error]
    run_id: UUID | None
    dry_run: bool
    strict: bool
    total_discovered: int
    totals: Totals
    total_failed_enrichments: int
    total_source_items: int
    duration_seconds: float
    mode: Mode
    totals_added: AddedTotals
    atomic: bool
    """Whether one transaction merged all collections."""


class SourceIngest(IngestNumbers):
    """retrovue source ingest."""

    status: Literal["ok", "partial", "error"]
    source: Identity


class DiscoveredChanges(Strict):
    """The changes of a source's collections by a discovery, by name."""

    added: list[str]
    updated: list[str]
    renamed: list[Renamed]
    gone: list[str]
    unsupported: str | None
    """Why the importer can't discover collections."""


class LeftOut(Strict):
    """Why a source without enabled collections is left out."""

    code: Literal["no_collections", "no_enabled_collections"]
    reason: str


class OneOfAll(Strict):
    """One source of an ingest of all sources."""

    source: Identity
    discovered: DiscoveredChanges | None
    """Null if the source couldn't be read."""
    skipped: LeftOut | None
    ingest: SourceIngest | None
    """The document of source ingest for the source; null if it is left out, or was interrupted before."""


@of_verdicts
class AllSourcesIngest(Strict):
    """retrovue source ingest --all."""

    status: Literal["ok", "partial", "error"]
    total: int
    """The number of sources that were begun."""
    collections_processed: int
    """Sums over all sources."""
    total_discovered: int
    total_created_assets: int
    total_skipped_assets: int
    total_duplicates: int
    totals: Totals
    total_failed_enrichments: int
    total_source_items: int
    sources: list[OneOfAll]
    errors: list[Error]
    """Problems that don't belong to a source; those of sources are in their documents."""
    dry_run: bool
    strict: bool
    duration_seconds: float


class CollectionIngest(SourceIngest):
    """retrovue collection ingest."""

    collection: CollectionWithKind
    scope: Scope


class SourceTypes(Ok):
    """retrovue source list-types."""

    total: int
    types: list[SourceType]


class Sources(Ok):
    """retrovue source list."""

    total: int
    sources: list[ListedSource]


class SourceShown(Ok):
    """retrovue source show."""

    source: Source
    collections: list[Collection]
    listening: "Listening"
    sync: "SyncTimes"


class SyncTimes(Strict):
    """How often the collections of a source are read."""

    grace_s: int
    """Seconds after which a missing asset is gone."""
    sweep_every_s: int
    full_every_s: int
    tells_changes: bool
    """Whether the type of the source reports changes; otherwise each sync reads all."""
    collections: list["CollectionTimes"]
    """The enabled collections."""


class CollectionTimes(CollectionIdentity):
    """When a collection was read, and when the next syncs read all of it."""

    swept_at: dt.datetime | None
    """When all of it was last read."""
    full_at: dt.datetime | None
    """When each of its items was last compared."""
    next_sweep_at: dt.datetime | None
    """From when on a sync reads all of it in any case; null means the next sync."""
    next_full_at: dt.datetime | None
    """From when on a sync compares each item in any case; null means the next sync."""


class Listening(Strict):
    """Whether and how a source is listened to by `retrovue serve`."""

    offered: bool
    """Whether its type reports changes."""
    active: bool
    """Whether a host has taken it. The host may still be connecting."""
    host: str | None
    """The host that listens, or the last one that did."""
    since: dt.datetime | None
    """When it connected; null while it isn't connected."""
    problem: "ListeningProblem | None"
    """Why it isn't connected."""
    heard_at: dt.datetime | None
    """When hints of changes were last worked."""
    heard: "Heard | None"


class ListeningProblem(Strict):
    """Why a source isn't listened to now."""

    code: str
    message: str


class Heard(Strict):
    """The last hint of changes from a source."""

    collection: str | None
    """The external id of the collection; null for the whole source."""
    items: int | None
    """How many items were named; null for all of the collection."""


class SourceAdded(Change):
    """retrovue source add."""

    source: Source
    discovered: Discovery | None


class SourceUpdated(Change):
    """retrovue source update."""

    source: Source
    changed: list[str]
    warnings: list[str]


class SecretsEncrypted(Change):
    """retrovue source encrypt."""

    key_file: str
    key_added: bool
    """Whether a new key was made and put first in the file."""
    encrypted: int
    """Secrets that were encrypted with the first key."""
    references: int
    """Secrets that are read in each run, and not stored."""


class SourceDeleted(Change):
    """retrovue source delete."""

    source: Identity
    destroyed: Destroyed


class SourceDiscovered(Discovery):
    """retrovue source discover."""

    status: Literal["ok"]
    dry_run: bool
    """Whether nothing was written."""
    source: Identity


class Collections(Ok):
    """retrovue collection list."""

    total: int
    collections: list[Collection]


class CollectionShown(Ok):
    """retrovue collection show."""

    source: Identity
    collection: CollectionInFull


class CollectionUpdated(Change):
    """retrovue collection update."""

    source: Identity
    collection: Collection
    ingestibility: Ingestibility | None
    """Null if nothing was checked."""
    warnings: list[str]


class CollectionAdopted(Change):
    """retrovue collection adopt."""

    source: Identity
    collection: CollectionIdentity
    """The collection with its new key and name."""
    previous: CollectionIdentity
    """The collection as it was before."""
    kept: int
    """The number of assets that the new library has."""
    lost: int
    """The number of assets that it doesn't have."""
    outcome: CollectionResult


class CollectionWiped(Change):
    """retrovue collection wipe."""

    source: Identity
    collection: CollectionIdentity
    destroyed: Destroyed


class Assets(Ok):
    """retrovue asset list, retrovue asset export."""

    total: int
    """The number of all matches, including those beyond the limit."""
    limit: int | None
    """Null if all are listed."""
    assets: list[Asset]
    next_cursor: str | None
    """For --after, which lists the next page; null if there is none."""


class AssetChanges(Ok):
    """retrovue asset changes."""

    limit: int
    changes: list[AssetChange]
    """The oldest first."""
    next_cursor: int
    """For --after, which lists later changes, now or in the future."""


class AssetsPurged(Change):
    """retrovue asset purge."""

    destroyed: Destroyed


class MoveEnd(Strict):
    """One of two assets that may exchange their items."""

    uuid: UUID
    title: str
    """Its label, with show, season and episode."""
    source_uri: str
    state: AssetState
    availability: Literal["present", "missing", "gone"]
    collection: OnlyId


class Move(Strict):
    """An asset whose item is lost, and one that has the same item in another collection."""

    lost: MoveEnd
    listed: MoveEnd
    rule: Literal["guid", "external_id", "file", "episode", "chosen"]
    """The rule by which both match; "chosen" if a person chose them."""
    same_file: bool
    """Whether size, duration and codecs are equal, as far as both are known."""


class AssetsRelinked(Change):
    """retrovue asset relink."""

    relinked_assets: int
    """The number of assets that were relinked; 0 if they are only listed."""
    total: int
    """The number of assets that match exactly one new asset."""
    moves: list[Move]
    """The first 100 of these, as they were before."""
    left_out: int
    """How many more there are."""
    ambiguous_total: int
    """The number of assets that match several new assets, or share their new asset with others."""
    ambiguous: list[Move]
    """The first 100 of these, each with one of the new assets that it matches."""


class RejectedItem(Strict):
    """An item that a run rejected."""

    run_id: UUID
    started_at: dt.datetime
    """When the run began to work on the collection."""
    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    title: str | None
    source_uri: str | None
    code: str
    reason: str


class IngestRejected(Ok):
    """retrovue ingest rejected."""

    total: int
    """The number of all matches, including those beyond the limit."""
    limit: int | None
    """Null if all are listed."""
    items: list[RejectedItem]
    next_cursor: str | None
    """For --after, which lists the next page; null if there is none."""
    reasons: dict[str, int]
    """The number of matches with each code, the most frequent first."""


class DuplicateItem(Strict):
    """An item with the files of an asset: an alias of that asset."""

    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    title: str
    season_number: int | None
    episode_number: int | None
    source_uri: str
    asset_uuid: UUID
    asset_title: str
    found_at: dt.datetime
    """When an ingest first found it."""


class IngestDuplicates(Ok):
    """retrovue ingest duplicates."""

    total: int
    """The number of all matches, including those beyond the limit."""
    limit: int | None
    """Null if all are listed."""
    items: list[DuplicateItem]
    next_cursor: str | None
    """For --after, which lists the next page; null if there is none."""


class AssetGroup(Strict):
    """The assets of one type and state."""

    type: str
    state: AssetState
    assets: int
    without_runtime: int
    """Assets with unknown runtime."""
    runtime_ms: int
    size_bytes: int


class AssetTotals(Strict):
    """Sums over assets that aren't deleted."""

    assets: int
    hours: float
    """Runtime of the assets whose runtime is known."""
    size_bytes: int
    failed_enrichments: int


class LastRun(Strict):
    """The latest run that tried to ingest a collection."""

    run_id: UUID
    started_at: dt.datetime
    status: Literal["ingested", "failed", "interrupted", "unknown"]
    """A run at work counts as interrupted."""


class CollectionNumbers(Strict):
    """The numbers of a collection."""

    id: UUID
    name: str
    kind: str
    source: SourceOfCollection
    sync_enabled: bool
    assets: int
    hours: float
    size_bytes: int
    failed_enrichments: int
    groups: list[AssetGroup]
    last_run: LastRun | None
    last_ingest_at: dt.datetime | None
    """The end of the latest ingest that succeeded."""


class Statistics(Ok):
    """retrovue stats."""

    total: int
    """The number of collections."""
    source: Identity | None
    """The source that was asked for; null for all."""
    totals: AssetTotals
    groups: list[AssetGroup]
    collections: list[CollectionNumbers]


class AssetShown(Ok):
    """retrovue asset show."""

    source: Identity
    collection: CollectionIdentity
    asset: AssetInFull


class AssetsMoved(Change):
    """retrovue asset approve, retrovue asset retire, retrovue asset unretire."""

    total: int
    """The number of chosen assets, by ids or by filters."""
    changed: int
    assets: list[AssetStep]
    """All assets that were given as arguments; else the first 100 that were changed."""
    left_out: int
    """How many more were changed."""


class IngestLog(Ok):
    """retrovue ingest log."""

    total: int
    limit: int
    entries: list[LogEntry]


@of_verdicts
class LoggedRun(Strict):
    """A run, with the totals of its collections."""

    run_id: UUID
    source: Named
    trigger: Literal["source", "collection"]
    """`source` for a source ingest, `collection` for a collection ingest."""
    scope: Scope
    version: str
    started_by: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    """When its last collection ended; null while one is at work."""
    collections: int
    statuses: dict[str, int]
    """The number of collections with each status; statuses without collections are left out."""
    source_items: int
    discovered: int
    of_verdicts: Counts
    warnings: int
    failed_enrichments: int
    mode: Mode
    added_counts: AddedCounts
    atomic: bool
    """Whether one transaction merged all collections."""


class IngestRuns(Ok):
    """retrovue ingest log --runs."""

    total: int
    limit: int
    runs: list[LoggedRun]


class IngestPruned(Change):
    """retrovue ingest prune."""

    before: dt.datetime
    """The details of what ended before this time are removed."""
    outcomes: int
    """The number of ingests that lost their details."""
    rejections: int
    """Rejected items that were deleted."""
    enrichments: int
    """The number of enrichments that lost their details."""
    kept_listings: int
    """The number of kept listings that were dropped."""


class ChangesPruned(Change):
    """retrovue asset prune-changes."""

    before: dt.datetime
    """The changes made before this time are removed."""
    changes: int
    """Changes that were removed from the feed."""


class IngestShown(Ok):
    """retrovue ingest show."""

    run_id: UUID
    source: Named
    trigger: Literal["source", "collection"]
    """`source` for a source ingest, `collection` for a collection ingest."""
    scope: Scope
    version: str
    started_by: str
    collections: list[RunCollection]


class EnricherTypes(Ok):
    """retrovue enricher list-types."""

    total: int
    types: list[EnricherType]


class EnricherAdded(Change):
    """retrovue enricher add."""

    enricher: Enricher


class Enrichers(Ok):
    """retrovue enricher list."""

    total: int
    enrichers: list[ListedEnricher]


class EnricherShown(Ok):
    """retrovue enricher show."""

    enricher: ListedEnricher


class EnricherUpdated(EnricherAdded):
    """retrovue enricher update."""

    changed: list[str]


class EnricherRemoved(Change):
    """retrovue enricher remove."""

    enricher: ListedEnricher


class ScheduleRun(Strict):
    """A due time of a schedule, and its run."""

    due_at: dt.datetime
    host: str
    """The host that works it, or has ended it."""
    started_at: dt.datetime
    ended_at: dt.datetime | None
    status: Literal["ok", "partial", "error"] | None
    """Null while it is at work."""
    run_id: UUID | None
    """The run's id in the audit trail; null for an enrichment, and if no run began."""
    message: str | None
    """What went wrong."""


class Schedule(Strict):
    """When a source is synced, ingested or enriched automatically."""

    id: UUID
    name: str
    source: Named
    what: Literal["sync", "full-sync", "ingest", "enrich"]
    cron: str
    """Minute, hour, day of the month, month, day of the week."""
    time_zone: str
    """A name in the IANA database."""
    enabled: bool
    next_due_at: dt.datetime | None
    """Null while it is disabled."""
    asked_at: dt.datetime | None
    """When somebody requested a run; null if no run is requested."""
    runs: list[ScheduleRun]
    """The latest runs, the newest first: one in a list, ten otherwise."""


class ScheduleAdded(Change):
    """retrovue schedule add."""

    schedule: Schedule


class Schedules(Ok):
    """retrovue schedule list."""

    total: int
    schedules: list[Schedule]


class ScheduleShown(Ok):
    """retrovue schedule show."""

    schedule: Schedule


class ScheduleUpdated(ScheduleAdded):
    """retrovue schedule update."""

    changed: list[str]


class ScheduleRemoved(ScheduleAdded):
    """retrovue schedule remove."""


class ScheduleAsked(Ok):
    """retrovue schedule run-now."""

    schedule: Named
    served: bool
    """Whether any host serves now. If none does, the run begins when one starts to serve."""


class EnricherAttached(Change):
    """retrovue collection attach-enricher, retrovue collection detach-enricher."""

    source: Identity
    collection: CollectionIdentity
    enricher: Enricher
    changed: bool
    assets_changed: int
    """The number of assets whose state changed."""
    enrichers: list[AttachedEnricher]
    """The enrichers that the collection has now."""


class CollectionEnriched(Enrichment):
    """retrovue collection enrich."""

    status: Literal["ok", "partial", "error"]
    run_id: UUID | None
    dry_run: bool
    source: Identity
    collection: CollectionIdentity
    failed_enrichment_items: list[FailedEnrichment]
    errors: list[Error]


class Doctor(Strict):
    """retrovue doctor."""

    status: Literal["ok", "error"]
    findings: list[Finding]
    problems: int
    warnings: int


class DatabaseStatus(Ok):
    """retrovue db status."""

    database: str
    role: str | None
    current: str | None
    wanted: str
    up_to_date: bool


class DatabaseUpgraded(Change):
    """retrovue db upgrade."""

    database: str
    role: str
    before: str | None
    after: str | None
    wanted: str
    changed: bool


class SearchIndex(Change):
    """retrovue db index."""

    database: str
    search_index: bool
    changed: bool


class DatabaseCreated(Change):
    """retrovue db create."""

    database: str
    role: str
    existed: bool
    before: str | None
    after: str | None
    changed: bool


class DatabaseReset(DatabaseCreated):
    """retrovue db reset."""

    destroyed: Holdings


class BackedUp(Change):
    """retrovue db backup."""

    database: str
    file: str
    size_bytes: int | None
    """Null for a dry-run."""
    holds: Holdings


class Restored(Change):
    """retrovue db restore."""

    database: str
    file: str
    destroyed: Holdings
    """The content before."""
    holds: Holdings | None
    """The content now; null for a dry-run."""


class Picked(Strict):
    """A library that a quickstart would enable."""

    id: str | None
    """Null while it isn't in the catalogue."""
    external_id: str
    name: str
    path_mappings: list[tuple[str, str]]
    """The mappings that would be added: the source's prefix and the local path."""


class QuickstartPlan(Ok):
    """retrovue quickstart --dry-run; without it the document of retrovue source ingest."""

    dry_run: Literal[True]
    source: str | None
    """The external id of the source that would be used; null if one would be added."""
    collections: list[Picked]


class RunEnqueued(Ok):
    """The document of `--enqueue` without `--wait`: the run that workers do."""

    run_id: UUID
    source: Identity
    collections: list[CollectionIdentity]
    """The collections that are ingested if they are ingestible."""
    workers: list[str]
    """The names of the workers that take jobs of this source."""


PRINTED: dict[tuple[str, ...], type[Strict]] = {
    ("quickstart",): QuickstartPlan,
    ("source", "list-types"): SourceTypes,
    ("source", "add"): SourceAdded,
    ("source", "list"): Sources,
    ("source", "show"): SourceShown,
    ("source", "encrypt"): SecretsEncrypted,
    ("source", "update"): SourceUpdated,
    ("source", "delete"): SourceDeleted,
    ("source", "discover"): SourceDiscovered,
    ("source", "ingest"): SourceIngest,
    ("source", "sync"): SourceIngest,
    ("source", "ingest", "--all"): AllSourcesIngest,
    ("source", "ingest", "--enqueue"): RunEnqueued,
    ("source", "ingest", "--wait"): SourceIngest,
    ("source", "sync", "--enqueue"): RunEnqueued,
    ("source", "sync", "--wait"): SourceIngest,
    ("collection", "list"): Collections,
    ("collection", "show"): CollectionShown,
    ("collection", "update"): CollectionUpdated,
    ("collection", "ingest"): CollectionIngest,
    ("collection", "sync"): CollectionIngest,
    ("collection", "attach-enricher"): EnricherAttached,
    ("collection", "detach-enricher"): EnricherAttached,
    ("collection", "enrich"): CollectionEnriched,
    ("collection", "enrich", "--enqueue"): RunEnqueued,
    ("collection", "enrich", "--wait"): CollectionEnriched,
    ("collection", "wipe"): CollectionWiped,
    ("collection", "adopt"): CollectionAdopted,
    ("enricher", "list-types"): EnricherTypes,
    ("enricher", "add"): EnricherAdded,
    ("enricher", "list"): Enrichers,
    ("enricher", "show"): EnricherShown,
    ("enricher", "update"): EnricherUpdated,
    ("enricher", "remove"): EnricherRemoved,
    ("schedule", "add"): ScheduleAdded,
    ("schedule", "list"): Schedules,
    ("schedule", "show"): ScheduleShown,
    ("schedule", "update"): ScheduleUpdated,
    ("schedule", "remove"): ScheduleRemoved,
    ("schedule", "run-now"): ScheduleAsked,
    ("asset", "list"): Assets,
    ("asset", "export"): Assets,
    ("asset", "show"): AssetShown,
    ("asset", "approve"): AssetsMoved,
    ("asset", "retire"): AssetsMoved,
    ("asset", "unretire"): AssetsMoved,
    ("asset", "changes"): AssetChanges,
    ("asset", "purge"): AssetsPurged,
    ("asset", "relink"): AssetsRelinked,
    ("ingest", "log"): IngestLog,
    ("ingest", "log", "--runs"): IngestRuns,
    ("ingest", "show"): IngestShown,
    ("ingest", "prune"): IngestPruned,
    ("asset", "prune-changes"): ChangesPruned,
    ("ingest", "rejected"): IngestRejected,
    ("ingest", "duplicates"): IngestDuplicates,
    ("stats",): Statistics,
    ("doctor",): Doctor,
    ("db", "upgrade"): DatabaseUpgraded,
    ("db", "status"): DatabaseStatus,
    ("db", "index"): SearchIndex,
    ("db", "create"): DatabaseCreated,
    ("db", "reset"): DatabaseReset,
    ("db", "backup"): BackedUp,
    ("db", "restore"): Restored,
}
"""Each command and the document that it prints when it doesn't fail."""


# Lines


class Started(Strict, tag_field="type", tag="started"):
    """A run begins. This is the first line, unless the command fails before."""

    run_id: UUID
    source: Identity
    collections: list[CollectionIdentity]
    """The collections to ingest."""
    items_expected: int | None
    """The number of items at the last ingest; null if one of the collections was never ingested."""


class CollectionStarted(Strict, tag_field="type", tag="collection_started"):
    """The ingest of a collection begins; not sent for a skipped one."""

    collection: CollectionIdentity
    source: SourceOfCollection


class RunProgress(Strict):
    """The progress of the reading of all collections together."""

    items: int
    items_per_second: float
    seconds_left: float | None
    """Null if the total isn't known."""
    items_expected: int | None
    """For each collection the source's total, else the number in the catalogue; null if one collection has neither."""


class Progress(Strict, tag_field="type", tag="progress"):
    """The progress of the reading of a collection, up to four times a second.

    It starts again at 0 if the listing changes.
    """

    collection: CollectionIdentity
    source_items: int
    """Distinct source items."""
    discovered: int
    """Versions, including rejected ones."""
    rejected: int
    seconds: float
    """Seconds of wall time since the reading of the collection began."""
    items_per_second: float
    """The part of the discovered versions that was rejected."""
    source: SourceOfCollection
    source_total: int | None
    """The total number of items according to the source; null if it doesn't tell."""
    seconds_left: float | None
    """Estimated seconds until the collection is read, at the rate so far; null if unknown."""
    phase: Literal["reading", "merging"]
    """"merging" is sent once, when all is read and the transaction of the merge begins."""
    run: RunProgress | msgspec.UnsetType = msgspec.UNSET
    """Set by commands; null in events of the library."""


class Outcome(CollectionResult, tag_field="type", tag="outcome"):
    """What became of a collection, sent as soon as it is certain. Later results of enrichers are in enriching."""

    source: SourceOfCollection


class Enriching(Strict, tag_field="type", tag="enriching"):
    """The progress of the enrichment of a collection, which begins after its outcome; up to four times a second."""

    collection: CollectionIdentity
    source: SourceOfCollection
    succeeded: int
    """Pairs of an asset and an enricher, like the next two."""
    failed: int
    total: int | None
    """How many were owed at the beginning; null if they couldn't be counted within five seconds."""
    seconds: float
    """Seconds of wall time since it began."""
    ended: bool
    """Whether it has ended; what wasn't tried stays owed."""


class SourceIngestSummary(SourceIngest, tag_field="type", tag="summary"):
    """The last line of retrovue source ingest and retrovue quickstart: what --json prints, with a type."""


class AllSourcesIngestSummary(AllSourcesIngest, tag_field="type", tag="summary"):
    """The last line of retrovue source ingest --all: what --json prints, with a type."""


class CollectionIngestSummary(CollectionIngest, tag_field="type", tag="summary"):
    """The last line of retrovue collection ingest: what --json prints, with a type."""


class QuickstartPlanSummary(QuickstartPlan, tag_field="type", tag="summary"):
    """The one line of retrovue quickstart --dry-run: what --json prints, with a type."""


class FailureSummary(Failure, tag_field="type", tag="summary"):
    """The one line of a command that failed before a run began: what --json prints, with a type."""


class LogRecord(Strict):
    """A line that --log-format json writes to the standard error."""

    time: dt.datetime
    level: Literal["debug", "info", "warning", "error"]
    logger: str
    """The module that logs it."""
    message: str
    run_id: UUID | msgspec.UnsetType = msgspec.UNSET
    """Like the next two: set only if it concerns a single one."""
    collection_id: UUID | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType = msgspec.UNSET
    """Why the collection failed or was skipped."""


EVENTS: tuple[type[Strict], ...] = (Started, CollectionStarted, Progress, Outcome, Enriching)
"""The types of the lines of --jsonl, except the last."""

SUMMARIES: tuple[type[Strict], ...] = (
    SourceIngestSummary,
    AllSourcesIngestSummary,
    CollectionIngestSummary,
    QuickstartPlanSummary,
    FailureSummary,
)
"""The types of the last line of --jsonl."""
