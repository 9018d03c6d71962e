"""Secrets are removed by their value, for as long as the process holds them, and by their place in an address."""

import pytest

from retrovue.core.model import Secret
from retrovue.core.text import plain, redact, secret_forms, without_secrets
from retrovue.errors import SourceError


class TestKnownSecrets:
    @pytest.mark.parametrize(
        ("value", "text", "shown"),
        [
            ("c4n4ry-t0ken", "you sent c4n4ry-t0ken", "you sent …"),
            ("c4n4ry t0ken/+", "at /x?y=c4n4ry%20t0ken%2F%2B", "at /x?y=…"),
            ("c4n4ry/t0ken", r'{"token": "c4n4ry\/t0ken"}', '{"token": "…"}'),
            ('c4n4ry"t0ken', r'{"said": "c4n4ry\"t0ken"}', '{"said": "…"}'),
            ("postgresql://me:c4n4ryp4ss@host/db", "the password c4n4ryp4ss is wrong", "the password … is wrong"),
            ("postgresql://me:c4n%404ry@host/db", "the password c4n@4ry is wrong", "the password … is wrong"),
        ],
    )
    def test_one_is_removed_wherever_it_is(self, value: str, text: str, shown: str) -> None:
        secret = Secret(value)
        assert redact(text) == shown
        error = SourceError(text, hint=text, context={text: [text]})
        assert (error.message, error.hint, error.context) == (shown, shown, {shown: [shown]})
        assert plain({"x": [text]}) == {"x": [shown]}
        assert secret.reveal() == value

    def test_an_equal_one_stays_known_when_another_is_gone(self) -> None:
        first, second = Secret("c4n4ry-t0ken"), Secret("c4n4ry-t0ken")
        del first
        assert redact("c4n4ry-t0ken") == "…"
        del second
        assert redact("c4n4ry-t0ken") == "c4n4ry-t0ken"

    def test_what_is_too_short_or_shown_anyway_stays(self) -> None:
        kept = [
            Secret("data"),
            Secret(""),
            Secret("postgresql://retrovue:retrovue@host/x"),
            Secret("postgresql://host/retrovue"),
        ]
        assert redact("the data of retrovue") == "the data of retrovue"
        assert [secret.forms() for secret in kept] == [(), (), (), ()]

    def test_what_is_no_address_after_all_is_no_error(self) -> None:
        assert secret_forms("http://[bad") == ()

    def test_the_longest_form_goes_first(self) -> None:
        assert secret_forms("a b c d e") == ("a%20b%20c%20d%20e", "a b c d e")


def test_containers_keep_their_kind() -> None:
    value = {"t0ken1": ["t0ken1", ("xt0ken1", 1)], "other": None}
    assert without_secrets(value, ["t0ken1"]) == {"…": ["…", ("x…", 1)], "other": None}
