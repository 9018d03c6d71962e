"""Proof that the contract tests bite: for each rule a change of the code that breaks it, and that its tests must find.

``python -m tests.contracts.mutants [RULE…]`` makes each change in a private copy of the tree, runs the classes that
are marked with the rule, and demands that they fail. The working tree is never touched.
"""

# ruff: noqa: T201 - a program whose work is to print a table

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from tests.contracts.rules import ROOT, all_rules, marked_classes

COPIED = ("retrovue", "tests", "migrations", "docs", "pyproject.toml", "README.md", "LICENSE")
AT_ONCE = 2
PATIENCE_SECONDS = 600
FAILED = 1
"""What pytest exits with if tests failed; anything else but 0 means that they didn't run."""
_TIMES = count(1)


@dataclass(frozen=True)
class Mutant:
    """A change that breaks a rule."""

    rule: str
    file: str
    text: str
    """Occurs exactly once in the file."""
    instead: str


HINTS = "retrovue/service/hints.py"
HINTED = "retrovue/service/hinted.py"
LISTENING = "retrovue/service/listening.py"
LISTENERS = "retrovue/store/listeners.py"
WATCHING = "retrovue/importers/filesystem/watching.py"
PLEX_EVENTS = "retrovue/importers/plex/events.py"
ORCHESTRATOR = "retrovue/ingest/orchestrator.py"
TASKS = "retrovue/ingest/tasks.py"
PREFLIGHT = "retrovue/ingest/preflight.py"
READING = "retrovue/ingest/reading.py"
TALLY = "retrovue/ingest/tally.py"
EXTENT = "retrovue/ingest/extent.py"
PLEX_CHANGES = "retrovue/importers/plex/changes.py"
READINGS = "retrovue/store/readings.py"
LOCATIONS = "retrovue/importers/locations.py"
PIPELINE = "retrovue/ingest/pipeline.py"
RESULTS = "retrovue/core/results.py"
ACTION = "retrovue/cli/actions/ingest.py"
ARGUMENTS = "retrovue/cli/commands/source.py"
DOCUMENT = "retrovue/ingest/documents.py"
REPORT = "retrovue/cli/ingest_report.py"
COLLECTIONS = "retrovue/store/collections.py"
REFERENCES = "retrovue/store/references.py"
OPENING = "retrovue/store/opening.py"
AUDIT = "retrovue/store/audit.py"
MERGE = "retrovue/store/merge.py"
PLAN = "retrovue/store/plan.py"
CREATING = "retrovue/store/creating.py"
TITLES = "retrovue/store/titles.py"
LOCKS = "retrovue/store/locks.py"
MIGRATIONS = "retrovue/store/migrations.py"
PLUGIN_BASE = "retrovue/plugins/base.py"
LOADING = "retrovue/plugins/loading.py"
PLEX = "retrovue/importers/plex"
VERDICTS = "retrovue/core/verdicts.py"
COLLECTION_ARGUMENTS = "retrovue/cli/commands/collection.py"
COMPARING = "retrovue/store/comparing.py"
KNOWN = "retrovue/store/known.py"
SIDECARS = "retrovue/importers/filesystem/sidecars.py"
FOLLOWING = "retrovue/store/following.py"
UNIT = "retrovue/ingest/unit.py"
PURGING = "retrovue/store/purging.py"
MOVES = "retrovue/store/moves.py"
RELINKING = "retrovue/store/relinking.py"
REMOVALS = "retrovue/store/removals.py"
CHANGES = "retrovue/operations/changes.py"
KEPT = "retrovue/store/kept.py"
JOBS = "retrovue/service/jobs.py"
SCHEDULES = "retrovue/store/schedules.py"
SERVING = "retrovue/service/serving.py"
PAGING = "retrovue/importers/http/paging.py"
LIBRARY = "retrovue/importers/http/library.py"
READER = "retrovue/importers/http/reader.py"
JELLYFIN = "retrovue/importers/jellyfin/library.py"
SCHEDULABLE = "migrations/versions/0007_shows_and_tracks.py"
SCHEMA = "migrations/versions/0001_catalogue.py"

