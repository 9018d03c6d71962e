"""The due times of a cron expression in a time zone.

The expression has five fields: minute, hour, day of the month, month, day of the week. Where clocks are put forward, a
time that doesn't exist is due right after the gap. Where they are put back, a time that exists twice is due once,
unless its hour or minute is a wildcard. Debian's cron does the same, and ``cronsim`` documents it.
"""

import datetime as dt
from typing import Self
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from msgspec import Struct

from retrovue.core.errors import RequestError
from retrovue.core.text import quoted

_FIELDS = 5
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Cron(Struct, frozen=True):
    """A cron expression in a time zone. Make one with `parse`."""

    expression: str
    """Five fields; a word such as ``@daily`` is replaced by its fields."""
    time_zone: str
    """A name in the IANA database, such as ``Europe/Berlin``."""

    @classmethod
    def parse(cls, expression: str, time_zone: str) -> Self:
        """Make a Cron from both; raises RequestError with code ``bad_cron`` or ``bad_time_zone``."""
        fields = _MACROS.get(expression.strip().lower(), expression).split()
        cron = cls(" ".join(fields), time_zone)
        if time_zone not in available_timezones():
            raise RequestError(
                f"There is no time zone {quoted(time_zone)}.",
                code="bad_time_zone",
                hint="Give a name of the IANA database, such as UTC or Europe/Berlin.",
            )
        if (problem := cron._problem()) is not None:
            raise RequestError(
                f"{quoted(expression)} isn't a cron expression: {problem}.",
                code="bad_cron",
                hint="Give minute, hour, day of the month, month and day of the week, such as '*/5 * * * *' for every"
                " five minutes or '30 4 * * *' for 4:30 each day.",
            )
        return cron

    def _problem(self) -> str | None:
        number = len(self.expression.split())
        if number != _FIELDS:
            # cronsim accepts a sixth field, for seconds.
            return f"it has {number} fields, not {_FIELDS}"
        try:
            next(CronSim(self.expression, dt.datetime.now(self.zone)))
        except CronSimError as exc:
            return str(exc).lower()
        except StopIteration:
            return "it is never due"
        return None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)

    def next_after(self, moment: dt.datetime) -> dt.datetime:
        """Return the first due time after ``moment``, in UTC."""
        return next(CronSim(self.expression, moment.astimezone(self.zone))).astimezone(dt.UTC)

    def latest_at(self, moment: dt.datetime) -> dt.datetime:
        """Return the last due time not after ``moment``, in UTC."""
        later = moment.astimezone(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=1)
        return next(CronSim(self.expression, later.astimezone(self.zone), reverse=True)).astimezone(dt.UTC)
