"""Relinking: an asset whose item isn't listed any more takes the identity of a new item that is the same.

An asset and an item match if they share a key, by one of four rules that are tried in order. Only unambiguous pairs are
relinked: one asset and one item. If several match, the one with the same file decides, or else the one with the same
version.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import orjson

from retrovue.core.pages import AssetDraft
from retrovue.store.listed import key_of, text_key

RULES = ("guid", "external_id", "file", "episode", "place")
"""The rules, by what a pair shares: Plex's own id; the id of a film at another provider; the files, season and episode;
the show, by an id or else by its title, with season and episode; the files alone.
"""
VERSION = len(RULES)
"""The number of the first key that only decides between several pairs, and makes no pair by itself."""
_EPISODE, _PLACE = RULES.index("episode"), RULES.index("place")
_PROVIDERS = ("plex", "imdb", "tmdb", "tvdb")
_FIRST_ID = VERSION + 1
_FIRST_SHOW_ID = _FIRST_ID + len(_PROVIDERS)
_FILM_PROVIDERS = _PROVIDERS[1:]
_MOST_ALIKE = 8
"""If more assets or items than this have the same key, it is ignored, because their pairs would be as many as the
product of their numbers.
"""

KEY_BYTES = 4 + 1 + 16
"""The length of a packed key of a staged draft, in bytes."""
PACKED_STAGED_KEYS = f"""
    SELECT (get_byte(packed, at) << 24) + (get_byte(packed, at + 1) << 16) + (get_byte(packed, at + 2) << 8)
            + get_byte(packed, at + 3) AS seq,
        get_byte(packed, at + 4) AS rule, substring(packed FROM at + 6 FOR 16) AS key
    FROM (SELECT cast(:staged_keys AS bytea) AS packed) AS keys,
        generate_series(0, length(packed) - 1, {KEY_BYTES}) AS at
"""


def relink_keys(draft: AssetDraft, canonical_hash: bytes) -> list[tuple[int, bytes]]:
    """Return the keys of a new draft: the number of the rule, and the key."""
    ids = draft.provider_ids
    numbers = f"{_text(draft.season_number)}|{_text(draft.episode_number)}"
    texts = [(RULES.index("file"), f"{draft.type}|{canonical_hash.hex()}|{numbers}")]
    if plex := ids.get("plex"):
        texts.append((RULES.index("guid"), f"{draft.type}|{plex}"))
    if draft.type == "movie":
        texts += [
            (RULES.index("external_id"), f"{name}|{identifier}")
            for name in _FILM_PROVIDERS
            if (identifier := ids.get(name))
        ]
    elif draft.type == "episode" and draft.episode_number is not None:
        shows = draft.show_provider_ids or {}
        if draft.show_title:
            texts.append((_EPISODE, f"title|{draft.show_title}|{numbers}"))
        texts += [(_EPISODE, f"{name}|{shows[name]}|{numbers}") for name in _PROVIDERS if shows.get(name)]
        texts += [(_FIRST_ID + number, ids[name]) for number, name in enumerate(_PROVIDERS) if ids.get(name)]
        texts += [(_FIRST_SHOW_ID + number, shows[name]) for number, name in enumerate(_PROVIDERS) if shows.get(name)]
    texts.append((VERSION, f"{draft.video_resolution or ''}|{draft.edition or ''}|{len(draft.parts)}"))
    return [(rule, text_key(value)) for rule, value in texts]


def packed_relink_keys(seq: int, draft: AssetDraft, canonical_hash: bytes) -> bytes:
    """Return the keys of a new draft in the form that `PACKED_STAGED_KEYS` reads; ``seq`` is its number."""
    return b"".join(
        seq.to_bytes(4, "big") + rule.to_bytes(1, "big") + key for rule, key in relink_keys(draft, canonical_hash)
    )


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


_NUMBERS = "concat(lost.season_number, '|', lost.episode_number)"
_IS_EPISODE = "lost.type = 'episode' AND lost.episode_number IS NOT NULL"
_FILM_TEXTS = "".join(
    f"""({RULES.index("external_id")}, CASE WHEN lost.type = 'movie' AND lost.provider_ids ->> '{name}' <> ''
        THEN concat('{name}|', lost.provider_ids ->> '{name}') END),
    """
    for name in _FILM_PROVIDERS
)
_EPISODE_TEXTS = "".join(
    f"""({_EPISODE}, CASE WHEN {_IS_EPISODE} AND lost.show_provider_ids ->> '{name}' <> ''
        THEN concat('{name}|', lost.show_provider_ids ->> '{name}', '|', {_NUMBERS}) END),
    ({_FIRST_ID + number}, CASE WHEN {_IS_EPISODE} THEN nullif(lost.provider_ids ->> '{name}', '') END),
    ({_FIRST_SHOW_ID + number}, CASE WHEN {_IS_EPISODE} THEN nullif(lost.show_provider_ids ->> '{name}', '') END),
    """
    for number, name in enumerate(_PROVIDERS)
)
LOST_TEXTS = f"""
    ({RULES.index("guid")}, CASE WHEN lost.provider_ids ->> 'plex' <> ''
        THEN concat(lost.type, '|', lost.provider_ids ->> 'plex') END),
    ({RULES.index("file")}, concat(lost.type, '|', encode(lost.canonical_hash, 'hex'), '|', {_NUMBERS})),
    {_FILM_TEXTS} {_EPISODE_TEXTS}
    ({_EPISODE}, CASE WHEN {_IS_EPISODE} AND lost.show_title <> ''
        THEN concat('title|', lost.show_title, '|', {_NUMBERS}) END),
    ({VERSION}, concat(lost.video_resolution, '|', lost.edition, '|', lost.part_count))
