"""Find assets whose item has moved to another collection, and exchange the items of two assets.

A sync relinks only within a collection. An item that moves to another collection is lost in one and new in the other,
so it has two assets. When they exchange their items, the older asset has the listed item, with its collection and
files; the other asset has the lost item. No row is deleted, and the same exchange undoes it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from msgspec import Struct

from retrovue.core.errors import RequestError
from retrovue.core.model import Collection
from retrovue.core.verdicts import LISTED
from retrovue.store.audit import ANY_OF_COLLECTIONS, id_list
from retrovue.store.changes import INSERT_CHANGES, lock_feed
from retrovue.store.comparing import CONTENT
from retrovue.store.listed import key_of
from retrovue.store.plan import label_of
from retrovue.store.relinking import LOST_TEXTS, PAIRS, RULES, VERSION, Pair, choose
from retrovue.store.statements import Row, Session, text

CHOSEN = "chosen"
"""The rule of a pair that a person chose."""

_OWN = ("uuid", "state", "approved_for_broadcast", "created_at", "updated_at", "deleted_at")
"""The columns that stay with an asset. All others belong to its item."""

_LOST = f"availability <> 'present' AND deleted_at IS NULL AND collection_uuid = {ANY_OF_COLLECTIONS}"
_ANY_LOST = text(f"SELECT EXISTS (SELECT FROM asset WHERE {_LOST})")
# Only new assets about which nobody has decided: an approved one may be on air under its own id. And only assets that
# were created after the end of the run that last found the lost item. Otherwise both existed at the same time, for
# example a film that is in a library of films and in one of 4K films. An ingest doesn't store which items it found.
_PAIRS = f"""
    WITH lost AS MATERIALIZED (
        SELECT * FROM asset WHERE {_LOST}
    ),
    last_seen AS MATERIALIZED (
        SELECT whose.*, greatest(
            whose.created_at,
            (SELECT max(ended_at) FROM ingest_outcome WHERE ingest_outcome.run_id = made.run_id),
            (SELECT max(ended_at) FROM ingest_outcome WHERE ingest_outcome.run_id = seen.run_id)
        ) AS at
        FROM (SELECT DISTINCT collection_uuid, created_at, unavailable_since FROM lost) AS whose
            LEFT JOIN LATERAL (
                SELECT run_id FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)
                WHERE collection_id = whose.collection_uuid AND started_at <= whose.created_at
                    AND ended_at >= whose.created_at
                ORDER BY started_at DESC LIMIT 1
            ) AS made ON true
            LEFT JOIN LATERAL (
                SELECT run_id FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)
                WHERE collection_id = whose.collection_uuid AND ended_at < whose.unavailable_since AND mode = 'sync'
                    AND scope = '{{}}' AND status = 'ingested' AND removals_held_back = 0
                ORDER BY started_at DESC LIMIT 1
            ) AS seen ON true
    ),
    wanted AS MATERIALIZED (
        SELECT DISTINCT given.value FROM lost CROSS JOIN LATERAL (VALUES {LOST_TEXTS}) AS given (rule, value)
        WHERE given.rule < {VERSION} AND given.value IS NOT NULL
    ),
    candidate AS MATERIALIZED (
        SELECT cast(row_number() OVER (ORDER BY lost.uuid) AS integer) AS seq, lost.* FROM asset AS lost
        WHERE availability = 'present' AND deleted_at IS NULL AND state IN ('new', 'enriching')
            AND lost.created_at > (SELECT min(at) FROM last_seen)
            AND EXISTS (
                SELECT FROM (VALUES {LOST_TEXTS}) AS given (rule, value)
                WHERE given.rule < {VERSION} AND given.value IN (SELECT value FROM wanted)
            )
    ),
    plan AS (
        SELECT seq, 'created' AS verdict, cast(NULL AS uuid) AS asset_uuid, cast(NULL AS integer) AS first_seq,
            cast(NULL AS uuid) AS own
        FROM candidate
    ),
    staged_key AS MATERIALIZED (
        SELECT lost.seq, given.rule, {key_of("given.value")} AS key
        FROM candidate AS lost CROSS JOIN LATERAL (VALUES {LOST_TEXTS}) AS given (rule, value)
        WHERE given.value IS NOT NULL
    ),
    {PAIRS}
    SELECT pairs.*, candidate.uuid AS candidate, was.id AS was, now.id AS now
    FROM pairs JOIN lost USING (uuid) JOIN candidate USING (seq)
        JOIN collection AS was ON was.id = lost.collection_uuid
        JOIN collection AS now ON now.id = candidate.collection_uuid
        JOIN last_seen ON last_seen.collection_uuid = lost.collection_uuid AND last_seen.created_at = lost.created_at
            AND last_seen.unavailable_since = lost.unavailable_since
    WHERE was.id <> now.id AND candidate.created_at > last_seen.at
        AND (was.source_id = now.source_id OR cast(:other_sources AS boolean))