_ONE_TRANSACTION = "    await audit.succeed(session, run, outcome)\n"
_TWO_TRANSACTIONS = (
    "    async with staging.comparison.store.transaction() as other:\n"
    "        await audit.succeed(other, run, outcome)\n"
)
_REJECTIONS = "            await keep_rejections(session, run, collection, whole=staging.full)\n"
_SEVERAL = "    if len(candidates) > 1:\n"
_ENABLED_ONLY = "    if scope.is_full and not collection.sync_enabled:\n"
_SOURCE_CHECKED = "            await self._check_source(exc)\n            await self._fail(failed(collection, exc))\n"
_INSERT = (
    '                "INSERT INTO collection (id, source_id, external_id, name, kind, locations, library_uuid)"\n'
    '                " VALUES (:id, :source, :external_id, :name, :kind, :locations, :library_uuid)"\n'
)
_GONE = '            *({"id": collection.id, "ingestible": False, "reason": GONE} for collection in gone),\n'
_BEFORE_GONE = "    await _set_ingestible(\n        session,\n        [\n"
_STARTED = (
    "            await connection.execute("
    "_START.clause(), [_start_row(run, collection, who) for collection in collections])\n"
)

_REFRESHED = 'meaning="assets whose description followed the source",\n        part_of="skipped",'
_AVAILABLE_AGAIN = (
    "availability = 'present', unavailable_since = NULL, unavailable_run = NULL, unavailable_reason = NULL,"
)
_UNAMBIGUOUS = "if assets[pair.asset] == 1 and drafts[pair.seq] == 1:"
_FOLLOWED = "    await session.execute(_FOLLOW if syncing else _RELOCATE)"
MUTANTS = (
    # Source ingest: behaviour
    Mutant("B-1", REFERENCES, _SEVERAL, _SEVERAL.replace("> 1", "> 99")),
    Mutant("B-1", REFERENCES, "candidates = by_id or rows", "candidates = rows"),
    Mutant("B-1", PREFLIGHT, "            await importer.check_reachable()\n", ""),
    Mutant("B-2", PREFLIGHT, "in collections if collection.sync_enabled]", "in collections]"),
    Mutant("B-2", COLLECTIONS, '"" if source is None else "WHERE collection.source_id = :source"', '""'),
    Mutant("B-2", PREFLIGHT, "    if not enabled:\n        raise", "    if len(skipped) == 99:\n        raise"),
    Mutant("B-3", ARGUMENTS, '("--title", "--season", "--episode")', '("--title", "--season")'),
    Mutant("B-4", ARGUMENTS, "is only supported at the collection level. ", "is supported at the collection level. "),
    Mutant("B-4", ARGUMENTS, 'argument.partition("=")[0] in NARROWING', "argument in NARROWING"),
    Mutant("B-5", REPORT, "{outcome.collection.name}: {outcome.reason}", "{outcome.collection.name}"),
    Mutant("B-5", RESULTS, "if self.failed or self.interrupted or", "if self.interrupted or"),
    Mutant("B-5", RESULTS, "(self.strict and self.lost)", "False"),
    Mutant("B-5", RESULTS, " and outcome.code != NOT_FAILED", ""),
    Mutant("B-5", DOCUMENT, "lost = summary.lost if summary.strict else ()", "lost = ()"),
    Mutant("B-5", DOCUMENT, '"targeted": status != "skipped",', '"targeted": True,'),
    Mutant(
        "B-6",
        TASKS,
        "            if not self._options.dry_run:\n                async with self._store",
        "            if True:\n                async with self._store",
    ),
    Mutant(
        "B-6",
        PREFLIGHT,
        "    if checked and not dry_run:\n",
        "    if checked:\n",
    ),
    Mutant(
        "B-6",
        ORCHESTRATOR,
        "if locks is None and targets.eligible and not options.dry_run:",
        "if locks is None and targets.eligible:",
    ),
    Mutant("B-6", PLAN, "[: form.most]", ""),
    Mutant(
        "B-7",
        DOCUMENT,
        '        "status": status,\n        "source": source,\n',
        '        "source": source,\n        "status": status,\n',
    ),
    Mutant("B-7", RESULTS, "tuple(sorted(self.outcomes, key=_order))", "tuple(self.outcomes)"),
    Mutant("B-7", DOCUMENT, "verdict.total: verdict.count for", 'verdict.total: "created" for'),
    Mutant("B-8", OPENING, "if production is not None and same_database(test, production):", "if False:"),
    Mutant("B-8", MIGRATIONS, "if status.role != role and (", "if status.role is None and ("),
    Mutant("B-9", TASKS, _SOURCE_CHECKED, f"{_SOURCE_CHECKED}            raise\n"),
    Mutant("B-9", ACTION, "return UNREACHABLE if summary.all_unreachable else FAILED", "return FAILED"),
    Mutant("B-9", TASKS, "        if isinstance(error, SourceRefused):", "        if False:"),
    Mutant("B-9", ACTION, '    if "internal" in codes:\n        return FAILED\n', ""),
    Mutant("B-10", LOADING, "        if problems:\n", "        if len(problems) == 99:\n"),
    Mutant(
        "B-11",
        READING,
        "self._next_page(pages)) is not None:",
        "self._next_page(pages)) is not None and tally.source_items < 4:",
    ),
    Mutant("B-12", LOADING, "        self._require_compliance(type_name, loaded)\n", ""),
    # Source ingest: data
    Mutant("D-1", PIPELINE, _ONE_TRANSACTION, _TWO_TRANSACTIONS),
    Mutant(
        "D-1",
        TASKS,
        "self._limiter = anyio.CapacityLimiter(options.concurrency)",
        "self._limiter = anyio.CapacityLimiter(1)",
    ),
    Mutant(
        "D-2",
        PIPELINE,
        _REJECTIONS,
        f"{_REJECTIONS}            await session.commit()\n",
    ),
    Mutant("D-2", TASKS, _SOURCE_CHECKED, f"{_SOURCE_CHECKED}            raise\n"),
    Mutant("D-3", ACTION, 'return OK if summary.status == "ok" else PARTIAL', "return OK"),
    Mutant("D-4", AUDIT, '"context": storable(plain(failed.context)),', '"context": {},'),
    Mutant("D-4", AUDIT, "            AND ingest_outcome.code IS DISTINCT FROM 'already_running'\n", ""),
    Mutant("D-4", AUDIT, " AND ingest_start.scope = '{{}}'\n", "\n"),
    Mutant(
        "D-4",
        TASKS,
        "                await audit.start(self._store, self._run, ours)\n",
        "                await audit.start(self._store, self._run, ours[:1])\n",
    ),
    Mutant(
        "D-5",
        ORCHESTRATOR,
        "enabled = [collection for collection in enabled if collection.id in failed_ids]",
        "enabled = list(collections)",
    ),
    Mutant("D-5", PREFLIGHT, "in collections if collection.sync_enabled]", "in collections]"),
    Mutant("D-6", ORCHESTRATOR, '_new_run("source", FULL,', '_new_run("source", Scope("Alien"),'),
    Mutant("D-7", ORCHESTRATOR, '_new_run("collection", scope,', '_new_run("source", scope,'),
    Mutant("D-8", PLAN, "WHEN holder IS NULL AND first_seq = seq THEN", "WHEN holder IS NULL THEN"),
    Mutant("D-8", CREATING, "count(*) > count(DISTINCT canonical_hash)", "false"),
    Mutant("D-8", PLAN, "WHERE held_hash <> canonical_hash AND NOT deleted", "WHERE false"),
    Mutant("D-9", SCHEMA, "WHEN (NEW.state NOT IN ('new', 'enriching'))", "WHEN (NEW.state = 'retired')"),
    Mutant("D-9", SCHEMA, "state text NOT NULL DEFAULT 'new'", "state text NOT NULL DEFAULT 'enriching'"),
    Mutant(
        "D-10",
        PLUGIN_BASE,
        'if abstract := sorted(getattr(plugin, "__abstractmethods__", ())):',
        "if abstract := list[str]():",
    ),
    Mutant(
        "D-11", READING, "enumerate_(collection, scope, bookmarks, recall)", 'enumerate_(collection, Scope("Alien"))'
    ),
    Mutant("D-11", TALLY, "self.discovered == 0 and comparison.anything_known", "False"),
    Mutant(
        "D-11",
        "retrovue/importers/http/paging.py",
        "return self.total is not None and self.received == self.total",
        "return self.total is not None",
    ),
    Mutant(
        "D-12",
        TASKS,
        "        answer = await self._importer.check_ingestible(collection)\n",
        "        answer = Ingestibility(ingestible=True)\n",
    ),
    Mutant("D-12", PREFLIGHT, "    if checked and not dry_run:\n", "    if checked and dry_run:\n"),
    Mutant("D-13", "retrovue/importers/locations.py", "    if problems:\n", "    if not mapped:\n"),
    Mutant(
        "D-13",
        RESULTS,
        "return len(self.ingested) + len(self.failed)",
        "return len(self.ingested) + len(self.failed) + len(self.lost)",
    ),
    Mutant(
        "D-14",
        OPENING,
        "    if not test_db:\n        return",
        "    if not test_db or settings.test_database_url is None:\n        return",
    ),
    Mutant(
        "D-15",
        AUDIT,
        _STARTED,
        f'{_STARTED}            await connection.execute(text("UPDATE source SET updated_at = now()").clause())\n',
    ),
    # Collection ingest
    Mutant("CI-1", REFERENCES, "by_id = [row for row in rows if row.id == own_id]", "by_id = []"),
    Mutant("CI-2", REFERENCES, _SEVERAL, _SEVERAL.replace("> 1", "> 99")),
    Mutant("CI-2", REFERENCES, 'not by_id and noun != "collection"', "not by_id"),
    Mutant("CI-3", ORCHESTRATOR, _ENABLED_ONLY, "    if False:\n"),
    Mutant(
        "CI-4", ORCHESTRATOR, "not targets.failures and enabled:", 'not targets.failures and run.trigger == "source":'
    ),
    Mutant("CI-5", ORCHESTRATOR, _ENABLED_ONLY, "    if not collection.sync_enabled:\n"),
    Mutant("CI-5", PREFLIGHT, '    if trigger == "collection":\n        #', "    if not wanted:\n        #"),
    Mutant("CI-6", ACTION, "if episode is not None and season is None:", "if False:"),
    Mutant("CI-6", ACTION, "if season is not None and title is None:", "if False:"),
    Mutant("CI-7", "retrovue/cli/commands/collection.py", '"--season", type=NATURAL', '"--season", type=int'),
    Mutant("CI-8", ACTION, "if codes == {ScopeNotFound.default_code}:", "if not codes:"),
    Mutant("CI-8", f"{PLEX}/library.py", '"episode" if season.source_items else "season"', '"episode"'),
    Mutant("CI-9", f"{PLEX}/library.py", '            params["season.index"] = str(season)\n', "            pass\n"),
    Mutant("CI-10", "retrovue/importers/titles.py", "    if len(candidates) == 1:\n", "    if candidates:\n"),
    Mutant(
        "CI-11",
        "retrovue/core/errors.py",
        '"source_unreachable"\n    unreachable = True',
        '"source_unreachable"\n    unreachable = False',
    ),
    Mutant("CI-12", PIPELINE, _ONE_TRANSACTION, _TWO_TRANSACTIONS),
    Mutant("CI-12", LOCKS, " for key in refused.scalars().all()}\n", " for key in list[int]()}\n"),
    Mutant("CI-13", AUDIT, '"season": run.scope.season, ', ""),
    Mutant("CI-13", ORCHESTRATOR, '_new_run("collection", scope,', '_new_run("source", scope,'),
    Mutant(
        "CI-14",
        TITLES,
        "label(*_labelled(draft)) for",
        "draft.title for",
    ),
    Mutant("CI-15", READING, "            await self._files.finish()\n", "            pass\n"),
    Mutant("CI-16", LOCATIONS, "elif not found:", "elif not collection:"),
    Mutant("CI-17", ORCHESTRATOR, "            await audit.skip(store, run, targets.skipped)\n", "            pass\n"),
    Mutant(
        "CI-17",
        ACTION,
        "always=outcome.collection.last_ingest_at is not None",
        "always=outcome.collection.last_ingest_at is None",
    ),
    # Source discover
    Mutant("SD-1", REFERENCES, "OR {noun}.name = :reference)", "OR {noun}.name ILIKE :reference)"),
    Mutant("SD-1", REFERENCES, _SEVERAL, _SEVERAL.replace("> 1", "> 99")),
    Mutant(
        "SD-2",
        COLLECTIONS,
        _INSERT,
        _INSERT.replace(" library_uuid)", " library_uuid, sync_enabled)").replace(
            ":library_uuid)", ":library_uuid, true)"
        ),
    ),
    Mutant(
        "SD-3",
        COLLECTIONS,
        "        and (old.name, old.kind, old.locations) != (found.name, found.kind, found.locations)\n",
        "",
    ),
    Mutant(
        "SD-4",
        COLLECTIONS,
        _BEFORE_GONE,
        f"    for lost in gone:\n        await set_enabled(session, lost, enabled=False)\n{_BEFORE_GONE}",
    ),
    Mutant("SD-5", COLLECTIONS, "kind = :kind, locations = :locations, ", "kind = :kind, "),
    Mutant("SD-6", COLLECTIONS, "    if updated:\n", "    if updated:\n        await session.commit()\n"),
    Mutant(
        "SD-7",
        "retrovue/cli/actions/sources.py",
        "No collections found for source",
        "There are no collections of source",
    ),
    Mutant("SD-7", "retrovue/operations/discovery.py", "    if not listed and known:\n", "    if False:\n"),
    Mutant("SD-8", COLLECTIONS, _GONE, ""),
    Mutant("SD-9", COLLECTIONS, "    if dry_run:\n        return changes\n", ""),
    # Sync
    Mutant("SY-1", ARGUMENTS, 'wait=wait, mode="sync", **options)', "wait=wait, **options)"),
    Mutant("SY-2", COLLECTION_ARGUMENTS, 'collection, mode="sync", **options)', "collection, **options)"),
    Mutant("SY-3", VERDICTS, _REFRESHED, _REFRESHED.partition("\n")[0]),
    Mutant("SY-4", MERGE, "IS DISTINCT FROM (excluded.asset_uuid", "IS NOT DISTINCT FROM (excluded.asset_uuid"),
    Mutant(
        "SY-5", FOLLOWING, "THEN asset.{column} ELSE staged.{column} END", "THEN asset.{column} ELSE asset.{column} END"
    ),
    Mutant("SY-6", FOLLOWING, "AND following.kept ? '{0}')", "AND false)"),
    Mutant("SY-6", COMPARING, "bool(read != source.sidecar_stamp)", "False"),
    Mutant(
        "SY-6", KNOWN, "_OTHERS_BY_MARK if page.sidecar_stamps else", "_OTHERS_BY_STAMP if page.sidecar_stamps else"
    ),
    Mutant(
        "SY-6",
        SIDECARS,
        "            return None\n        return Marks(own, *shared)",
        "            pass\n        return Marks(own, *shared)",
    ),
    Mutant("SY-7", FOLLOWING, "staged.difference = 2 AND asset.state = 'ready'", "false"),
    Mutant("SY-8", FOLLOWING, _AVAILABLE_AGAIN, ""),
    Mutant("SY-9", REMOVALS, "interval '0' THEN 'gone' ELSE 'missing' END", "interval '0' THEN 'gone' ELSE 'gone' END"),
    Mutant("SY-10", REMOVALS, " FROM {unlisted} WHERE NOT {rejected}", " FROM {unlisted}"),
    Mutant("SY-11", REMOVALS, "if removals.newly > most:", "if removals.newly > most + 1000:"),
    Mutant("SY-12", REMOVALS, "removals.token in policy.confirmed", "bool(policy.confirmed)"),
    Mutant("SY-13", RELINKING, _UNAMBIGUOUS, "if False:"),
    Mutant("SY-14", RELINKING, _UNAMBIGUOUS, "if pair.asset not in made and pair.seq not in taken:"),
    Mutant("SY-15", COLLECTIONS, "SET external_id = :external_id, name = :name", "SET name = :name"),
    Mutant("SY-16", SCHEDULABLE, "deleted_at IS NULL AND availability = 'present'", "deleted_at IS NULL"),
    Mutant(
        "SY-17",
        REMOVALS,
        'await tell(session, _CHANGES, {"collection": collection, "run": run.id}, later=later)',
        "...",
    ),
    Mutant("SY-18", CHANGES, "cursor if len(rows) == limit else max(cursor, latest)", "after or 0"),
    Mutant("SY-19", REPORT, 'if summary.mode != "ingest" or', 'if summary.mode == "ingest" or'),
    Mutant("SY-20", PIPELINE, "*readers, mode=run.mode", '*readers, mode="ingest"'),
    Mutant("SY-21", FOLLOWING, _FOLLOWED, f"{_FOLLOWED}\n    await session.commit()"),
    Mutant("SY-22", PURGING, "availability = 'gone' AND", "availability <> 'present' AND"),
    Mutant("SY-24", EXTENT, "stamp == last.stamp and not scanning", "stamp == last.stamp and stamp == scanning"),
    Mutant("SY-25", EXTENT, "if outcome.held_back is not None or counts.resumed:", "if counts.resumed:"),
    Mutant("SY-26", READINGS, "AND version = :server", "AND version <= :server"),
    Mutant("SY-26", EXTENT, "self._last.clock_s - MARGIN_S)", "self._last.clock_s + MARGIN_S)"),
    Mutant("SY-27", EXTENT, "elif changes.source_total != expected:", "elif changes.source_total < 0:"),
    Mutant("SY-27", EXTENT, "is not None or self._may_have_added(counts):", "is not None:"),
    Mutant("SY-28", PIPELINE, "sink = make_sink(False, True)", "sink = make_sink(True, True)"),
    Mutant("SY-29", EXTENT, "return age < dt.timedelta() or age >= every", "return age < dt.timedelta()"),
    Mutant("SY-30", REPORT, "        *_readings(summary),\n", ""),
    Mutant("SY-31", KNOWN, "        if self.excepted(page.source_hashes()):\n            return False\n", ""),
    Mutant("SY-31", EXTENT, 'elif self.extent.code == "stamp_moved" and not (', "elif False and not ("),
    Mutant("SY-32", PLEX_CHANGES, "        if rest:\n", "        if not wanted:\n"),
    Mutant("SY-32", EXTENT, 'if instead.read == "unchanged":', 'if instead.read != "unchanged":'),
    Mutant("SY-33", EXTENT, "items=self._total, explained", "items=self._last.items, explained"),
    Mutant("SY-33", EXTENT, "(additions.differing or self._last.explained):", "additions.differing:"),
    Mutant("SY-34", MOVES, "candidate.created_at > last_seen.at", "candidate.created_at > lost.created_at"),
    Mutant(
        "SY-35", MOVES, "exchanged.state = 'ready' AND (NOT exchanged.other_file", "exchanged.state = 'ready' AND (true"
    ),
    Mutant("SY-35", MOVES, 'if row.lost_availability == "present":', "if False:"),
    Mutant("SY-23", COMPARING, "if before == after or _plain(before) == _plain(after):", "if before is after:"),
    # One unit of work
    Mutant("UW-1", UNIT, "[await _merged(intake) for", "[(await _merged(intake), await session.commit())[0] for"),
    Mutant(
        "UW-2",
        TASKS,
        "self._limiter = anyio.CapacityLimiter(options.concurrency)",
        "self._limiter = anyio.CapacityLimiter(1 if options.atomic else options.concurrency)",
    ),
    Mutant("UW-3", TASKS, "elif self._options.atomic and self._failure is not None:", "elif False:"),
    Mutant(
        "UW-4",
        TASKS,
        "if self._options.atomic and self._failure is None",
        "if self._options.atomic and not self._collector.summary().skipped and self._failure is None",
    ),
    Mutant("UW-5", UNIT, "[await _merged(intake) for", "[(await _merged(intake), await session.commit())[0] for"),
    Mutant("UW-6", UNIT, "from exc\n            committed()", "from exc\n            raise"),
    Mutant("UW-7", TASKS, "for outcome in self._previewed:", "for outcome in self._previewed[1:]:"),
    Mutant("UW-8", AUDIT, '"atomic": run.atomic,', '"atomic": False,'),
    Mutant("SC-1", SCHEDULES, "if latest > max(", "if latest >= max("),
    Mutant(
        "SC-2",
        SCHEDULES,
        "latest = self.times.latest_at(now)",
        "latest = self.times.next_after(self.last_due_at or self.due_after)",
    ),
    Mutant("SC-3", SCHEDULES, "if holder is None:", "if True:"),
    Mutant("SC-4", SCHEDULES, "elif await _is_gone(session, holder):", "elif False:"),
    Mutant("SC-5", SCHEDULES, "if self.enabled:", "if True:"),
    Mutant("SC-6", SERVING, "message = summary.failed[0].message if summary.failed else None", "message = None"),
    Mutant("SC-7", SERVING, "if not ended.refused:", "if True:"),
    Mutant(
        "SC-8",
        SERVING,
        "except StoreUnavailable as exc:\n            _log",
        "except KeyError as exc:\n            _log",
    ),
    Mutant(
        "SC-9",
        "retrovue/core/cron.py",
        "CronSim(self.expression, moment.astimezone(self.zone))",
        "CronSim(self.expression, moment)",
    ),
    Mutant("SC-10", "retrovue/operations/schedules.py", "await schedules.require_free(session, named)", "pass"),
    # Jobs and workers
    Mutant("JB-1", "retrovue/service/requesting.py", "strict=options.strict", "strict=False"),
    Mutant("JB-2", JOBS, "same = [part for part in waiting if _asks_same(part, first)]", "same = waiting[:1]"),
    Mutant("JB-3", JOBS, "first.request_id if first.attempts == 0 else uuid.uuid4()", "first.request_id"),
    Mutant("JB-4", JOBS, "holder, lease_s=self.times.lease_s)", "holder)"),
    Mutant("JB-5", JOBS, "if working >= at_once or", "if"),
    Mutant("JB-6", JOBS, "next(iter(others), None)", "None"),
    Mutant(
        "JB-7",
        "retrovue/service/batches.py",
        "enriched = Enriched(\n        succeeded=succeeded,",
        "enriched = Enriched(",
    ),
    Mutant("JB-8", "retrovue/service/worker.py", "await jobs.wake_left()", "pass"),
    Mutant("JB-9", "retrovue/service/worker.py", "await requests.leave(session, self.host, self.times.gone_s)", "pass"),
    Mutant("JB-10", "retrovue/operations/progress.py", "for collection in waiting:", "for collection in waiting[:0]:"),
    Mutant(
        "JB-10",
        "retrovue/store/progress.py",
        " AND collection_id = ANY(cast(string_to_array(:collections, ',') AS uuid[]))",
        "",
    ),
    # Live events
    Mutant(
        "LE-1", HINTS, "due = min(self._last + self.times.quiet_s, self._first + self.times.most_s)", "due = self._last"
    ),
    Mutant("LE-2", HINTS, "len(known) > MOST_KEYS", "len(known) < 0"),
    Mutant("LE-3", PLEX_EVENTS, '== _DELETED or entry.get("metadataState") == "deleted":', "== _DELETED and False:"),
    Mutant("LE-4", LISTENING, "                    hints.all()\n", ""),
    Mutant("LE-4", LISTENING, "2 ** min(self._failures, 30)", "1"),
    Mutant("LE-5", HINTS, "self._echoes.get((str(hint.library), key), now) <= now", "True"),
    Mutant("LE-5", PLEX_EVENTS, ' or entry.get("identifier") != _LIBRARIES', ""),
    Mutant("LE-6", "retrovue/importers/http/client.py", "            await self.prove()\n", "            pass\n"),
    Mutant("LE-7", LISTENERS, "return await locks.take_key(_key(source))", "return True"),
    Mutant("LE-8", HINTED, "        if failures >= _MOST_FAILURES and", "        if True and"),
    Mutant("LE-9", LISTENERS, "now if active else (None, None, None)", "now"),
    Mutant("LE-10", WATCHING, "now - last >= QUIET_S or", "now - last >= 0 or"),
    Mutant("LE-10", WATCHING, "_identities, self.paths) != self.identities:", "_identities, self.paths) is None:"),
    Mutant("LE-11", "retrovue/web/hooks.py", "if not hmac.compare_digest(", "if False and hmac.compare_digest("),
    # Interrupted runs
    Mutant(
        "RS-1",
        TASKS,
        "                await audit.start(self._store, self._run, ours)\n",
        "                await audit.start(self._store, self._run, ours[:1])\n",
    ),
    Mutant("RS-1", AUDIT, " AS last WHERE status <> 'ingested'", " AS last WHERE status = 'failed'"),
    Mutant("RS-2", KEPT, "        self._next = len(bookmarks)\n        return bookmarks", "        return []"),
    Mutant("RS-2", PAGING, "            self.received += len(bookmark.keys)\n", "            self.received += 1\n"),
    Mutant("RS-3", LIBRARY, "return await self.mark() == mark", "return True"),
    Mutant("RS-3", LIBRARY, "return None if state is None or state.refreshing or", "return None if state is None or"),
    Mutant("RS-3", JELLYFIN, "_count(since) == 0 and await", "_count(since) >= 0 and await"),
    Mutant("RS-3", READER, " or listing.digest != bookmark.digest:", ":"),
    Mutant("RS-4", KEPT, " AND key = :key AND", " AND"),
    Mutant("RS-4", KEPT, " AND began_at > now() - cast(:age AS interval)", " AND cast(:age AS interval) > '0'"),
    Mutant("RS-4", KEPT, "            if not bookmarks:\n", "            if False:\n"),
    Mutant("RS-5", PIPELINE, "if not run.scope.is_full or not importer", "if not importer"),
    Mutant("RS-5", LIBRARY, "large = (total or 0) >= self.bookmarks_from", "large = True"),
    Mutant("RS-6", TALLY, "            resumed=self.resumed,\n", ""),
    Mutant("RS-7", PIPELINE, "            await intake.kept.drop(session)\n", "            pass\n"),
    Mutant("RS-7", KEPT, " or self._bytes > MOST_KEPT_BYTES:", ":"),
    Mutant(
        "RS-7",
        KEPT,
        "SELECT collection_uuid FROM old WHERE pg_try",
        "SELECT collection_uuid FROM old WHERE 0 > 1 AND pg_try",
    ),
    Mutant("RS-8", KEPT, " WHERE has_schema_privilege(current_schema(), 'CREATE')", ""),
)


