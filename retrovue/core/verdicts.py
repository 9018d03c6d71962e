"""The verdicts: what can become of a draft, and what can become of an asset for which there is no draft.

JSON documents, their schemas, the columns of the audit trail, the human report and the metrics are made from this
table. A new verdict needs an entry here, its attribute of `Counts` and `Listed` (`core.results`), the SQL of the plan
that decides it (`store.plan`), and a migration that adds its column to ``ingest_outcome``.
"""

from typing import Literal, get_args

from msgspec import Struct

LISTED = 100
"""How many entries of each verdict an outcome lists. The audit trail has all rejections."""
CREATED_SHOWN = 20
"""How many titles of created assets an outcome lists."""

ChangeKind = Literal[
    "refreshed",
    "replaced",
    "relocated",
    "relinked",
    "restored",
    "missing",
    "gone",
    "approved",
    "retired",
    "unretired",
    "withdrawn",
    "purged",
]
"""The kinds of changes of an asset after its creation, as the feed of changes has them."""
CHANGE_KINDS: tuple[str, ...] = get_args(ChangeKind)
REFRESHED: ChangeKind = "refreshed"
"""The kind of a change of an asset's description, also by an enricher."""


class Entries(Struct, frozen=True, kw_only=True):
    """How the entries of a verdict are listed."""

    key: str
    """Key of the list in the JSON document of a collection."""
    meaning: str
    """What an entry is, as a sentence for schemas."""
    most: int = LISTED
    detail: str | None = None
    """Key of an entry's detail in the JSON document; None where the entry is a title and nothing else."""
    column: str | None = None
    """Column of the merge's list that holds the detail: ``holder``, ``canonical_uri``, ``fields``, ``was`` or
    ``rule``."""
    label: str | None = None
    """Heading in the human report; None where it doesn't show them."""
    text: str = "{title}"
    """The format of an entry that has a detail, in the human report."""
    only_dry_run: bool = False
    """Whether the human report shows the entries for a dry-run only. It then shows all listed entries."""


class Figure(Struct, frozen=True, kw_only=True):
    """A number that is counted for each collection."""

    count: str
    """Attribute of `Counts` and `Listed`, key in the JSON document of a collection, and column of ``ingest_outcome``.
    """
    meaning: str
    """What is counted."""
    total: str | None = None
    """Key of the run's total in the JSON document."""
    entries: Entries | None = None
    """How entries are listed; None if they aren't."""


class Verdict(Figure, frozen=True, kw_only=True):
    """What can become of a draft."""

    name: str
    """The name of the verdict in the plan of the merge."""
    part_of: str | None = None
    """The count that includes this one. The counts that aren't part of another add up to ``discovered``."""
    heading: str | None = None
    """Heading of the column in tables for people. A line break marks where the heading may be broken."""
    planned: bool = True
    """Whether the plan of the merge decides the verdict. A rejection is known before staging."""
    added: bool = False
    """Whether its keys come after those of the first version of a JSON document."""


ABSENCES: tuple[Figure, ...] = (
    Figure(
        count="absent",
        meaning="assets that are present in the catalogue and aren't listed by the source",
        total="total_absent",
    ),
    Figure(
        count="missing",
        meaning="assets that became missing",
        total="total_missing",
        entries=Entries(
            key="missing_items",
            meaning="An asset that the source doesn't list any more.",
            detail="detail",
            label="missing",
            text="{title} ({detail})",
        ),
    ),
    Figure(
        count="gone",
        meaning="assets that became gone: they were missing for longer than the grace",
        total="total_gone",
        entries=Entries(
            key="gone_items",
            meaning="An asset that the source hasn't listed for longer than the grace.",
            detail="detail",
            label="gone",
            text="{title} ({detail})",
        ),
    ),
    Figure(
        count="removals_held_back",
        meaning="assets that would have become missing or gone, if no guard had held them back",
        total="total_removals_held_back",
    ),
)
"""What can become of an asset that the source doesn't list. It has no draft, so it doesn't count as ``discovered``."""

READINGS: tuple[Figure, ...] = (
    Figure(
        count="resumed",
        meaning="items of the source that an interrupted run had read, so that this one didn't read them again",
        total="total_resumed",
    ),
)
"""How the items of a source were read."""