"""
_GIVEN = """
    jsonb_to_recordset(cast(:pairs AS jsonb)) AS given (lost uuid, listed uuid, rule text)
"""
# Another file has another value in one of these columns. Values of enrichers may differ for the same file.
_OTHER_FILE = " OR ".join(
    f"(lost.{column} <> listed.{column} AND NOT coalesce(lost.provenance ? '{column}', false)"
    f" AND NOT coalesce(listed.provenance ? '{column}', false))"
    for column in CONTENT
)
_OTHER_FILE = f"coalesce({_OTHER_FILE}, false)"
_ENDS = f"""
    SELECT given.rule, lost.uuid AS lost, {label_of("lost")} AS lost_title, lost.source_uri AS lost_uri,
        lost.collection_uuid AS lost_collection, lost.state AS lost_state, lost.availability AS lost_availability,
        lost.type AS lost_type, lost.deleted_at IS NOT NULL AS lost_deleted,
        listed.uuid AS listed, {label_of("listed")} AS listed_title, listed.source_uri AS listed_uri,
        listed.collection_uuid AS listed_collection, listed.state AS listed_state,
        listed.availability AS listed_availability, listed.type AS listed_type,
        listed.deleted_at IS NOT NULL AS listed_deleted, {_OTHER_FILE} AS other_file
    FROM {_GIVEN} JOIN asset AS lost ON lost.uuid = given.lost JOIN asset AS listed ON listed.uuid = given.listed
    ORDER BY lost_title, lost.uuid
"""
_LOCK = text(
    f"""
    SELECT count(*) FROM (
        SELECT FROM asset WHERE uuid IN (SELECT lost FROM {_GIVEN} UNION SELECT listed FROM {_GIVEN})
        ORDER BY uuid FOR UPDATE
    ) AS locked
    """
)

# Both assets of each exchange as they were: `other` is the asset whose item this one gets.
_TABLE = text(
    f"""
    CREATE TEMPORARY TABLE exchanged ON COMMIT DROP AS
    SELECT asset.*, asset.uuid AS other, false AS lost, false AS other_file, '' AS rule, '' AS becomes,
        {label_of("asset")} AS label
    FROM asset LIMIT 0
    """
)
_BOTH = "(given.lost, given.listed, true), (given.listed, given.lost, false)"
_FILL = f"""
    INSERT INTO exchanged
    SELECT asset.*, ends.other, ends.lost, ends.other_file, ends.rule, '', {label_of("asset")}
    FROM (
        SELECT ends.uuid, ends.other, ends.lost, given.rule, {_OTHER_FILE} AS other_file
        FROM {_GIVEN} JOIN asset AS lost ON lost.uuid = given.lost JOIN asset AS listed ON listed.uuid = given.listed
            CROSS JOIN LATERAL (VALUES {_BOTH}) AS ends (uuid, other, lost)
    ) AS ends JOIN asset ON asset.uuid = ends.uuid
