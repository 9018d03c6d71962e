"""Who may use the page: under which name, from which page, with which token, how often and with how much."""

import time

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from retrovue.core.errors import RequestError
from retrovue.web.guard import BODY_BYTES, COOKIE, SESSION_SECONDS, Guard, Rate, Sessions
from retrovue.web.settings import PageSettings
from tests.support.http import NO_TLS
from tests.web.conftest import TOKEN

pytestmark = pytest.mark.anyio


def code(answer: httpx.Response) -> str:
    found: str = answer.json()["errors"][0]["code"]
    return found


class TestNames:
    async def test_the_own_names_are_served(self, page: httpx.AsyncClient) -> None:
        for name in ("127.0.0.1", "localhost", "LOCALHOST.", "localhost:8686", "127.0.0.1:1", "[::1]:8686"):
            assert (await page.get("/health", headers={"Host": name})).status_code == 200, name

    async def test_a_name_that_is_rebound_to_this_machine_reads_nothing(self, page: httpx.AsyncClient) -> None:
        """A browser says then that the request is of the same origin."""
        for name in (
            "evil.example", "evil.example:8686", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.7", "",
            "127.0.0.1@evil.example", "evil.example/127.0.0.1", "[::1", "a:b",
        ):  # fmt: skip
            answer = await page.get("/health", headers={"Host": name})
            assert (answer.status_code, code(answer)) == (421, "bad_host"), name
            assert "test host" not in answer.text

    def test_elsewhere_numeric_addresses_and_given_names_are_served(self) -> None:
        settings = PageSettings("0.0.0.0", token=TOKEN, allowed_hosts=frozenset({"tv.example"}))
        assert [
            name for name in ("192.0.2.7", "2001:db8::1", "TV.example", "evil.example") if settings.allows(name)
        ] == [
            "192.0.2.7",
            "2001:db8::1",
            "TV.example",
        ]


_ORIGINS: tuple[tuple[bool, dict[str, str]], ...] = (
    (True, {"Sec-Fetch-Site": "same-origin"}),
    (True, {"Sec-Fetch-Site": "none"}),
    (True, {"Origin": "http://127.0.0.1:8686"}),
    (True, {"Authorization": f"Bearer {TOKEN}"}),
    (False, {}),
    (False, {"Sec-Fetch-Site": "same-site"}),
    (False, {"Sec-Fetch-Site": "cross-site"}),
    (False, {"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {TOKEN}"}),
    (False, {"Origin": "http://127.0.0.1:9999"}),
    (False, {"Origin": "http://evil.example"}),
    (False, {"Origin": "null"}),
)
"""Whether a request with these headers may change something."""


class TestOrigins:
    async def test_only_the_page_itself_changes_anything(self, locked: httpx.AsyncClient) -> None:
        async with httpx.AsyncClient(base_url=locked.base_url, verify=NO_TLS) as client:
            for passes, headers in _ORIGINS:
                answer = await client.post("/nothing", headers={"Host": "127.0.0.1:8686", **headers})
                assert (answer.status_code != 403) is passes, headers

    async def test_no_other_page_frames_it_or_runs_scripts_in_it(self, page: httpx.AsyncClient) -> None:
        for answer in (
            await page.get("/health"),
            await page.get("/nothing"),
            await page.get("/", headers={"Host": "x"}),
        ):
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"


