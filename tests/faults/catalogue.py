"""What can go wrong, what RetroVue does then, and which tests show it.

``python -m tests.faults.catalogue`` writes the table into docs/reliability.md; a test holds it up to date.
"""

from tests.contracts.rules import ROOT, Marked, marked

DOCUMENT = ROOT / "docs" / "reliability.md"
HEADING = "## What can go wrong\n"

LINES: dict[str, dict[int, str]] = {
    "Plex over HTTP": {
        1: "JSON is cut off: requested again a few times, then the collection fails",
        2: "a gzip stream or a body without length is cut off: detected by strict decoding and by counting rows",
        3: "the content type is wrong: the body is decoded strictly, or refused",
        4: "a web page with status 200: an error that says “this is not a Plex server”",
        5: "200 without a MediaContainer: a failure, never an empty library",
        6: "401 during an ingest: a token error without a retry; collections that have not begun are not started",
        7: "404 for a library: its collection fails as gone, and its assets stay",
        8: "429: Retry-After is honoured, up to a cap",
        9: "500, 502, 503: requested again at random intervals within a deadline; maintenance is not taken for “gone”",
        10: "an answer that arrives very slowly: a deadline for the page and one for the collection",
        11: "the connection is reset inside a body, or was closed while idle: the same page is requested again",
        12: "the total is wrong: the listing is read to its end, and is incomplete if the number differs",
        13: "the library grows or shrinks while it is read: read once more, then the collection fails as incomplete",
        14: "one item is listed twice: detected before it reaches SQL",
        15: "a page that repeats, or a listing without end: an error; the number of pages is bounded",
        16: "a gzip bomb, a huge page: the decompressed bytes are limited while they arrive",
        17: "a redirect to another origin: refused, because the token would be sent there",
        18: "a TLS error: exit 3, and no attempt without TLS",
        19: "no such host, no connection: exit 3",
        20: "a malformed address or port: a configuration error",
        21: "a listing that is suddenly empty or far smaller: reported, and nothing is removed",
        22: "libraries are missing from the list: their collections are marked, and not deleted",
        23: "another server answers at the address: refused",
    },
    "Values": {
        24: "bytes that are not UTF-8: replaced, with a warning",
        25: "half a surrogate pair: replaced, with a warning",
        26: "NUL in text or JSON: removed with a warning before SQL",
        27: "numbers beyond 32 or 64 bits: the item is rejected",
        28: "a duration that is negative, NaN or a float: dropped, with a warning",
        29: "a bool for a number: the item is rejected",
        30: "the year 0, dates out of range: dropped, with a warning",
        31: "times without a zone: do not occur; every column has a zone",
        32: "null for an optional list: an empty list",
        33: "no Media or Part: the item is rejected",
        34: "wrong types, deep nesting: the item is rejected, or the page fails",
        35: "a JSON key twice: the last one wins",
    },
    "Paths": {
        36: "`..`: resolved, and confined to the mapped root",
        37: "NUL in a path: the item is rejected",
        38: "longer than an index entry can be: compared by a hash",
        39: "not UTF-8: kept without loss, or the item is rejected",
        40: "Windows and UNC paths: compared by the rules of the source's system, without touching a disk",
        41: "upper and lower case: compared by a declared rule only",
    },
    "Files and sidecars": {
        121: "an odd value in a sidecar or a media file: costs itself alone, with a warning",
        122: "an incomplete set of parts, a copied disc or its image: one rejection",
        123: "a file without a duration, a picture with a film's name: the probe has failed",
        124: "a sidecar with an address alone, a scene's text, any encoding, several roots: read, or no failure",
        125: "a sidecar that can't be used, or is about another film: keeps no other from being read",
        126: "several episodes in a file, a date for a number, odd spellings: read; else a clip with a warning",
        127: "brackets in titles, ids in names as Plex, Jellyfin and Emby write them: read as what they are",
        128: "snapshots, recycle bins, unfinished files, samples, extras: left out and counted by reason",
        129: "a share in several spellings, composed and decomposed letters: one path",
        130: "a file that grew or was replaced under its name: noticed by size and time, and read again",
        303: "a lost mount: no directory, an empty one, one without the files, one that hangs: nothing is created",
    },
    "Database": {
        42: "down at the start: a clear error, after a short while for one that is starting",
        43: "lost in a transaction: the collection fails, the next one has a fresh connection",
        44: "the answer to COMMIT is lost: the outcome row is read",
        45: "a deadlock, a serialization failure: the whole transaction is tried again, three times at most",
        46: "the disk is full: rolled back, with a code that says so",
        47: "a statement or a lock takes too long: the collection fails with the reason",
        48: "too many connections: tried again with increasing pauses",
        49: "a pool smaller than the concurrency: refused at the start",
        50: "two ingests of one collection: the second fails at once",
        51: "an outdated schema: refused before any request to the source",
        52: "a read-only server: refused in the pre-flight",
        53: "PgBouncer in transaction mode: works, or is refused clearly",
        54: "`--test-db` that names the production database: refused",
    },
    "Database networks and addresses": {
        101: "the network falls silent, one way or both: statements have time limits, the locks a heartbeat",
        102: "a parameter in the database's URL: works as libpq documents it, or is refused by its name",
        103: "no TLS, a certificate that isn't trusted: a code of their own, never a connection without TLS",
        104: "no UTF8, no temporary tables, too low a limit: found by db upgrade, the doctor and the pre-flight",
        105: "a pooler with too few sessions, or in statement mode: refused before anything begins",
        106: "`--test-db` by an alias of the production database, or with foreign tables in it: refused",
        107: "a pid file that the server's account has changed: root signals with the rights of that account alone",
    },
    "Process": {
        55: "SIGINT, SIGTERM: outcomes `interrupted`, exit 130 or 143 within two seconds",
        56: "a second signal: the program ends at once",
        57: "killed: the next run closes its audit rows",
        155: "ends within a large library: what was read is kept, and used only if the source lists the same",
        58: "the standard output is closed: printing stops, and the ingest goes on",
        156: "the second process that decodes is killed, stopped or of another version: the run decodes alone",
        310: "the same items are rejected in each run: stored once; details of old runs are removed",
        59: "a clock that is wrong: times are the database's, and deadlines use the monotonic clock",
    },
    "Importers and enrichers": {
        60: "raises in its generator: the collection fails, and the generator is closed",
        61: "never returns: its deadline ends it",
        62: "returns the wrong type: rejected, with the importer's name",
        63: "blocks the event loop: it runs in a thread or process of its own, and is given up",
        64: "swallows cancellation: it is left behind, and the run goes on",
        65: "SystemExit or a stray cancellation: a failure, never a success",
        66: "its program hangs, crashes or fails: the process group is killed, and the asset is kept",
        67: "giant output: limited",
    },
    "Security": {
        68: "the token in a log, JSON, traceback, address, argument or process list: never appears",
        69: "SQL in names: values are bound, never written into statements",
        70: "terminal escapes in titles: printed as visible escapes",
        71: "requests to other hosts: only the configured origin is asked, without a proxy from the environment",
        72: "files, sockets and directories: created with mode 0600 and 0700",
        73: "the embedded server on TCP: no port is opened; its socket is private",
        74: "two commands start the embedded server at once, a stale PID file: a lock decides, the PID is checked",
        75: "a hostile file takes over a media parser: it has no token and no database URL in its environment",
    },
    "Secrets at rest": {
        149: "a secret by reference: read in each run, never stored; what holds none is refused by name",
        150: "encrypted secrets: no dump and no log holds them; a missing or wrong key is told; keys can be changed",
    },
    "Floods": {
        141: "an answer made of what takes the most memory: at most 6 bytes for each of its own, and 800 MB of records",
        142: "bytes after the end of a gzip stream, a stream that decodes to nothing: refused, or too large",
        143: "large answers for several libraries at once: one at a time is in memory",
        144: "cookies: none is kept or sent",
        147: "a total that no library has: refused at the first page; ids far apart take 16 bytes each in the proof",
        148: "items without end: the temporary tables of a collection have a limit",
        152: "a library called `--help`: the command that a message names works",
        153: "a library of more folders than any has: named as that; each folder is looked at once",
        154: "names and folders of libraries that can't be stored, or without end: repaired, left out, or refused",
        145: "a text or a list of an item that is too long: left out, with a warning",
    },
    "What changes meanwhile": {
        76: "50,000 files in a chain take each other's names and the last name is taken: planned in linear time",
        77: "another server takes over the address during a run: nothing is merged, it fails as another server",
        151: "another server takes over the address: it proves who it is on a new connection, before it gets the token",
        78: "two updates of one collection at once: the second one to be stored fails, and no mapping is lost",
        79: "mappings, switches or the source change during the pre-flight: read again under the lock",
        146: "an enricher is changed, attached or removed while a command waits for its lock: read again under it",
    },
    "What people who do this job report": {
        201: "a value that nobody needs is odd: it costs itself, and neither the item nor the rest of it",
        202: "an item is read in short form or in full: it counts as the same",
        203: "an odd library costs itself alone; the clips among photos are clips",
        204: "stacked films, of which a part's length or a part is unknown: no runtime, or one rejection",
        205: "what a scheduler would miss: no length, a picture with a film's name, a file marked as deleted",
        206: "a token that hides files: said by name, and what is known is kept",
        207: "tracks: the own artist, the album's artist, disc and number in columns, and listed in their order",
        208: "shows and films of one title: told apart by year, edition or key wherever they are printed or typed",
        209: "ids in old and odd spellings, in guids, sidecars and file names",
        210: "sidecars as they really are: addresses, a scene's text, encodings, several roots",
        211: "names of files: several episodes, dates, brackets, editions, a show's year",
        212: "copied discs, one rejection each in every importer; snapshots and unfinished files left out",
        213: "paths and titles in several spellings, composed and decomposed letters: one",
        214: "codecs by their names; files that grew or were replaced under their name",
        215: "Jellyfin's merged series are one show; a total above the items says N of M; Emby is refused",
        216: "every command of a hint can be typed, and every option that one names exists",
        217: "an address pasted from a browser, TLS to a plain port: understood, or its wrong part is named",
        218: "everything that libpq documents works in an address, or is refused by name; an unfit database is found",
    },
}  # fmt: skip