"""
# A person approved a file. The approval stays if the file is the same, or if somebody has approved the other asset as
# well.
_DECIDE = text(
    """
    UPDATE exchanged SET becomes = CASE
        WHEN exchanged.state = 'retired' THEN 'retired'
        WHEN exchanged.lost AND other.state = 'ready' THEN 'ready'
        WHEN exchanged.lost AND exchanged.state = 'ready' AND (NOT exchanged.other_file
            OR (SELECT keep_approval FROM collection WHERE id = other.collection_uuid)) THEN 'ready'
        WHEN other.state IN ('new', 'enriching') THEN other.state ELSE 'new' END
    FROM exchanged AS other WHERE other.uuid = exchanged.other
    """
)
_ANALYZE = text("ANALYZE exchanged")
# The identities of one asset must be free before the other one can take them.
_DEFER = text("SET CONSTRAINTS asset_canonical_identity DEFERRED")
_FREE = text(
    "UPDATE asset SET source_hash = decode(md5(concat('exchanged ', asset.uuid)), 'hex') FROM exchanged"
    " WHERE asset.uuid = exchanged.uuid AND exchanged.lost"
)
_COLUMNS = text(
    "SELECT attname FROM pg_attribute WHERE attrelid = 'asset'::regclass AND attnum > 0 AND NOT attisdropped"
    f" AND attname NOT IN {_OWN} ORDER BY attnum"
)
_EXCHANGE = """
    UPDATE asset SET {items}, state = own.becomes, approved_for_broadcast = own.becomes = 'ready', updated_at = now()
    FROM exchanged AS own JOIN exchanged AS item ON item.uuid = own.other
    WHERE asset.uuid = own.uuid AND own.lost = {lost}
"""
# Everything that belongs to the item moves with it: its files, enrichment results, and aliases.
_CHILDREN = ("asset_part", "asset_enrichment")
_TAKE_CHILDREN = (
    """
    CREATE TEMPORARY TABLE exchanged_{table} ON COMMIT DROP AS
    SELECT child.* FROM {table} AS child JOIN exchanged ON exchanged.uuid = child.asset_uuid
    """,
    """
    UPDATE exchanged_{table} AS child SET asset_uuid = exchanged.other FROM exchanged
    WHERE exchanged.uuid = child.asset_uuid
    """,
    "DELETE FROM {table} AS child USING exchanged WHERE exchanged.uuid = child.asset_uuid",
    "INSERT INTO {table} SELECT * FROM exchanged_{table}",
)
_MOVE_ALIASES = text(
    "UPDATE asset_alias SET asset_uuid = exchanged.other FROM exchanged WHERE asset_alias.asset_uuid = exchanged.uuid"
)
_KEEP_IDENTITIES = text(
    """
    INSERT INTO asset_identity (asset_uuid, collection_uuid, source_hash, source_uri, rule)
    SELECT uuid, collection_uuid, source_hash, source_uri, rule FROM exchanged
    ON CONFLICT (asset_uuid, source_hash) DO UPDATE SET until = excluded.until, run_id = NULL, rule = excluded.rule
    """
)
_DROP_IDENTITIES = text(
    "DELETE FROM asset_identity USING exchanged, asset WHERE asset.uuid = exchanged.uuid"
    " AND asset_identity.asset_uuid = asset.uuid AND asset_identity.source_hash = asset.source_hash"
)
_RECORD = text(
    INSERT_CHANGES.format(
        rows="""
        SELECT own.uuid, item.collection_uuid, own.label, told.what, cast(NULL AS uuid), cast(:by AS text), told.fields
        FROM exchanged AS own JOIN exchanged AS item ON item.uuid = own.other CROSS JOIN LATERAL (VALUES
            (1, CASE WHEN own.lost THEN 'relinked' ELSE item.availability END, jsonb_build_object(
                'availability', jsonb_build_array(own.availability, item.availability),
                'collection_uuid', jsonb_build_array(own.collection_uuid, item.collection_uuid),
                'source_uri', jsonb_build_array(own.source_uri, item.source_uri),
                'canonical_key', jsonb_build_array(own.canonical_key, item.canonical_key))),
            (2, CASE WHEN own.becomes = 'ready' THEN 'approved' ELSE 'withdrawn' END,
                jsonb_build_object('state', jsonb_build_array(own.state, own.becomes)))
        ) AS told (number, what, fields)
        WHERE told.number = 1 OR (own.state = 'ready') <> (own.becomes = 'ready')
        ORDER BY own.label, own.uuid, told.number
        """
    )
)


class Exchange(NamedTuple):
    """Two assets that may exchange their items."""

    lost: UUID
    """The asset whose item isn't listed any more."""
    listed: UUID
    """The asset whose item is listed."""
    rule: str
    """The rule by which both match: one of `relinking.RULES`, or `CHOSEN`."""