"""
"""The SQL of the keys of a row ``lost`` of asset before they are hashed: numbers of rules, and texts."""

# Reads the CTEs `lost` (rows of asset), `plan`, and `staged_key`.
PAIRS = f"""
    lost_key AS MATERIALIZED (
        SELECT lost.uuid, given.rule, {key_of("given.value")} AS key
        FROM lost CROSS JOIN LATERAL (VALUES {LOST_TEXTS}) AS given (rule, value) WHERE given.value IS NOT NULL
    ),
    fresh AS MATERIALIZED (
        SELECT seq, verdict, asset_uuid AS holder,
            CASE WHEN asset_uuid IS NULL THEN coalesce(first_seq, seq) END AS leader
        FROM plan WHERE own IS NULL AND (verdict = 'created' OR asset_uuid IS NULL
            OR asset_uuid IN (SELECT uuid FROM lost))
    ),
    fresh_key AS MATERIALIZED (SELECT staged_key.* FROM staged_key JOIN fresh USING (seq)),
    telling AS (
        SELECT rule, key
        FROM (SELECT rule, key FROM lost_key GROUP BY rule, key HAVING count(*) <= {_MOST_ALIKE}) AS few
            JOIN (SELECT rule, key FROM fresh_key GROUP BY rule, key HAVING count(*) <= {_MOST_ALIKE}) AS as_few
            USING (rule, key)
        WHERE rule < {VERSION}
    ),
    pair AS MATERIALIZED (
        SELECT DISTINCT rule, lost_key.uuid, fresh_key.seq
        FROM telling JOIN lost_key USING (rule, key) JOIN fresh_key USING (rule, key)
        UNION ALL
        SELECT {_PLACE}, holder, min(seq) FROM fresh WHERE holder IS NOT NULL GROUP BY holder
    ),
    contradiction AS (
        SELECT pair.uuid, pair.seq FROM pair JOIN lost_key ON lost_key.uuid = pair.uuid
            JOIN fresh_key ON fresh_key.seq = pair.seq AND fresh_key.rule = lost_key.rule
        WHERE pair.rule = {_EPISODE} AND lost_key.rule >= {_FIRST_ID}
        GROUP BY pair.uuid, pair.seq HAVING NOT bool_or(lost_key.key = fresh_key.key)
    ),
    alike AS (
        SELECT pair.uuid, pair.seq, bool_or(lost_key.rule = {RULES.index("file")}) AS file,
            bool_or(lost_key.rule = {VERSION}) AS version
        FROM pair JOIN lost_key ON lost_key.uuid = pair.uuid
            JOIN fresh_key ON fresh_key.seq = pair.seq AND fresh_key.rule = lost_key.rule
                AND fresh_key.key = lost_key.key
        WHERE lost_key.rule IN ({RULES.index("file")}, {VERSION}) GROUP BY pair.uuid, pair.seq
    ),
    pairs AS (
        SELECT pair.rule, pair.uuid, pair.seq, coalesce(alike.file, false) AS file,
            coalesce(alike.version, false) AS version, fresh.verdict, fresh.holder, fresh.leader
        FROM pair JOIN fresh USING (seq) LEFT JOIN alike USING (uuid, seq)
        WHERE pair.rule <> {_EPISODE} OR NOT EXISTS (
            SELECT FROM contradiction WHERE contradiction.uuid = pair.uuid AND contradiction.seq = pair.seq)
    )
