"""Hints on the page: commands are code, and lead to where the page does the same."""

import asyncclick as click
import httpx
import pytest

from retrovue.cli.app import command as program
from retrovue.web.advice import PAGES, hint_markup

pytestmark = pytest.mark.anyio


def test_a_command_leads_to_where_the_page_does_it() -> None:
    hint = "Run `retrovue collection update Movies --map /data=/mnt`, then `retrovue db upgrade`."
    assert hint_markup(hint) == (
        "Run <code>retrovue collection update Movies --map /data=/mnt</code>"
        ' (here: <a href="/">on the library&#39;s page</a>), then <code>retrovue db upgrade</code>.'
    )
    assert hint_markup("See `retrovue doctor`.").count("/doctor?examine=yes") == 1
    assert hint_markup(None) == ""


def test_what_a_media_server_wrote_into_a_hint_is_text() -> None:
    assert "<b>" not in hint_markup('<b> `retrovue source sync "<b>"` `<b>` `<b>')


@pytest.mark.parametrize("words", PAGES)
def test_each_command_is_one(words: str) -> None:
    found: click.Command = program
    for word in words.split():
        assert isinstance(found, click.Group)
        below = found.get_command(click.Context(found), word)
        assert below is not None, words
        found = below


async def test_each_page_is_there(page: httpx.AsyncClient) -> None:
    for address, _ in set(PAGES.values()):
        assert (await page.get(address, headers={"Accept": "text/html"})).status_code == 200, address