class MoveEnd(Struct, frozen=True):
    """One of two assets that may exchange their items."""

    uuid: UUID
    title: str
    """Its label, with show, season and episode."""
    source_uri: str
    collection_uuid: UUID
    state: str
    availability: str


class Move(Struct, frozen=True):
    """An asset whose item is lost, and one that has, or may have, the same item in another collection."""

    lost: MoveEnd
    listed: MoveEnd
    rule: str
    """The rule by which both match: ``guid``, ``external_id``, ``file`` or ``episode``, as in a sync; ``chosen`` if a
    person chose them.
    """
    same_file: bool
    """Whether size, duration and codecs are equal, as far as both are known."""


class FoundMoves(NamedTuple):
    """The pairs of assets that a search has found."""

    exchanges: Sequence[Exchange]
    """The unambiguous pairs, one to one."""
    ambiguous: Sequence[Exchange]
    """The first pair of each lost asset that matches several items, or shares its item with other lost assets."""
    collections: frozenset[UUID]
    """The collections of both assets of the unambiguous pairs."""


async def find_moves(session: Session, collections: Sequence[Collection], *, other_sources: bool) -> FoundMoves:
    """Find the lost assets of collections whose item has moved to another collection, by the rules of a sync.

    Their new assets were created after their items were last listed, and nobody has approved or retired them. With
    ``other_sources`` collections of other sources are searched as well.
    """
    bind: dict[str, Any] = {"collections": id_list(collections)}
    if not (await session.execute(_ANY_LOST, bind)).scalar_one():
        return FoundMoves((), (), frozenset())
    bind["other_sources"] = other_sources
    # The planner can't know that most assets have the same resolution: in the order of the statement, it is compared
    # for pairs only. And JIT compilation of the many small expressions takes longer than evaluating them.
    for setting in ("enable_nestloop = off", "join_collapse_limit = 1", "jit = off"):
        await session.execute(text(f"SET LOCAL {setting}"))
    candidates: dict[int, UUID] = {}
    concerned: dict[tuple[UUID, int], tuple[UUID, UUID]] = {}
    pairs: list[Pair] = []
    for row in await session.execute(text(_PAIRS), bind):
        *fields, candidate, was, now = row
        pair = Pair(*fields)
        pairs.append(pair)
        candidates[pair.seq] = candidate
        concerned[pair.asset, pair.seq] = (was, now)
    chosen = choose(pairs)
    made, ambiguous = (
        [Exchange(pair.asset, candidates[pair.seq], RULES[pair.rule]) for pair in found]
        for found in (chosen.made, chosen.ambiguous)
    )
    collections_of_made = frozenset(
        identifier for pair in chosen.made for identifier in concerned[pair.asset, pair.seq]
    )
    return FoundMoves(made, ambiguous, collections_of_made)


async def show_moves(session: Session, exchanges: Sequence[Exchange], limit: int = LISTED) -> list[Move]:
    """Return both assets of the first exchanges, by name. Those with an asset that was deleted are left out."""
    return [_move(row) for row in (await _ends(session, exchanges))[:limit]]


