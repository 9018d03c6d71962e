"""The sync times of a source, for people."""

import datetime as dt

from retrovue.cli.text import local_time
from retrovue.operations.sync_times import SyncTimes

_UNITS = (("days", 86_400), ("h", 3600), ("min", 60))


def sync_lines(times: SyncTimes) -> list[str]:
    """Return the grace and the intervals of a source, and a line for each enabled collection."""
    how = f"all is read every {_span(times.sweep_every)}" if times.tells_changes else "each sync reads all"
    compared = f"each item is compared every {_span(times.full_every)}"
    lines = [f"Sync: an asset is gone when it has been missing for {_span(times.grace)}; {how}, and {compared}"]
    for collection in times.collections:
        if collection.swept_at is None:
            lines.append(f"  {collection.collection.name}: the next sync reads all")
            continue
        sweep = [] if collection.next_sweep_at is None else [f"next sweep from {local_time(collection.next_sweep_at)}"]
        full = (
            "with the next sync" if collection.next_full_at is None else f"from {local_time(collection.next_full_at)}"
        )
        told = [f"read on {local_time(collection.swept_at)}", *sweep, f"next full reading {full}"]
        lines.append(f"  {collection.collection.name}: {'; '.join(told)}")
    return lines


def _span(span: dt.timedelta) -> str:
    """Return an interval in the largest unit that divides it; a day is 24 h."""
    seconds = int(span.total_seconds())
    for unit, size in _UNITS:
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds // size:,} {unit}"
    return f"{seconds:,} s"