"""


RELINKS = """
    jsonb_to_recordset(cast(:relinks AS jsonb)) AS relink (seq integer, asset uuid, rule text, leader integer)
"""
"""Relinks as rows, from the JSON of `relinks_json`."""


class Pair(NamedTuple):
    """An asset whose item is lost, and a new item that may be the same."""

    rule: int
    """The index of the rule in `RULES`."""
    asset: UUID
    seq: int
    """The number of the item's draft."""
    file: bool
    """Whether both have the same files, season and episode."""
    version: bool
    """Whether both have the same resolution, edition and number of parts."""
    verdict: str
    """The verdict on the draft if it isn't relinked: ``created`` or ``duplicate``."""
    holder: UUID | None
    """The asset that has the draft's files."""
    leader: int | None
    """The first draft with the same files, if no asset has them."""


class Relinks(NamedTuple):
    """The pairs that are relinked, and the ambiguous ones."""

    made: Sequence[Pair]
    ambiguous: Sequence[Pair]
    """The first pair of each asset that matches several items, or shares its item with other assets."""


NOTHING_RELINKED = Relinks((), ())


def relinks_json(relinks: Sequence[Pair]) -> str:
    """Return relinks as the JSON that statements read."""
    return orjson.dumps(
        [
            {"seq": pair.seq, "asset": str(pair.asset), "rule": RULES[pair.rule], "leader": pair.leader}
            for pair in relinks
        ]
    ).decode()


def choose(pairs: Iterable[Pair]) -> Relinks:
    """Choose the unambiguous pairs, by the rules in their order."""
    given = sorted(pairs)
    made: dict[UUID, Pair] = {}
    taken = set[int]()
    for rule in range(len(RULES)):
        left = [pair for pair in given if pair.rule == rule]
        for fits in (_same_file, _same_version, _any):
            left = [pair for pair in left if pair.asset not in made and pair.seq not in taken]
            fitting = [pair for pair in left if fits(pair)]
            assets = Counter(pair.asset for pair in fitting)
            drafts = Counter(pair.seq for pair in fitting)
            for pair in fitting:
                if assets[pair.asset] == 1 and drafts[pair.seq] == 1:
                    made[pair.asset] = pair
                    taken.add(pair.seq)
    refused = _without_place(made)
    unclear = {
        pair.asset: pair for pair in reversed(given) if pair.asset not in made and pair.seq not in taken - refused
    }
    return Relinks(sorted(made.values(), key=lambda pair: pair.seq), list(unclear.values()))


def _without_place(made: dict[UUID, Pair]) -> set[int]:
    """Remove the pairs whose files another asset keeps, and return their drafts: a file belongs to one asset."""
    refused = set[int]()
    while True:
        places = Counter[UUID | int | None]()
        bad: list[Pair] = []
        for pair in sorted(made.values(), key=lambda pair: pair.seq):
            place = pair.leader if pair.holder is None else pair.holder
            places[place] += 1
            if places[place] > 1 or (pair.holder is not None and pair.holder not in made):
                bad.append(pair)
        for pair in bad:
            del made[pair.asset]
            refused.add(pair.seq)
        if not bad:
            return refused


def _same_file(pair: Pair) -> bool:
    return pair.file


def _same_version(pair: Pair) -> bool:
    return pair.version


def _any(_pair: Pair) -> bool:
    return True
