"""What can go wrong and what must then happen, line by line; and which tests say that it does.

``python -m tests.faults.catalogue`` writes the table into docs/reliability.md; a test holds it up to date.
"""

from tests.contracts.rules import ROOT, Marked, marked

DOCUMENT = ROOT / "docs" / "reliability.md"
HEADING = "## What can go wrong\n"

LINES: dict[str, dict[int, str]] = {
    "Plex over HTTP": {
        1: "JSON is cut off: asked again within bounds, then the collection fails",
        2: "a gzip stream or a body without length is cut off: found by strict decoding and counting",
        3: "the content type is wrong: decoded strictly, or refused",
        4: "a web page with 200: “this is not a Plex server”",
        5: "200 without a MediaContainer: a failure, never an empty library",
        6: "401 in the middle: not asked again, a token error, and what has not begun doesn't begin",
        7: "404 for a library: its collection fails as gone, its rows stay",
        8: "429: Retry-After is honoured, up to a cap",
        9: "500, 502, 503: asked again at random intervals within a total deadline; maintenance is not “gone”",
        10: "a slow trickle: a deadline for the page and one for the collection",
        11: "a reset inside a body, or a kept connection that is cut: the same page again",
        12: "the total is a lie: read to the end, and what doesn't match is incomplete",
        13: "the library grows or shrinks while it is read: read once more, then incomplete",
        14: "one item twice: found before SQL sees it",
        15: "a page that repeats, paging without end: stopped with an error, and pages are bounded",
        16: "a gzip bomb, a huge page: decoded bytes are capped while they arrive",
        17: "a redirect to another origin: refused, as the token would go along",
        18: "an error of TLS: exit 3, never downgraded",
        19: "no such host, no connection: exit 3",
        20: "a malformed address or port: an error of the configuration",
        21: "suddenly empty or far smaller: suspicious, and never taken for a removal",
        22: "the list of libraries shrinks: collections are marked, never deleted",
        23: "another server at the address: refused",
    },
    "Values": {
        24: "bytes that are not UTF-8: replaced and flagged",
        25: "half a surrogate pair: replaced and flagged",
        26: "NUL in text or JSON: removed with a warning before SQL",
        27: "beyond 32 or 64 bits: rejected",
        28: "a duration that is negative, NaN or a float: none, with a warning",
        29: "a bool for a number: rejected",
        30: "the year 0, dates out of range: none, with a warning",
        31: "times without a zone: never",
        32: "null for a list: empty, where the list is optional",
        33: "no Media or Part: rejected",
        34: "wrong types, deep nesting: the item is rejected, or the page is an error",
        35: "a JSON key twice: the last one wins",
    },
    "Paths": {
        36: "`..`: resolved, and confined to the mapped root",
        37: "NUL: rejected",
        38: "longer than an index entry can be: unique by a hash",
        39: "not UTF-8: kept without loss, or rejected",
        40: "Windows and UNC: by the rules of the source's system, without touching a disk",
        41: "case: compared by a declared policy only",
    },
    "Database": {
        42: "down at the start: a clear error, after a short while for one that is starting",
        43: "lost in a transaction: the collection fails, the next one has a fresh connection",
        44: "the answer to COMMIT is lost: the outcome row is read",
        45: "a deadlock, a serialization failure: the whole transaction again, three times at most",
        46: "the disk is full: rolled back, with a code that says so",
        47: "a statement or a lock takes too long: the collection fails with the reason",
        48: "too many connections: backs off",
        49: "a pool smaller than the concurrency: refused at the start",
        50: "two ingests of one collection: the second is told at once",
        51: "an outdated schema: refused before the source is asked",
        52: "a read-only server: refused in the pre-flight",
        53: "PgBouncer in transaction mode: works, or is refused clearly",
        54: "`--test-db` that points at production: refused",
    },
    "Process": {
        55: "SIGINT, SIGTERM: outcomes `interrupted`, exit 130 or 143 within two seconds",
        56: "a second signal: at once",
        57: "killed: the next run sees it and closes its rows",
        58: "the standard output is closed: printing stops, the ingest finishes",
        59: "a clock that is wrong: times are the database's, deadlines monotonic",
    },
    "Importers and enrichers": {
        60: "raises in its generator: the collection fails, the generator is closed",
        61: "never returns: a deadline",
        62: "the wrong type: rejected, naming the importer",
        63: "blocks the event loop: a thread or process, and a watchdog",
        64: "swallows cancellation: bounded",
        65: "SystemExit or a stray cancellation: a failure, never a success",
        66: "hangs, crashes, exits with an error: its process group is killed, the asset is kept",
        67: "giant output: capped",
    },
    "Security": {
        68: "the token in a log, JSON, traceback, address, argument or process list: never",
        69: "SQL in names: values are bound, never written into statements",
        70: "terminal escapes in titles: shown as escapes to people",
        71: "requests to where nobody asked: the configured origin only, and no proxy of the environment",
        72: "files, sockets and directories that others can read: 0600 and 0700",
        73: "the embedded server on TCP: never; its socket is private",
        74: "two commands that start the embedded server at once, a stale PID file: a lock, and a look before trust",
    },
}  # fmt: skip

NOT_YET: dict[int, str] = {}
"""Lines without a test so far, and what they wait for; this has to become empty."""


def numbers() -> dict[int, str]:
    """All lines: number → text."""
    return {number: text for lines in LINES.values() for number, text in lines.items()}


def proofs() -> dict[int, list[Marked]]:
    """The tests that carry each line's number, of known and unknown lines."""
    found: dict[int, list[Marked]] = {}
    for one in marked("fault"):
        found.setdefault(int(one.rule), []).append(one)
    return found


def table() -> str:
    """The lines with their tests, as docs/reliability.md holds them."""
    by_line = proofs()
    lines = [HEADING.rstrip(), "", "Generated by `python -m tests.faults.catalogue`; a test holds it up to date."]
    for group, entries in LINES.items():
        lines += ["", f"### {group}", "", "| Line | What, and what then | Tests |", "|---|---|---|"]
        for number, text in entries.items():
            where = [f"`{one.file}` {one.name}" for one in by_line.get(number, [])]
            shown = "<br>".join(where) or f"none yet: {NOT_YET.get(number, '')}"
            lines.append(f"| {number} | {text} | {shown} |")
    return "\n".join(lines) + "\n"


def document() -> str:
    """The whole document with the table as it is now."""
    above, _, _ = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)
    return above + table()


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