def stale(mutants: Iterable[Mutant] = MUTANTS, root: Path = ROOT) -> list[str]:
    """Say which changes can't be made any more, because their text isn't there exactly once."""
    problems = []
    for mutant in mutants:
        path = root / mutant.file
        found = path.read_text(encoding="utf-8").count(mutant.text) if path.is_file() else -1
        if found != 1:
            problems.append(f"{mutant.rule}: {mutant.file} holds {mutant.text!r} {found} times, not once")
    return problems


def mutated(mutant: Mutant, root: Path = ROOT) -> str:
    """Return the changed text of the file."""
    return (root / mutant.file).read_text(encoding="utf-8").replace(mutant.text, mutant.instead)


def node_ids(rules: Iterable[str]) -> list[str]:
    """Name the classes that are marked with one of these rules."""
    wanted = set(rules)
    return [f"{marked.file}::{marked.name}" for marked in marked_classes() if marked.rule in wanted]


def _copy(directory: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=ignored)
        elif source.is_file():
            shutil.copy2(source, directory / name)
    return directory


def _run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # An editable install puts the working tree on sys.path: the copy has to come before it.
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def _pytest(tree: Path, nodes: Sequence[str], *more: str) -> subprocess.CompletedProcess[str]:
    return _run(tree, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *more, *nodes)


