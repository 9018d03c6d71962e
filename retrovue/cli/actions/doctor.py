"""The doctor: check everything that an ingest relies on, and print the findings."""

from collections.abc import Iterator, Sequence

from msgspec.structs import asdict

from retrovue.cli.errors import FAILED, OK, UNREACHABLE
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import line_width, words
from retrovue.cli.text import printable
from retrovue.core.errors import RequestError, SchemaMismatch, StoreError
from retrovue.operations.doctor import Finding, examine, examine_database

_HEADS = ("Verdict", "Check", "Finding")
_INDENT = " " * 21
"""The width of the columns before the finding."""


async def diagnose(call: Invocation) -> int:
    """Check everything and print the findings; return 0 if none of them is a problem."""
    findings = await _findings(call)
    problems = [finding for finding in findings if finding.verdict == "problem"]
    warnings = [finding for finding in findings if finding.verdict == "warning"]
    status = _status(problems)
    if problems:
        first = problems[0]
        call.output.notes([f"Error: {_count(len(problems), 'problem')}; the first: {_about(first)}"])
    if call.output.as_json:
        call.output.document(
            {
                "status": "error" if problems else "ok",
                "findings": [asdict(finding) for finding in findings],
                "problems": len(problems),
                "warnings": len(warnings),
            }
        )
    else:
        call.output.lines(
            [*findings_table(findings), "", f"{_count(len(problems), 'problem')}, {_count(len(warnings), 'warning')}"]
        )
    return status


async def _findings(call: Invocation) -> list[Finding]:
    findings: list[Finding] = []
    try:
        async with opened(call) as store:
            findings += [finding async for finding in examine(store)]
    except SchemaMismatch as exc:
        async with opened(call, check=False, read_only=True) as store:
            findings += [finding async for finding in examine_database(store, upgrade=True)]
        findings.append(Finding("schema", "schema", "problem", exc.message, exc.hint))
    except (StoreError, RequestError) as exc:
        findings.append(Finding("database", "database", "problem", exc.message, exc.hint))
    return findings


def _status(problems: Sequence[Finding]) -> int:
    if not problems:
        return OK
    return UNREACHABLE if all(problem.unreachable for problem in problems) else FAILED


def _about(finding: Finding) -> str:
    """Return the message of a finding, with its subject in front unless the subject is the check itself."""
    subject = "" if finding.subject == finding.check else f"{finding.subject}: "
    return f"{subject}{finding.message}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def findings_table(findings: Sequence[Finding]) -> Iterator[str]:
    """Lay out findings in lines that fit the terminal."""
    room = line_width() - len(_INDENT)
    yield _row(*_HEADS)
    yield _row("-------", "----------", "-" * room)
    for finding in findings:
        first, *more = words(printable(_about(finding)), room)
        yield _row(finding.verdict, finding.check, first)
        yield from (f"{_INDENT}{line}" for line in more)
        if finding.hint:
            yield from (f"{_INDENT}{line}" for line in words(printable(finding.hint), room))


def _row(verdict: str, check: str, finding: str) -> str:
    return f"{verdict:<7}  {check:<10}  {finding}"