VERDICTS: tuple[Verdict, ...] = (
    Verdict(
        name="created",
        count="created",
        meaning="new assets",
        total="total_created_assets",
        heading="Created",
        entries=Entries(
            key="created_titles",
            meaning="A new asset.",
            most=CREATED_SHOWN,
            label="would be created",
            only_dry_run=True,
        ),
    ),
    Verdict(
        name="skipped",
        count="skipped",
        meaning="items whose asset was there already",
        total="total_skipped_assets",
        heading="Known",
    ),
    Verdict(
        name="duplicate",
        count="duplicates",
        meaning="items whose file is another asset's",
        total="total_duplicates",
        heading="Dupli-\ncates",
        entries=Entries(
            key="duplicate_candidates",
            meaning="An item whose file is another asset's.",
            detail="duplicate_of",
            column="holder",
            label="duplicate candidates",
            text="{title} (same file as {detail})",
        ),
    ),
    Verdict(
        name="rejected",
        count="rejected",
        meaning="items that can't be used",
        total="total_rejected",
        heading="Re-\njected",
        planned=False,
        entries=Entries(key="rejected_items", meaning="An item that can't be used.", label="rejected"),
    ),
    Verdict(
        name="relocated",
        count="relocated",
        meaning="assets that followed a moved file or a changed mapping",
        part_of="skipped",
        total="total_relocated",
        entries=Entries(
            key="relocated_items",
            meaning="An asset whose file has moved.",
            detail="now_at",
            column="canonical_uri",
            label="relocated",
            text="{title} -> {detail}",
        ),
    ),
    Verdict(
        name="soft_deleted",
        count="soft_deleted",
        meaning="assets that are marked as deleted",
        part_of="skipped",
        entries=Entries(
            key="soft_deleted_items",
            meaning="An asset that is marked as deleted and was seen again.",
            detail="detail",
        ),
    ),
    Verdict(
        name="refreshed",
        count="refreshed",
        meaning="assets whose description followed the source",
        part_of="skipped",
        total="total_refreshed",
        added=True,
        entries=Entries(
            key="refreshed_items",
            meaning="An asset whose description has changed.",
            detail="fields",
            column="fields",
            label="refreshed",
            text="{title} ({detail})",
        ),
    ),
    Verdict(
        name="replaced",
        count="replaced",
        meaning="assets whose file was replaced",
        part_of="skipped",
        total="total_replaced",
        added=True,
        entries=Entries(
            key="replaced_items",
            meaning="An asset whose file was replaced.",
            detail="fields",
            column="fields",
            label="replaced",
            text="{title} ({detail})",
        ),
    ),
    Verdict(
        name="restored",
        count="restored",
        meaning="assets that are available again",
        part_of="skipped",
        total="total_restored",
        added=True,
        entries=Entries(
            key="restored_items",
            meaning="An asset that was missing or gone, and is listed again.",
            detail="was",
            column="was",
            label="restored",
            text="{title} (was {detail})",
        ),
    ),
    Verdict(
        name="relinked",
        count="relinked",
        meaning="assets that took the identity of a new item of their source",
        part_of="skipped",
        total="total_relinked",
        added=True,
        entries=Entries(
            key="relinked_items",
            meaning="An asset that took the identity of a new item: its own was lost.",
            detail="rule",
            column="rule",
            label="relinked",
            text="{title} (same {detail})",
        ),
    ),
    Verdict(
        name="changed",
        count="changed",
        meaning="items that an ingest left unchanged although the source describes them differently now",
        part_of="skipped",
        total="total_changed",
        planned=False,
        added=True,
    ),
)

COUNTS = (
    *("source_items", "discovered", *(verdict.count for verdict in VERDICTS if not verdict.added)),
    *("warnings", "failed_enrichments", *(verdict.count for verdict in VERDICTS if verdict.added)),
    *(counted.count for counted in (*ABSENCES, *READINGS)),
)
"""The attributes of `Counts`, the counts of a collection's JSON document, and the columns of ``ingest_outcome``."""
ADDED: tuple[Figure, ...] = (*(verdict for verdict in VERDICTS if verdict.added), *ABSENCES, *READINGS)
"""Those whose keys come after the ones of the first version of a JSON document."""
ADDED_COUNTS = tuple(kind.count for kind in ADDED)
EXCLUSIVE = tuple(verdict.count for verdict in VERDICTS if verdict.part_of is None)
"""The counts that add up to ``discovered``: each draft is in exactly one of them."""
NEWLY_LISTED = ("created", "restored", "relinked")
"""The counts of items that an earlier run may not have listed."""
REPEATED = "duplicates"
"""The count of items that each run counts again, whether or not an earlier run listed them."""
PLANNED = tuple(verdict for verdict in VERDICTS if verdict.planned)
"""The verdicts that the plan of a merge decides."""
LISTS = tuple(
    (verdict, verdict.entries)
    for verdict in (*PLANNED, *(verdict for verdict in VERDICTS if not verdict.planned))
    if verdict.entries is not None
)
"""The verdicts with listed entries, and how they are listed; those of the plan come first."""
LISTED_ABSENCES = tuple((absence, absence.entries) for absence in ABSENCES if absence.entries is not None)
"""The same for assets that the source doesn't list."""
HEADINGS = {
    **{verdict.count: verdict.heading for verdict in VERDICTS if verdict.heading is not None},
    "failed_enrichments": "Failed\nenrich.",
}
"""The counts that tables for people show, with their column headings."""
