"""What is measured: which libraries, served how, ingested by whom."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from retrovue.simulator import Changes

Client = Literal[
    "cli", "library", "floor", "lean floor", "fetch", "decode", "script", "help", "list", "show", "profiled", "copy"
]
"""The product as operators and as services run it; the floor, also with requests as lean as the product's, and in
parts (of a tree ``fetch`` is listing it and asking for sizes); a script on plexapi and SQLAlchemy; `retrovue --help`,
`retrovue source list`, `retrovue source show`, the library under Python's profiler, and COPY of the assets into a bare
table."""
PRODUCT: tuple[Client, ...] = ("cli", "library", "profiled")
WRITES: tuple[Client, ...] = (*PRODUCT, "floor", "lean floor")


UNCHANGED = Changes()


@dataclass(frozen=True, slots=True)
class Layout:
    """The libraries of a simulated server, or directories of files."""

    kind: Literal["movie", "show"]
    sizes: tuple[int, ...]
    """Movies or episodes of each library."""
    disk: Literal["nested", "flat"] | None = None
    """Movies as files on the disk, each in a directory of its own or all side by side; None is a server."""
    server: Literal["plex", "jellyfin"] = "plex"
    """The kind of server. One of Jellyfin has movies only."""

    @property
    def items(self) -> int:
        """All movies or episodes."""
        return sum(self.sizes)

    def __str__(self) -> str:
        """Describe it for a heading."""
        what = "movies" if self.kind == "movie" else "episodes"
        if self.disk is not None:
            what = "files, each in a directory of its own," if self.disk == "nested" else "files side by side"
        if len(self.sizes) == 1:
            return f"{self.items:,} {what} in one collection"
        even = len(set(self.sizes)) == 1
        each = f"{self.sizes[0]:,} each" if even else ", ".join(f"{size:,}" for size in self.sizes)
        return f"{self.items:,} {what} in {len(self.sizes)} collections ({each})"


def even(
    count: int,
    items: int,
    kind: Literal["movie", "show"] = "movie",
    disk: Literal["nested", "flat"] | None = None,
    server: Literal["plex", "jellyfin"] = "plex",
) -> Layout:
    """Spread items evenly over collections."""
    return Layout(kind, (max(1, items // count),) * count, disk, server)


@dataclass(frozen=True, slots=True)
class Contender:
    """One thing that runs in a scenario, once a round."""

    name: str
    layout: Layout | None
    client: Client = "cli"
    concurrency: int = 4
    dry_run: bool = False
    atomic: bool = False
    """Whether one transaction writes all collections."""
    command: Literal["ingest", "sync"] = "ingest"
    """`retrovue source ingest` or `source sync`."""
    read: Literal["full", "sweep", "changes", "unchanged"] | None = None
    """What a sync has to read of each collection; None is all items."""
    more: tuple[str, ...] = ()
    """Further arguments."""
    changes: Changes = UNCHANGED
    """What has become of each section of the server since the catalogue was made."""
    found_before: bool = False
    """Whether a contender before it has found these changes."""
    latency_ms: float = 0.0
    us_per_offset: float = 0.0
    """Time that the server adds to a page for each row before it."""
    fail_percent: float = 0.0
    """Share of pages that the server refuses with 503 the first time."""
    page_size: int | None = None
    """What the source is configured to ask for; None is the product's own choice."""
    after: str | None = None
    """The contender whose catalogue this one goes on with, for a re-ingest; None is a fresh one."""

    def options(self) -> tuple[str, ...]:
        """Return the arguments that every product client takes."""
        given = {"--dry-run": self.dry_run, "--atomic": self.atomic}
        return (
            "--concurrency",
            str(self.concurrency),
            *(option for option, is_given in given.items() if is_given),
            *self.more,
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """Contenders that take turns."""

    name: str
    title: str
    contenders: tuple[Contender, ...]
    rounds: int | None = None
    """None is as many as the harness was asked for."""


def without_cli(scenario: Scenario) -> Scenario | None:
    """Let the library stand in for the CLI; None if nothing is left to run."""
    kept = tuple(
        replace(contender, client="library") if contender.client == "cli" else contender
        for contender in scenario.contenders
        if contender.client not in ("help", "library")
    )
    return replace(scenario, contenders=kept) if kept else None


def main_job(items: int) -> Scenario:
    """First ingest, re-ingest and dry-run beside the floor."""
    layout = even(4, items)
    return Scenario(
        "main",
        "First ingest, re-ingest, dry-run and the floor",
        (
            Contender("fetch only", layout, "fetch"),
            Contender("fetch and decode", layout, "decode"),
            Contender("floor", layout, "floor"),
            Contender("floor, lean requests", layout, "lean floor"),
            Contender("first", layout),
            Contender("re-ingest", layout, after="first"),
            Contender("dry-run", layout, dry_run=True),
            Contender("dry-run, nothing new", layout, dry_run=True, after="first"),
            Contender("library", layout, "library"),
        ),
    )


def million(items: int) -> Scenario:
    """The same, ten times as large, half of it in one collection."""
    layout = Layout("movie", (items * 5, items * 2, items * 2, items))
    return Scenario(
        "million",
        "Ten times as many",
        (
            Contender("floor", layout, "floor"),
            Contender("first", layout),
            Contender("re-ingest", layout, after="first"),
            Contender("dry-run", layout, dry_run=True),
        ),
        rounds=1,
    )


def sync(items: int) -> Scenario:
    """Syncs beside a re-ingest: nothing has changed, 1 % of all items have, a tenth of all items is gone.

    A sync reads as little as proves the answer; where all is read, it is as often as its operator wants.
    """
    return Scenario("sync", "Syncs beside a re-ingest", _syncs(even(4, items)))


def sync_million(items: int) -> Scenario:
    """The same, ten times as large."""
    return Scenario("sync-million", "Syncs, ten times as many", _syncs(even(4, items * 10)), rounds=1)


def _syncs(layout: Layout) -> tuple[Contender, ...]:
    # Each goes on from the one before: the removal is nothing but that.
    changed = Changes(edited=0.005, replaced=0.005)
    changed_again = Changes(edited=0.01, replaced=0.01)
    removed = replace(changed_again, removed=layout.sizes[0] // 10)
    recent = replace(removed, recent=max(1, layout.sizes[0] // 100))
    known = Contender("re-ingest", layout, after="first")
    syncing, all_read = replace(known, command="sync"), ("--sweep-every", "0")
    swept = replace(syncing, read="sweep", more=all_read)
    return (
        Contender("first", layout),
        known,
        replace(syncing, name="nothing changed", read="unchanged"),
        replace(swept, name="nothing changed, all read"),
        # The first one finds pages of which no items are known, as an ingest keeps none.
        replace(swept, name="1 % changed, all read", changes=changed),
        replace(swept, name="another 1 % changed, all read", changes=changed_again),
        replace(syncing, name="10 % removed", read="sweep", changes=removed),
        replace(syncing, name="1 % changed", read="changes", changes=recent),
        replace(swept, name="all read after changes", changes=recent, found_before=True),
    )


def unit(items: int) -> Scenario:
    """One transaction for all collections beside one for each."""
    return Scenario("unit", "One unit of work", _units(even(4, items)))


def unit_million(items: int) -> Scenario:
    """The same, ten times as large."""
    return Scenario("unit-million", "One unit of work, ten times as many", _units(even(4, items * 10)), rounds=1)


def _units(layout: Layout) -> tuple[Contender, ...]:
    apart, together = Contender("apart", layout), Contender("--atomic", layout, atomic=True)
    return (
        apart,
        together,
        replace(apart, name="apart, again", after="apart"),
        replace(together, name="--atomic, again", after="--atomic"),
    )


def start(_items: int) -> Scenario:
    """How long the command line takes to come up, without and with a catalogue."""
    layout = Layout("movie", (50,))
    contenders = (
        Contender("retrovue --help", None, "help"),
        Contender("retrovue source list", layout, "list"),
        Contender("retrovue source show", layout, "show"),
    )
    return Scenario("start", "Start of the command line", contenders, rounds=10)


def latency(items: int) -> Scenario:
    """A server at some distance."""
    layout = even(4, items)
    contenders = tuple(Contender(f"{ms} ms", layout, latency_ms=ms) for ms in (0, 20, 50))
    return Scenario("latency", "Latency of each request", contenders)


def small(_items: int) -> Scenario:
    """Many collections of one short page, where concurrency has to hide the latency."""
    return _one_page("small", "of one page of 100", 100)


def small_full(_items: int) -> Scenario:
    """Many collections of one full page, where there is more to do than to wait for."""
    return _one_page("small-full", "of one page of 1,000", 1000)


def _one_page(name: str, what: str, size: int) -> Scenario:
    layout = Layout("movie", (size,) * 64)
    contenders = [Contender(f"concurrency {number}", layout, concurrency=number, latency_ms=50) for number in (1, 8)]
    return Scenario(name, f"64 collections {what}, 50 ms a request", tuple(contenders))


def collections(items: int) -> Scenario:
    """The same items in more and more collections."""
    layouts = [(count, even(count, items // 2)) for count in (1, 2, 4, 8)]
    contenders = [
        Contender(f"{count} {name}", layout, client, concurrency=count)
        for count, layout in layouts
        for name, client in _PAIR
    ]
    return Scenario("collections", "1, 2, 4 and 8 collections, all at once", tuple(contenders))


def concurrency(items: int) -> Scenario:
    """Eight collections, more and more of them at once."""
    layout = even(8, items // 2)
    contenders = tuple(Contender(f"concurrency {at_once}", layout, concurrency=at_once) for at_once in (1, 2, 4, 8))
    return Scenario("concurrency", "Concurrency", contenders)


def pages(items: int) -> Scenario:
    """Pages of different size, with some latency to hide."""
    layout = even(4, items // 2)
    sizes = (100, 250, 500, 1000)
    contenders = tuple(Contender(f"pages of {size:,}", layout, page_size=size, latency_ms=20) for size in sizes)
    return Scenario("pages", "Size of pages, 20 ms a request", contenders)


def episodes(items: int) -> Scenario:
    """Shows with their episodes."""
    layout = even(4, items // 2, "show")
    return Scenario("episodes", "Episodes", tuple(Contender(name, layout, client) for name, client in _PAIR))


def shapes(items: int) -> Scenario:
    """Libraries that are spread unevenly."""
    half, rest = items // 4, items // 4
    large = Layout("movie", (half, *(max(1, rest // 5),) * 5))
    tiny = Layout("movie", (50,) * min(200, items // 50))
    contenders = [
        Contender(f"{what} {name}", layout, client)
        for what, layout in (("one is half", large), ("many tiny", tiny))
        for name, client in _PAIR
    ]
    return Scenario("shapes", "One collection that is half of everything; 200 tiny collections", tuple(contenders))


def trouble(items: int) -> Scenario:
    """Servers that are not at their best."""
    # The last page of each collection takes half a second, however long the collection is.
    layout = even(4, items // 2)
    contenders = (
        Contender("fast", layout),
        Contender("slows down", layout, us_per_offset=500_000 / layout.sizes[0]),
        Contender("5 % fail", layout, fail_percent=5),
    )
    return Scenario("trouble", "A server whose pages take longer and longer; one that fails", contenders)


def tree(items: int) -> Scenario:
    """Directories of files, which are in the system's cache: what is measured is the client, not a disk."""
    few, many, flat = (
        even(4, items, disk="nested"), even(4, items * 10, disk="nested"), even(1, items * 10, disk="flat"),
    )  # fmt: skip
    return Scenario(
        "tree",
        "A tree of files, and one of ten times as many",
        (
            Contender("first", few),
            Contender("ten times as many", many),
            Contender("re-ingest of these", many, after="ten times as many"),
            Contender("in one directory", flat),
        ),
        rounds=1,
    )


def one_tree(items: int) -> Scenario:
    """A tree beside its floors, as often as anything else; `tree` makes two million files besides."""
    layout = even(4, items, disk="nested")
    contenders = (
        Contender("scandir and stat", layout, "fetch"),
        Contender("floor", layout, "floor"),
        Contender("first", layout),
        Contender("again", layout, after="first"),
    )
    return Scenario("one-tree", "A tree of files", contenders)


def jellyfin(items: int) -> Scenario:
    """Films of a Jellyfin server. What is fetched first makes the server write its pages."""
    layout = even(4, items, server="jellyfin")
    contenders = (
        Contender("fetch only", layout, "fetch"),
        Contender("floor", layout, "floor"),
        Contender("first", layout),
        Contender("re-ingest", layout, after="first"),
    )
    return Scenario("jellyfin", "Films of a Jellyfin server", contenders)


def rows(items: int) -> Scenario:
    """What PostgreSQL spends on new rows, beside a COPY of the same bytes."""
    layout = even(4, items // 2)
    contenders = (Contender("first", layout), Contender("bare copy", layout, "copy", after="first"))
    return Scenario("rows", "PostgreSQL's work for new rows", contenders)


def script(items: int) -> Scenario:
    """What somebody would write instead, and again when nothing is new."""
    layout = even(4, items // 5)
    return Scenario(
        "script",
        "A script on plexapi and SQLAlchemy",
        (
            Contender("script", layout, "script"),
            Contender("script, again", layout, "script", after="script"),
            Contender("first", layout),
            Contender("re-ingest", layout, after="first"),
        ),
        rounds=1,
    )


def profile(items: int) -> Scenario:
    """Where the client's time goes; its wall times say nothing."""
    layout = even(4, items)
    contenders = (
        Contender("first", layout, "profiled"),
        Contender("re-ingest", layout, "profiled", after="first"),
        Contender("dry-run", layout, "profiled", dry_run=True),
    )
    return Scenario("profile", "Under the profiler", contenders, rounds=1)


_PAIR: tuple[tuple[str, Client], ...] = (("floor", "floor"), ("first", "cli"))
USUAL: tuple[Callable[[int], Scenario], ...] = (
    main_job, sync, unit, start, latency, small, collections, concurrency, pages, episodes, shapes, trouble,
    one_tree, jellyfin, rows, script,
)  # fmt: skip
FULL: tuple[Callable[[int], Scenario], ...] = (*USUAL, small_full, million, sync_million, unit_million, tree)