NOT_YET: dict[int, str] = {}
"""Lines without a test, with the reason; has to be empty."""


def numbers() -> dict[int, str]:
    """Return all lines: number → text."""
    return {number: text for lines in LINES.values() for number, text in lines.items()}


def proofs() -> dict[int, list[Marked]]:
    """Return the tests that are marked with each line's number, also with numbers that no line has."""
    found: dict[int, list[Marked]] = {}
    for test in marked("fault"):
        found.setdefault(int(test.rule), []).append(test)
    return found


def table() -> str:
    """Write the lines with their tests, for docs/reliability.md."""
    by_line = proofs()
    lines = [HEADING.rstrip(), "", "Generated by `python -m tests.faults.catalogue`; a test holds it up to date."]
    for group, entries in LINES.items():
        lines += ["", f"### {group}", "", "| Line | Fault, and what RetroVue does | Tests |", "|---|---|---|"]
        for number, text in entries.items():
            where = [f"`{test.file}` {test.name}" for test in by_line.get(number, [])]
            shown = "<br>".join(where) or f"none yet: {NOT_YET.get(number, '')}"
            lines.append(f"| {number} | {text} | {shown} |")
    return "\n".join(lines) + "\n"


def document() -> str:
    """Return the whole document with the current table."""
    above, _, _ = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)
    return above + table()


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