async def exchange_items(session: Session, exchanges: Sequence[Exchange], *, by: str) -> None:
    """Exchange the items of assets, and add that to the feed of changes; ``by`` is ``user@host`` of the person.

    The lost asset keeps its id, its history and its approval. The approval is withdrawn if the item has another file,
    unless the other asset is approved or its collection keeps approvals. Raises RequestError, and changes nothing, if
    the assets can't exchange their items, or have changed meanwhile.
    """
    given = {"pairs": _json(exchanges)}
    await session.execute(_LOCK, given)
    ends = await _ends(session, exchanges)
    require_exchangeable(exchanges, ends)
    await session.execute(_TABLE)
    await session.execute(text(_FILL), given)
    await session.execute(_ANALYZE)
    await session.execute(text("SET LOCAL enable_nestloop = on"))
    await session.execute(_DECIDE)
    names = (await session.execute(_COLUMNS)).scalars()
    items = ", ".join(f"{name} = item.{name}" for name in names)
    await session.execute(_DEFER)
    await session.execute(_FREE)
    for lost in ("false", "true"):
        await session.execute(text(_EXCHANGE.format(items=items, lost=lost)))
    for table in _CHILDREN:
        for statement in _TAKE_CHILDREN:
            await session.execute(text(statement.format(table=table)))
    await session.execute(_MOVE_ALIASES)
    await session.execute(_KEEP_IDENTITIES)
    await session.execute(_DROP_IDENTITIES)
    await lock_feed(session)
    await session.execute(_RECORD, {"by": by})


async def check_exchange(session: Session, exchange: Exchange) -> Move:
    """Return both assets of an exchange that a person chose. Raises RequestError if it isn't possible."""
    ends = await _ends(session, [exchange])
    require_exchangeable([exchange], ends)
    return _move(ends[0])


def require_exchangeable(exchanges: Sequence[Exchange], ends: Sequence[Row]) -> None:
    """Raise RequestError unless each exchange is between a lost asset and a present one of the same type."""
    for row in ends:
        reason = None
        if row.lost_availability == "present":
            reason = f"{row.lost_title} ({row.lost}) is listed by its source"
        elif row.listed_availability != "present":
            reason = f"{row.listed_title} ({row.listed}) isn't listed by its source either"
        elif row.lost_type != row.listed_type:
            reason = f"{row.lost_title} is of type {row.lost_type}, {row.listed_title} of type {row.listed_type}"
        elif row.lost_deleted or row.listed_deleted:
            reason = f"{row.lost_title if row.lost_deleted else row.listed_title} is marked as deleted"
        if reason is not None:
            raise _refused(f"These assets can't be relinked: {reason}.", row)
    if len(ends) != len(exchanges):
        raise _refused("An asset to relink isn't in the catalogue any more.")


def _refused(message: str, row: Row | None = None) -> RequestError:
    return RequestError(
        message,
        code="bad_relink",
        hint="Nothing was changed. First name an asset that is missing or gone, then the one that has its item now:"
        " `retrovue asset relink` lists such pairs.",
        context={} if row is None else {"lost": str(row.lost), "listed": str(row.listed)},
    )


async def _ends(session: Session, exchanges: Iterable[Exchange]) -> Sequence[Row]:
    return (await session.execute(text(_ENDS), {"pairs": _json(exchanges)})).all()


def _json(exchanges: Iterable[Exchange]) -> str:
    rows = [{"lost": str(lost), "listed": str(listed), "rule": rule} for lost, listed, rule in exchanges]
    return orjson.dumps(rows).decode()


def _move(row: Row) -> Move:
    lost = MoveEnd(row.lost, row.lost_title, row.lost_uri, row.lost_collection, row.lost_state, row.lost_availability)
    listed = MoveEnd(
        row.listed, row.listed_title, row.listed_uri, row.listed_collection, row.listed_state, row.listed_availability
    )
    return Move(lost, listed, row.rule, not row.other_file)
