"""The programs that work on the catalogue now, from the database's list of connections."""

import datetime as dt

from msgspec import Struct

from retrovue.store.statements import Session, text

_WORK = {
    "retrovue-serve": "works the schedules",
    "retrovue-events": "listens to sources",
    "retrovue-changes": "follows the changes",
}
"""What a program does, by the name of its connection."""
_RUN = "retrovue-ingest-"
_JOB = "retrovue-job on "


class Program(Struct, frozen=True):
    """A program that works on the catalogue now."""

    address: str | None
    """The address of its host as the database sees it; None for a program on the database's own machine."""
    does: str
    run: str | None
    """The id of its run, if it has a run at work."""
    since: dt.datetime


async def list_programs(session: Session) -> list[Program]:
    """List the programs that work on the catalogue now, in the order in which they began."""
    result = await session.execute(
        text(
            "SELECT host(client_addr) AS address, application_name AS name, backend_start AS since"
            " FROM pg_stat_activity WHERE datname = current_database()"
            " AND (application_name = ANY(cast(string_to_array(:names, ',') AS text[]))"
            " OR application_name LIKE :run OR application_name LIKE :job)"
            " ORDER BY backend_start, pid"
        ),
        {"names": ",".join(_WORK), "run": f"{_RUN}%", "job": f"{_JOB}%"},
    )
    return [
        Program(
            row.address,
            _does(row.name),
            row.name.removeprefix(_RUN) if row.name.startswith(_RUN) else None,
            row.since,
        )
        for row in result
    ]


def _does(name: str) -> str:
    if name.startswith(_JOB):
        return f"works a job on {name.removeprefix(_JOB)}"
    return _WORK.get(name, "has a run at work")
