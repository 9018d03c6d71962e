"""Errors of the page: told to people with what to do, logged without secrets."""

import logging

import httpx
import pytest

from retrovue.store.addresses import database_url
from retrovue.store.session import Store
from retrovue.web.pages import others
from tests.web.conftest import served

pytestmark = pytest.mark.anyio
HTML = {"Accept": "text/html"}


async def test_a_bug_is_an_answer_with_all_headers_and_is_logged(
    page: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("the text of an error")

    monkeypatch.setattr(others, "list_programs", broken)
    with caplog.at_level(logging.ERROR):
        answer = await page.get("/hosts", headers=HTML)
    assert (answer.status_code, "ZeroDivisionError" in answer.text) == (500, True)
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "the text of an error" not in answer.text
    (record,) = [one for one in caplog.records if one.name.startswith("retrovue.web")]
    assert "/hosts" in record.getMessage()
    assert (await page.get("/health")).status_code == 200


async def test_without_a_database_each_page_says_so() -> None:
    nowhere = Store(database_url("postgresql://nobody:canary-password-77@127.0.0.1:1/nothing"), patience=0.5)
    async with nowhere, served(nowhere) as client:
        for address in ("/", "/assets", "/runs", "/schedules"):
            answer = await client.get(address, headers=HTML)
            assert answer.status_code == 503
            assert "database" in answer.text
            assert "canary" not in answer.text


async def test_programs_get_json(page: httpx.AsyncClient) -> None:
    answer = await page.get("/assets/00000000-0000-0000-0000-000000000000")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "asset_not_found")
    assert (await page.get("/assets/nonsense")).status_code == 404
