"""The rows of the staging table: one for each draft that a merge has to decide about."""

import orjson

from retrovue.store.comparing import ALIKE, Difference
from retrovue.store.drafts import (
    PLAIN,
    ItemKey,
    MappedDraft,
    draft_stamp,
    encoded_spans,
    file_stamp,
    plain_values,
    total_size,
)

COLUMNS = (
    "seq", "source_hash", "canonical_hash", "canonical_uri", "canonical_key", "part_count", "parts", "size_bytes",
    "provider_ids", "tags", "chapters", "markers", "show_provider_ids", "stamp", "file_stamp",
    "sidecar_stamp", "difference", "fields", "again", *PLAIN,
)  # fmt: skip
CARRIED = tuple(column for column in COLUMNS if column not in {"seq", "parts", "difference", "fields", "again"})
"""The columns that an asset takes unchanged from its staged row."""


def staged_row(seq: int, mapped: MappedDraft, key: ItemKey, difference: Difference) -> tuple[object, ...]:
    """Make the row of a draft, in the order of `COLUMNS`. Raises what encoding its values raises."""
    # The asset of a known item takes the source's description; the values of its enrichers stay.
    draft = mapped.draft if difference is ALIKE else mapped.as_told
    parts, spans, told = draft.parts, encoded_spans(draft), mapped.as_told
    files = None
    if len(parts) > 1:
        files = orjson.dumps(
            [
                {"local_path": path, "size_bytes": part.size_bytes, "duration_ms": part.duration_ms}
                for path, part in zip(mapped.local_paths, parts, strict=True)
            ]
        )
    return (
        seq, key.source_hash, key.canonical_hash, mapped.local_paths[0], key.canonical_key, len(parts), files,
        total_size(parts), orjson.dumps(draft.provider_ids), orjson.dumps(draft.tags), *spans,
        None if draft.show_provider_ids is None else orjson.dumps(draft.show_provider_ids),
        key.stamp or draft_stamp(told, spans if told is draft else None), file_stamp(parts), draft.sidecar_stamp,
        difference.kind,
        orjson.dumps(difference.fields) if difference.fields else None,
        None if difference.again is None else orjson.dumps(difference.again),
        *plain_values(draft),
    )  # fmt: skip
