"""Secrets are removed by their value, for as long as the process holds them, and by their place in an address."""

from base64 import b64encode, urlsafe_b64encode

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
            ("c4n4ry t0ken/+", "at /x?y=c4n4ry%20t0ken%2f%2b", "at /x?y=…"),
            ("c4n4ry-t0ken", "at %63%34n4ry%2Dt0ken, 5 % of it", "at …, 5 % of it"),
            ("C4n4ry-T0ken", "redirects to https://c4n4ry-t0ken.example:443", "redirects to https://….example:443"),
            ("c4n4ry&t0ken", "<a b='c4n4ry&amp;t0ken'>", "<a b='…'>"),
            ("c4n4ry-t0ken", "<a b='c4n4ry&#45;t&#x30;ken'>", "<a b='…'>"),
            ("c4n4ry-t0ken", r'{"a": "\u0063\u0034n4ry-t0k\u0065n"}', '{"a": "…"}'),
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

    @pytest.mark.parametrize("before", ["", "a", "me", "me:"])
    @pytest.mark.parametrize("after", ["", "x", "yz"])
    def test_what_base64_holds_of_it_is_removed(self, before: str, after: str) -> None:
        kept = Secret("c4n4ry-t0ken>?")
        for encode in (b64encode, urlsafe_b64encode):
            text = encode(f"{before}{kept.reveal()}{after}".encode()).decode()
            # What is left is of the neighbours, or shares a byte with them.
            assert max(map(len, redact(f"Basic {text}!").removeprefix("Basic ").split("…"))) <= 8

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
