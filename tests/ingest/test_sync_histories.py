"""Whatever becomes of a source, and whatever runs in between: after a sync the catalogue is what the source says.

Each history changes a source of films as the real one changes, runs ingests, syncs and dry-runs, lets some of them
fail, and compares the catalogue with a plain model. The feed tells each change once. It costs a few seconds, because
each step is a run over HTTP.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from retrovue.core.results import Failed, Ingested
from retrovue.core.runs import MaxRemovals
from retrovue.core.verdicts import ADDED_COUNTS
from retrovue.store.session import Store
from tests.support.library import empty
from tests.support.syncing import (
    ChangingSource,
    Film,
    JellyfinSource,
    PlexSource,
    Synced,
    TreeSource,
    break_listing,
    repair_listing,
    set_scanning,
)

pytestmark = pytest.mark.anyio

ALL = MaxRemovals(percent=100)
HISTORIES = int(os.environ.get("RETROVUE_HISTORIES", "4"))
"""Histories of each kind of source. More can be asked for, at a second or two each."""
FILMS = range(1, 8)
CHANGES = ("add", "edit", "replace", "move", "remove", "restore", "trash", "upgrade")
STEPS = (*CHANGES, "rebuild", "scan", "fail", "approve", "days", "ingest", "sync", "dry-run")
HISTORY = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(FILMS)), min_size=4, max_size=18)


@dataclass(frozen=True)
class Asset:
    """An asset as the model expects it."""

    film: Film
    """What the catalogue knows of it."""
    availability: str = "present"
    approved: bool = False
    over: bool = False
    """Whether its grace is over."""


Event = tuple[str, str]
"""The source URI of an asset after a run, and what the feed tells of it."""


class Model:
    """What the catalogue holds, by the rules alone."""

    def __init__(self) -> None:
        self.assets: list[Asset] = []

    def known(self) -> set[str]:
        return {asset.film.uri for asset in self.assets}

    def may_ingest(self, listed: Sequence[Film]) -> bool:
        """Whether an ingest makes no second asset of a film that a sync would recognise."""
        known, idents = self.known(), {asset.film.ident: asset for asset in self.assets}
        fresh = [film for film in listed if film.uri not in known and film.ident in idents]
        return all(idents[film.ident].film.path == film.path for film in fresh)

    def ingest(self, listed: Sequence[Film]) -> list[Event]:
        """Take what an ingest changes: new films, and files that have moved."""
        by_uri = {film.uri: film for film in listed}
        events: list[Event] = []
        for number, asset in enumerate(self.assets):
            film = by_uri.get(asset.film.uri)
            if film is not None and film.path != asset.film.path:
                self.assets[number] = replace(asset, film=replace(asset.film, path=film.path))
                events.append((film.uri, "relocated"))
        taken = {asset.film.path for asset in self.assets}
        self.assets += [Asset(film) for film in listed if film.uri not in self.known() and film.path not in taken]
        return events

    def sync(self, listed: Sequence[Film], *, held: bool) -> list[Event]:
        """Take what a sync changes. ``held``: a guard holds removals back."""
        by_uri = {film.uri: film for film in listed}
        fresh = {film.ident: film for film in listed if film.uri not in self.known()}
        events: list[Event] = []
        after: list[Asset] = []
        for asset in self.assets:
            film = by_uri.get(asset.film.uri)
            relinked = film is None and asset.film.ident in fresh
            if relinked:
                film = fresh.pop(asset.film.ident)
            if film is None:
                after.append(asset if held else self._lost(asset, events))
            else:
                after.append(self._followed(asset, film, events, relinked=relinked))
        self.assets = [*after, *map(Asset, fresh.values())]
        return events

    def _lost(self, asset: Asset, events: list[Event]) -> Asset:
        if asset.availability == "present":
            events.append((asset.film.uri, "missing"))
            return replace(asset, availability="missing")
        if asset.availability == "missing" and asset.over:
            events.append((asset.film.uri, "gone"))
            return replace(asset, availability="gone")
        return asset

    def _followed(self, asset: Asset, film: Film, events: list[Event], *, relinked: bool) -> Asset:
        before = asset.film
        # The ids of files are the server's own: those of a relinked item say nothing of its content.
        other_file = before.content.split()[0] != film.content.split()[0] or (
            not relinked and before.content != film.content
        )
        what = None
        if relinked:
            what = "relinked"
        elif asset.availability != "present":
            what = "restored"
        elif before.path != film.path:
            what = "relocated"
        elif other_file:
            what = "replaced"
        elif before.title != film.title:
            what = "refreshed"
        if what is not None:
            events.append((film.uri, what))
        withdrawn = other_file and asset.approved
        if withdrawn:
            events.append((film.uri, "withdrawn"))
        return Asset(film, approved=asset.approved and not withdrawn)


class History:
    """One history: a source, a catalogue, and the model of both."""

    def __init__(self, changing: ChangingSource, synced: Synced) -> None:
        self.changing = changing
        self.synced = synced
        self.model = Model()
        self.away: set[int] = set()
        self.told: list[Event] = []
        self.position = 0
        self.scanning = self.failing = False

    @property
    def listed(self) -> list[Film]:
        return list(self.changing.films().values())

    async def step(self, step: str, number: int) -> None:
        """Take a step, if it is possible now."""
        if step in CHANGES:
            self._change(step, number)
        elif step == "rebuild" and isinstance(self.changing, PlexSource):
            self.changing.rebuild()
            self.away = {number for number in self.away if number in self.changing.in_trash()}
        elif step == "scan" and "scan" in self.changing.can:
            self.scanning = not self.scanning
            set_scanning(self.changing, scanning=self.scanning)
        elif step == "fail" and isinstance(self.changing, PlexSource | JellyfinSource):
            self.failing = not self.failing
            (break_listing if self.failing else repair_listing)(self.changing)
        elif step == "approve":
            await self.synced.approve()
            self.model.assets = [replace(asset, approved=True) for asset in self.model.assets]
        elif step == "days":
            await self.synced.days_pass()
            self.model.assets = [replace(asset, over=asset.availability == "missing") for asset in self.model.assets]
        elif step in {"ingest", "sync", "dry-run"}:
            await self.run(step)

    def _change(self, step: str, number: int) -> None:
        listed = number in self.changing.films()
        away = number in self.away
        possible = {"add": not listed and not away, "restore": away, "upgrade": listed or away}
        if step not in self.changing.can or not possible.get(step, listed):
            return
        getattr(self.changing, step)(number)
        if step in {"remove", "trash"}:
            self.away.add(number)
        elif step in {"restore", "upgrade"}:
            self.away.discard(number)

    async def run(self, step: str) -> None:
        """Run, and compare."""
        before = await self.contents()
        listed = self.listed
        if step == "ingest" and not self.model.may_ingest(listed):
            return
        mode = "ingest" if step == "ingest" else "sync"
        # While the source scans, what moves no time of an item is left to the sync after the scan.
        full = self.scanning or self.failing
        outcome = await self.synced.run(mode, dry_run=step == "dry-run", max_removals=ALL, full=full)
        empty_at_source = not listed and bool(self.model.assets)
        if self.failing or (empty_at_source and mode == "ingest"):
            assert isinstance(outcome, Failed), outcome
            assert await self.contents() == before
            return
        if not listed and isinstance(self.changing, PlexSource) and self.changing.in_trash() and not self.model.assets:
            assert isinstance(outcome, Failed)
            assert outcome.code == "all_rejected"
            return
        assert isinstance(outcome, Ingested), outcome
        if step == "dry-run":
            assert await self.contents() == before
            twin = Model()
            twin.assets = list(self.model.assets)
            self._counted(outcome, twin.sync(listed, held=self.scanning or empty_at_source))
            return
        if step == "ingest":
            events = self.model.ingest(listed)
        else:
            events = self.model.sync(listed, held=self.scanning or empty_at_source)
            self._counted(outcome, events)
        await self.compare(events)

    def _counted(self, outcome: Ingested, events: Sequence[Event]) -> None:
        told = Counter(what for _, what in events)
        counted = {name: getattr(outcome.counts, name) for name in (*ADDED_COUNTS, "relocated")}
        for what in ("refreshed", "replaced", "restored", "relinked", "relocated", "missing", "gone"):
            assert counted[what] == told[what], (what, counted, told)

    async def contents(self) -> list[tuple[Any, ...]]:
        """What no failure and no dry-run may change, to the transaction that wrote it."""
        return await self.synced.rows("SELECT xmin::text, t::text FROM asset t ORDER BY uuid")

    async def compare(self, events: Sequence[Event]) -> None:
        """Compare the catalogue and the feed with the model."""
        found = await self.synced.rows(
            "SELECT source_uri, title, canonical_uri, availability, approved_for_broadcast, state FROM asset"
        )
        held = {uri: (title, path, available, approved) for uri, title, path, available, approved, _ in found}
        assert held == {
            asset.film.uri: (asset.film.title, asset.film.path, asset.availability, asset.approved)
            for asset in self.model.assets
        }
        assert len(held) == len(found)
        assert all((state == "ready") == approved for *_, approved, state in found)
        changes = await self.synced.feed(self.position)
        self.position = max((change.position for change in changes), default=self.position)
        uris = {str(uuid): uri for uuid, uri in await self.synced.rows("SELECT uuid, source_uri FROM asset")}
        told = [(uris[str(change.asset_uuid)], change.what) for change in changes]
        assert sorted(told) == sorted(events)


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@settings(
    max_examples=HISTORIES, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@pytest.mark.long
@pytest.mark.parametrize("kind", [PlexSource, JellyfinSource, TreeSource])
@given(history=HISTORY)
async def test_the_catalogue_is_what_the_source_says(
    store: Store, tmp_path_factory: pytest.TempPathFactory, kind: type[ChangingSource], history: list[tuple[str, int]]
) -> None:
    await empty(store)
    changing = kind(Path(tmp_path_factory.mktemp("films")))
    async with changing.serve():
        for number in (1, 2, 3):
            changing.add(number)
        under_test = History(changing, await Synced.make(store, changing))
        await under_test.run("ingest")
        for step, number in history:
            await under_test.step(step, number)
        if under_test.failing:
            await under_test.step("fail", 0)
        if under_test.scanning:
            await under_test.step("scan", 0)
        await under_test.run("sync")
        listed = {film.uri: film for film in under_test.listed}
        present = await under_test.synced.rows("SELECT source_uri FROM asset WHERE availability = 'present'")
        if listed:
            assert {uri for (uri,) in present} == set(listed)
        # A second one finds nothing to do, and writes nothing of it.
        before = await under_test.contents()
        again = await under_test.synced.sync(max_removals=ALL)
        assert await under_test.contents() == before
        assert not any(getattr(again.counts, name) for name in ("created", "refreshed", "replaced", "relinked"))
        assert await under_test.synced.feed(under_test.position) == []