def _verify(tree: Path) -> None:
    probe = "import retrovue, tests; print(retrovue.__file__); print(tests.__file__)"
    for line in _run(tree, "-c", probe).stdout.split():
        if not Path(line).is_relative_to(tree):
            raise SystemExit(f"the copy isn't what would be tested: {line} is")


def _write(path: Path, text: str) -> None:
    """Write a module, at a time of its own: Python uses what it compiled before if time and size are the same."""
    path.write_text(text, encoding="utf-8")
    written = next(_TIMES)
    os.utime(path, (written, written))


def _fate(tree: Path, mutant: Mutant) -> str:
    path = tree / mutant.file
    original = path.read_text(encoding="utf-8")
    _write(path, mutated(mutant, tree))
    try:
        done = _pytest(tree, node_ids([mutant.rule]))
    except subprocess.TimeoutExpired:
        return "killed: the tests never end"
    finally:
        _write(path, original)
    if done.returncode == 0:
        return "SURVIVED"
    if done.returncode != FAILED:
        return f"BROKEN: pytest exited with {done.returncode}\n{done.stdout}{done.stderr}"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return f"killed: {failed[0].split(' - ')[0].rpartition('::')[2] if failed else '?'}"


def main(rules: Sequence[str]) -> int:
    """Run the mutants of these rules, or all; returns how many survived."""
    unknown = sorted(set(rules) - set(all_rules()))
    if unknown:
        raise SystemExit(f"no such rule: {', '.join(unknown)}")
    chosen = [mutant for mutant in MUTANTS if not rules or mutant.rule in rules]
    for problem in (problems := stale(chosen)):
        print(f"stale: {problem}")
    if problems:
        return len(problems)
    with tempfile.TemporaryDirectory(prefix="retrovue-mutants-") as directory:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            tree = Path(directory).resolve() / str(number)
            tree.mkdir()
            _verify(_copy(tree))
            trees.put(tree)
        print("Without any change …", flush=True)
        tree = trees.get()
        done = _pytest(tree, node_ids({mutant.rule for mutant in chosen}), "-n", str(AT_ONCE))
        trees.put(tree)
        if done.returncode:
            print(done.stdout, done.stderr)
            raise SystemExit("the tests fail without any change: what they say about one means nothing")
        print(done.stdout.splitlines()[-1])

        def outcome_of(mutant: Mutant) -> str:
            tree = trees.get()
            try:
                return _fate(tree, mutant)
            finally:
                trees.put(tree)

        survivors = 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for mutant, fate in zip(chosen, pool.map(outcome_of, chosen), strict=True):
                survivors += not fate.startswith("killed")
                change = mutant.text.strip().splitlines()[0][:60]
                print(f"{mutant.rule:<6} {mutant.file:<38} {change:<62} {fate}", flush=True)
    print(f"{len(chosen)} mutants of {len({mutant.rule for mutant in chosen})} rules, {survivors} survived")
    return survivors


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