class TestTokens:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "tv.example"])
    def test_another_address_than_loopback_demands_one(self, host: str) -> None:
        with pytest.raises(RequestError) as raised:
            PageSettings(host)
        assert raised.value.code == "page_token_needed"
        assert PageSettings(host, token=TOKEN).token == TOKEN

    def test_it_comes_from_the_environment_or_a_file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        file = tmp_path_factory.mktemp("secrets") / "token"
        file.write_text(f"{TOKEN}\n")
        for value in (TOKEN, f"file:{file}"):
            made = PageSettings.from_environment("0.0.0.0", 1, environ={"RETROVUE_PAGE_TOKEN": value})
            assert made.token == TOKEN
        with pytest.raises(RequestError) as raised:
            PageSettings.from_environment("127.0.0.1", 1, environ={"RETROVUE_PAGE_TOKEN": "short"})
        assert raised.value.code == "bad_page_token"
        assert "short" not in raised.value.message

    async def test_without_it_only_the_health_is_told(self, locked: httpx.AsyncClient) -> None:
        assert (await locked.get("/health")).status_code == 200
        answer = await locked.get("/sources")
        assert (answer.status_code, code(answer)) == (401, "token_needed")
        sent = await locked.get("/assets?title=A", headers={"Accept": "text/html"})
        assert (sent.status_code, sent.headers["Location"]) == (303, "/login?next=%2Fassets%3Ftitle%3DA")
        for wrong in (f"{TOKEN}x", TOKEN[:-1]):
            assert (await locked.get("/", headers={"Authorization": f"Bearer {wrong}"})).status_code == 401

    def test_a_session_is_made_by_the_token_alone_and_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sessions = Sessions(TOKEN)
        assert sessions.begin("another token") is None
        cookie = sessions.begin(TOKEN)
        assert cookie is not None
        assert TOKEN not in cookie
        assert sessions.holds(cookie)
        assert not Sessions("another-token-4711").holds(cookie)
        since, signature = cookie.split(".")
        for forged in (f"{int(since) + 1}.{signature}", f"{since}.{'0' * 64}", "", ".", "x.y", "²", f"{since}."):
            assert not sessions.holds(forged)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + SESSION_SECONDS + 1)
        assert not sessions.holds(cookie)

    async def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_other_sites_do_not_get(
        self, locked: httpx.AsyncClient
    ) -> None:
        asked = await locked.get("/login?next=/runs", headers={"Accept": "text/html"})
        assert 'name="next" value="/runs"' in asked.text
        wrong = await locked.post("/login", data={"token": "wrong", "next": "/runs"})
        assert (wrong.status_code, "Set-Cookie" in wrong.headers) == (403, False)
        right = await locked.post("/login", data={"token": TOKEN, "next": "/runs"})
        assert (right.status_code, right.headers["Location"]) == (303, "/runs")
        cookie = right.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert TOKEN not in cookie
        assert "Secure" not in cookie
        assert (await locked.get("/runs")).status_code == 200
        out = await locked.post("/logout")
        assert out.headers["Location"] == "/login"
        assert (await locked.get("/runs")).status_code == 401
        behind_tls = {"Origin": str(locked.base_url).replace("http:", "https:").rstrip("/")}
        by_https = await locked.post("/login", data={"token": TOKEN}, headers=behind_tls)
        assert "Secure" in by_https.headers["Set-Cookie"].split("; ")

    async def test_signing_in_leads_nowhere_else(self, locked: httpx.AsyncClient) -> None:
        for beyond in ("https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\nb"):
            answer = await locked.post("/login", data={"token": TOKEN, "next": beyond})
            assert (answer.status_code, answer.headers["Location"]) == (303, "/"), beyond

    async def test_a_forged_cookie_opens_nothing(self, locked: httpx.AsyncClient) -> None:
        answer = await locked.get("/", headers={"Cookie": f"{COOKIE}=1.{'0' * 64}"})
        assert answer.status_code == 401


class TestBounds:
    async def test_a_large_body_is_refused(self, page: httpx.AsyncClient) -> None:
        answer = await page.post("/nothing", content=b"x" * (BODY_BYTES + 1))
        assert (answer.status_code, code(answer)) == (413, "too_large")

    async def test_so_is_one_that_does_not_say_how_large_it_is(self) -> None:
        """It is read no further than allowed."""
        read: list[int] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

        async def endless(scope: Scope, receive: Receive, send: Send) -> None:
            while True:
                read.append(len((await receive())["body"]))

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"sec-fetch-site", b"same-origin")]
        scope: Scope = {
            "type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": headers,
            "server": ("127.0.0.1", 1), "scheme": "http", "root_path": "",
        }  # fmt: skip
        await Guard(endless, PageSettings(), None)(scope, receive, send)
        assert sent[0]["status"] == 413
        assert sum(read) <= BODY_BYTES

    def test_a_client_that_asks_too_often_has_to_wait_and_no_other_one(self) -> None:
        rate = Rate(per_second=2, burst=3)
        assert [rate.take("A", 0.0) for _ in range(5)] == [True, True, True, False, False]
        assert rate.take("B", 0.0)
        assert not rate.take("A", 0.4)
        assert rate.take("A", 1.0)

    def test_of_many_clients_only_the_latest_are_remembered(self) -> None:
        rate = Rate(per_second=0.001, burst=1)
        for number in range(5_000):
            assert rate.take(f"{number}", 0.0)
        assert not rate.take("4999", 0.0)
        assert len(rate._left) == 1_000
