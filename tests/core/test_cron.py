"""Due times of cron expressions."""

import datetime as dt

import pytest

from retrovue.core.cron import Cron
from retrovue.core.errors import RequestError


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


class TestDueTimes:
    @pytest.mark.parametrize(
        ("cron", "zone", "after", "expected"),
        [
            ("*/5 * * * *", "UTC", "2026-11-26T10:04:59+00:00", "2026-11-26T10:05:00+00:00"),
            ("*/5 * * * *", "UTC", "2026-11-26T10:05:00+00:00", "2026-11-26T10:10:00+00:00"),
            ("30 4 * * *", "Europe/Berlin", "2026-07-01T00:00:00+00:00", "2026-07-01T02:30:00+00:00"),
            ("30 4 * * *", "Asia/Kolkata", "2026-07-01T00:00:00+00:00", "2026-07-01T23:00:00+00:00"),
            ("0 0 * * 1-5", "UTC", "2026-11-27T12:00:00+00:00", "2026-11-30T00:00:00+00:00"),
            ("@daily", "UTC", "2026-11-27T12:00:00+00:00", "2026-11-28T00:00:00+00:00"),
            ("0 0 29 2 *", "UTC", "2026-03-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        ],
    )
    def test_next(self, cron: str, zone: str, after: str, expected: str) -> None:
        times = Cron.parse(cron, zone)
        assert times.next_after(moment(after)) == moment(expected)
        assert times.latest_at(moment(expected)) == moment(expected)
        assert times.latest_at(moment(expected) - dt.timedelta(microseconds=1)) < moment(expected)


class TestParsing:
    def test_a_word_is_written_out(self) -> None:
        assert Cron.parse(" @Hourly ", "UTC").expression == "0 * * * *"
        assert Cron.parse("0   4 *\t* *", "UTC").expression == "0 4 * * *"

    @pytest.mark.parametrize(
        ("cron", "problem"),
        [
            ("", "it has 0 fields, not 5"),
            ("* * * *", "it has 4 fields, not 5"),
            ("* * * * * *", "it has 6 fields, not 5"),
            ("61 * * * *", "bad minute"),
            ("* * * * 9", "bad day-of-week"),
            ("0 0 31 2 *", "bad day-of-month"),
            ("@never", "it has 1 fields, not 5"),
            ("*/0 * * * *", "bad minute"),
        ],
    )
    def test_what_is_no_expression_is_refused(self, cron: str, problem: str) -> None:
        with pytest.raises(RequestError) as refused:
            Cron.parse(cron, "UTC")
        assert refused.value.code == "bad_cron"
        assert problem in refused.value.message

    @pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "europe/berlin ", "\0"])
    def test_what_is_no_time_zone_is_refused(self, zone: str) -> None:
        with pytest.raises(RequestError) as refused:
            Cron.parse("* * * * *", zone)
        assert refused.value.code == "bad_time_zone"
