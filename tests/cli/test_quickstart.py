"""The quickstart: unattended, on a terminal, twice, and interrupted."""

import os
import pty
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import orjson
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.cli.actions.quickstart import picked_numbers
from retrovue.errors import MalformedAnswer, SourceRefused
from retrovue.importers.plex.account import PlexAccount
from retrovue.simulator import Fault, Request, faults
from retrovue.simulator.account import SimulatedAccount
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, movie
from tests.cli.conftest import TOKEN, Cli, Done, Plex, Serve, stuck
from tests.support.plex import place_files

ASKED_TOKEN = "X-Plex-Token (nothing is shown; only Enter: sign in with a browser): "
ASKED_WHICH = "(numbers such as 1 3 or 2-4, all; only Enter: the 2 found) "


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return str(file)


@pytest.fixture
def disk(tmp_path: Path, plex: Plex) -> Path:
    """A disk with the movies and the shows of the server, in directories of other names; not with the home videos."""
    root = tmp_path / "disk"
    for section, kind, place in zip(plex.server.sections, (1, 4), ("nas/lib/films", "nas/lib/series"), strict=False):
        place_files(section, kind, root / place)
    (root / "nas" / "empty").mkdir()
    return root


def unattended(plex: Plex, token_file: str, disk: Path, *more: str) -> list[str]:
    given = ["--url", plex.url, "--token-file", token_file, "--look-in", str(disk), "--yes"]
    return ["quickstart", *given, *more]


def mappings(cli: Cli) -> dict[str, tuple[bool, list[str], int]]:
    collections = cli.ok("collection", "list")["collections"]
    return {
        one["name"]: (one["sync_enabled"], [m["local_path"] for m in one["path_mappings"]], one["assets_count"])
        for one in collections
    }


class Talk:
    """A command on a terminal, from the first question to its end."""

    def __init__(self, cli: Cli, *arguments: str, on_terminal: bool = False) -> None:
        """``on_terminal``: the standard output is the terminal, too."""
        self._terminal, its_end = pty.openpty()
        streams = {"stdin": its_end, "stderr": its_end} | ({"stdout": its_end} if on_terminal else {})
        self.process = cli.start(*arguments, **streams, start_new_session=True)
        os.close(its_end)
        self._seen = b""
        self._answered = 0
        """What was seen before the last answer holds no question that waits for one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        os.close(self._terminal)

    def wait_for(self, question: str) -> None:
        while not self._seen[self._answered :].endswith(question.encode()):
            self._seen += os.read(self._terminal, 1000)

    def type(self, reply: str) -> None:
        self._answered = len(self._seen)
        os.write(self._terminal, f"{reply}\n".encode("utf-8", "surrogateescape"))

    def end(self) -> Done:
        """Wait for the end; returns what has been said since it was last read."""
        out, _ = self.process.communicate(timeout=60)
        with suppress(OSError):  # that is how a terminal ends that nobody uses any more
            while more := os.read(self._terminal, 1000):
                self._seen += more
        return Done(self.process.returncode, (out or b"").decode(), self._seen.decode().replace("\r\n", "\n"))


def converse(cli: Cli, arguments: Sequence[str], *turns: tuple[str, str | signal.Signals]) -> Done:
    """Run a command on a terminal, and answer each question once it is asked."""
    with Talk(cli, *arguments) as talk:
        for question, reply in turns:
            talk.wait_for(question)
            if isinstance(reply, signal.Signals):
                talk.process.send_signal(reply)
            else:
                talk.type(reply)
        return talk.end()


class TestUnattended:
    def test_finds_the_files_and_ingests(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path) -> None:
        done = run_cli(*unattended(plex, token_file, disk, "--library", "Movies", "--library", "2"))
        assert done.status == 0, done
        assert done.out.splitlines()[-2:] == [
            "Success",
            "Source ingest complete: 2 collections processed (2 success, 0 failed)",
        ]
        found = mappings(run_cli)
        assert found["Movies"][:2] == (True, [str(disk / "nas/lib/films")])
        assert found["TV Shows"][:2] == (True, [str(disk / "nas/lib/series")])
        assert found["Home Videos"] == (False, [], 0)
        assert min(found["Movies"][2], found["TV Shows"][2]) >= 20
        assert ["Home", "Videos", "3", "movie", "not", "found"] in [line.split() for line in done.err.splitlines()]
        assert "\nNext:\n  retrovue source ingest plex-" in done.err

    def test_twice_changes_nothing(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path) -> None:
        arguments = unattended(plex, token_file, disk, "--library", "Movies")
        assert run_cli(*arguments).status == 0
        before = mappings(run_cli)
        again = run_cli(*arguments, "--json")
        assert (again.status, again.document["total_created_assets"]) == (0, 0)
        assert again.document["total_skipped_assets"] == before["Movies"][2]
        assert mappings(run_cli) == before
        assert run_cli.ok("source", "list")["total"] == 1

    def test_a_mapping_that_is_given_wins(
        self, run_cli: Cli, plex: Plex, token_file: str, disk: Path, media: Path
    ) -> None:
        (location,) = plex.server.sections[0].locations
        place_files(plex.server.sections[0], 1, media)
        given = ("--library", "Movies", "--map", f"{location.path}={media}")
        assert run_cli(*unattended(plex, token_file, disk, *given)).status == 0
        assert mappings(run_cli)["Movies"][1] == [str(media)]

    def test_a_dry_run_writes_nothing(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path, media: Path) -> None:
        place_files(plex.server.sections[2], 1, media)
        videos = f"{plex.server.sections[2].locations[0].path}={media}"
        done = run_cli(*unattended(plex, token_file, disk, "--library", "all", "--map", videos, "--dry-run"))
        assert done.status == 0, done
        assert done.out == "Dry run: nothing was written.\n"
        assert run_cli.ok("source", "list")["total"] == 0

    def test_a_dry_run_tells_its_plan(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path) -> None:
        done = run_cli(*unattended(plex, token_file, disk, "--library", "Movies", "--dry-run", "--json"))
        (movies,) = done.document["collections"]
        assert movies["name"] == "Movies"
        assert movies["path_mappings"] == [[plex.server.sections[0].locations[0].path, str(disk / "nas/lib/films")]]

    def test_says_all_that_is_missing(self, offline_cli: Cli) -> None:
        done = offline_cli("quickstart", "--json")
        (error,) = done.document["errors"]
        assert (done.status, error["code"]) == (1, "answers_missing")
        assert error["context"]["missing"] == ["--url", "--token-file", "--library", "--yes"]

    def test_says_which_mapping_is_missing(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path) -> None:
        done = run_cli(*unattended(plex, token_file, disk, "--library", "Home Videos", "--json"))
        (error,) = done.document["errors"]
        assert (done.status, error["code"]) == (1, "unmapped_location")
        assert f"Give --map {plex.server.sections[2].locations[0].path}=LOCAL." in error["hint"]
        assert "collection update" not in error["message"]  # there is no such collection yet
        wrong = ("--library", "Home Videos", "--map", f"{plex.server.sections[2].locations[0].path}={disk}")
        (error,) = run_cli(*unattended(plex, token_file, disk, *wrong, "--json")).document["errors"]
        assert error["code"] == "files_not_found"
        assert "--no-check-files" in error["hint"]
        assert run_cli.ok("source", "list")["total"] == 0

    def test_an_unknown_library(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path) -> None:
        done = run_cli(*unattended(plex, token_file, disk, "--library", "Flims"))
        assert done.status == 1
        assert "Error: The server has no library 'Flims'.\n  It has: Movies, TV Shows, Home Videos." in done.err

    def test_quiet_says_nothing(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path) -> None:
        done = run_cli(*unattended(plex, token_file, disk, "--library", "Movies", "--quiet"))
        assert (done.status, done.out, done.err) == (0, "", "")


class TestOnATerminal:
    def test_asks_for_all(self, run_cli: Cli, plex: Plex, disk: Path, media: Path) -> None:
        place_files(plex.server.sections[2], 1, media)
        done = converse(
            run_cli,
            ("quickstart", "--look-in", str(disk)),
            ("(such as http://192.168.1.10:32400): ", plex.url),
            (ASKED_TOKEN, TOKEN),
            (ASKED_WHICH, "9"),
            (ASKED_WHICH, "1, 3"),
            ("on this machine? (only Enter: leave it out) ", "/nowhere-at-all"),
            ("on this machine? (only Enter: leave it out) ", str(media)),
            ("Do it? [Y/n] ", "y"),
        )
        assert done.status == 0, done
        assert "Numbers from 1 to 3, please, the name of a library, or all." in done.err
        assert "The directory /nowhere-at-all" in done.err
        found = mappings(run_cli)
        assert found["Movies"][:2] == (True, [str(disk / "nas/lib/films")])
        assert found["Home Videos"][:2] == (True, [str(media)])
        assert not found["TV Shows"][0]

    def test_a_no_changes_nothing(self, run_cli: Cli, plex: Plex, disk: Path, token_file: str) -> None:
        done = converse(
            run_cli,
            ("quickstart", "--url", plex.url, "--token-file", token_file, "--look-in", str(disk)),
            (ASKED_WHICH, ""),
            ("Do it? [Y/n] ", "n"),
        )
        assert done.status == 1
        assert "Not confirmed; nothing was changed." in done.err
        assert run_cli.ok("source", "list")["total"] == 0

    def test_interrupted_while_it_asks(self, run_cli: Cli, plex: Plex, disk: Path, token_file: str) -> None:
        done = converse(
            run_cli,
            ("quickstart", "--url", plex.url, "--token-file", token_file, "--look-in", str(disk)),
            (ASKED_WHICH, signal.SIGINT),
        )
        assert done.status == 130
        assert run_cli.ok("source", "list")["total"] == 0

    def test_the_token_is_known_the_second_time(self, run_cli: Cli, plex: Plex, disk: Path, token_file: str) -> None:
        assert run_cli(*unattended(plex, token_file, disk, "--library", "Movies")).status == 0
        done = converse(
            run_cli,
            ("quickstart", "--url", plex.url, "--look-in", str(disk)),
            (ASKED_WHICH, "2"),
            ("Do it? [Y/n] ", ""),
        )
        assert done.status == 0, done
        assert "The token is known from last time." in done.err
        assert mappings(run_cli)["TV Shows"][0]


class TestForgives:
    """An answer that doesn't work is asked for again, with the reason, before the next question."""

    def test_an_address_then_a_token(self, run_cli: Cli, plex: Plex, serve: Serve, disk: Path) -> None:
        address = "(such as http://192.168.1.10:32400): "
        website = SimulatedAccount(token=TOKEN)
        website.faults.add(Fault(faults.html_page()))
        with serve(website) as other:
            done = converse(
                Cli(run_cli.environment | {"PYTHONIOENCODING": "utf-8:strict"}),  # as in most locales, but for C
                ("quickstart", "--look-in", str(disk)),
                (address, ""),
                (address, "http://127.0.0.1:1"),
                (address, "ftp://127.0.0.1"),
                (address, other),
                (address, plex.url.removeprefix("http://")),
                (ASKED_TOKEN, "two words"),
                (ASKED_TOKEN, "\udce9"),
                (ASKED_TOKEN, "wrong"),
                (ASKED_TOKEN, TOKEN),
                (ASKED_WHICH, "1"),
                ("Do it? [Y/n] ", "perhaps"),
                ("Do it? [Y/n] ", "y"),
            )
        assert done.status == 0, done
        reasons = (
            "Connection refused",
            "doesn't begin with http",
            "is not a Plex server",
            "isn't one word",
            "isn't UTF-8 text",
            "refused the token",
        )
        places = [done.err.find(reason) for reason in reasons]
        assert places == sorted(places), done.err
        assert places[0] > 0, done.err
        assert "source update" not in done.err
        assert "Where to find the X-Plex-Token: In Plex Web, " in done.err
        assert mappings(run_cli)["Movies"][2] >= 20
        assert plex.server.count("/identity", method="GET") >= 1

    def test_the_second_time_enter_is_enough(self, run_cli: Cli, plex: Plex, disk: Path, token_file: str) -> None:
        assert run_cli(*unattended(plex, token_file, disk, "--library", "Movies")).status == 0
        done = converse(
            run_cli,
            ("quickstart", "--look-in", str(disk)),
            (f"Address of the Plex server (only Enter: {plex.url}): ", ""),
            (ASKED_WHICH, "1"),
            ("Do it? [Y/n] ", ""),
        )
        assert done.status == 0, done
        assert run_cli.ok("source", "list")["total"] == 1

    def test_a_known_token_that_is_refused_now(self, run_cli: Cli, plex: Plex, disk: Path, token_file: str) -> None:
        assert run_cli(*unattended(plex, token_file, disk, "--library", "Movies")).status == 0
        plex.server._token = "another"
        done = converse(
            run_cli,
            ("quickstart", "--url", plex.url, "--look-in", str(disk)),
            (ASKED_TOKEN, "another"),
            (ASKED_WHICH, "1"),
            ("Do it? [Y/n] ", ""),
        )
        assert done.status == 0, done
        assert run_cli.ok("source", "list")["total"] == 1

    def test_home_and_relative_paths(
        self, run_cli: Cli, plex: Plex, disk: Path, media: Path, token_file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(run_cli.environment, "HOME", str(media.parent))
        for section in (plex.server.sections[0], plex.server.sections[2]):
            place_files(section, 1, media)
        done = converse(
            run_cli,
            ("quickstart", "--url", plex.url, "--token-file", token_file, f"--look-in=~/{disk.name}"),
            (ASKED_WHICH, "home videos"),
            ("on this machine? (only Enter: leave it out) ", str(disk)),
            ("on this machine? (only Enter: leave it out) ", f"~/{media.name}"),
            ("Do it? [Y/n] ", ""),
        )
        assert done.status == 0, done
        assert "None of 10 files of 'Home Videos' that were looked for is on this machine, such as " in done.err
        assert mappings(run_cli)["Home Videos"][1] == [str(media)]
        location = plex.server.sections[0].locations[0].path
        given = ("--library", "movies", "--map", f"{location}={os.path.relpath(media)}")
        assert run_cli(*unattended(plex, token_file, disk, *given)).status == 0
        assert mappings(run_cli)["Movies"][1] == [str(media)]

    def test_a_place_to_look_in_that_is_not_there(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path) -> None:
        done = run_cli(*unattended(plex, token_file, disk / "nowhere", "--library", "Movies", "--json"))
        assert (done.status, done.document["errors"][0]["code"]) == (1, "missing_directory")
        assert str(disk / "nowhere") in done.document["errors"][0]["message"]

    def test_the_arrow_keys_work_in_an_answer(self, run_cli: Cli, plex: Plex, disk: Path, token_file: str) -> None:
        pytest.importorskip("readline")
        arguments = ("quickstart", "--url", plex.url, "--token-file", token_file, "--look-in", str(disk))
        with Talk(run_cli, *arguments, on_terminal=True) as talk:
            talk.wait_for(ASKED_WHICH)
            talk.type("3\x1b[D1 \x01\x1b[3~2")  # 3, left, 1 and a blank, to the begin, delete the 1, 2: "2 3"
            talk.wait_for("on this machine? (only Enter: leave it out) ")
            talk.type("")
            talk.wait_for("Do it? [Y/n] ")
            talk.type("n")
            done = talk.end()
        assert done.status == 1
        assert "enable TV Shows" in done.err
        assert "Home Videos is left out" in done.err


class TestInterrupted:
    @pytest.mark.parametrize("number", range(1, 8))
    def test_a_second_run_goes_on(self, run_cli: Cli, plex: Plex, token_file: str, disk: Path, number: int) -> None:
        """The server refuses from its nth answer about libraries on: in the survey, the discovery, the enabling."""
        arguments = unattended(plex, token_file, disk, "--library", "Movies", "--library", "TV Shows")
        seen = 0

        def refuse_later(request: Request) -> None:
            nonlocal seen
            seen += request.path == "/library/sections"
            if seen == number:
                plex.server.faults.add(Fault(faults.status(401)))

        plex.server.on_request = refuse_later
        broken = run_cli(*arguments)
        plex.server.on_request = None
        plex.server.faults.clear()
        assert (broken.status, seen) == (1, number), broken
        done = run_cli(*arguments)
        assert done.status == 0, done
        assert run_cli.ok("source", "list")["total"] == 1
        found = mappings(run_cli)
        assert found["Movies"][0]
        assert found["TV Shows"][0]
        assert min(found["Movies"][2], found["TV Shows"][2]) >= 20


class TestInterruptedInItsIngest:
    """It ends as source ingest does: what is in stays and is told, the rest is interrupted, another run goes on."""

    @pytest.fixture
    def arguments(self, plex: Plex, token_file: str, disk: Path) -> list[str]:
        return ["quickstart", "--url", plex.url, "--token-file", token_file, "--look-in", str(disk)]

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_what_is_committed_stays(
        self,
        run_cli: Cli,
        plex: Plex,
        portal: BlockingPortal,
        arguments: list[str],
        number: signal.Signals,
        status: int,
    ) -> None:
        with Talk(run_cli, *arguments, "--jsonl") as talk:
            talk.wait_for(ASKED_WHICH)
            talk.type("")
            talk.wait_for("Do it? [Y/n] ")
            with stuck(portal, plex, "/library/sections/2/all") as arrived:
                talk.type("y")
                event: Any = {}
                while event.get("status") != "ingested":
                    event = orjson.loads(talk.process.read_line())
                assert arrived.wait(30)
                talk.process.send_signal(number)
                done = talk.end()
        summary = orjson.loads(done.out.splitlines()[-1])
        told = {one["name"]: one["status"] for one in summary["collection_results"]}
        assert (done.status, summary["type"], summary["status"]) == (status, "summary", "partial")
        assert told == {"Movies": "ingested", "TV Shows": "interrupted", "Home Videos": "skipped"}
        assert {error["code"] for error in summary["errors"]} == {"interrupted"}
        assert "Next:" not in done.err
        found = mappings(run_cli)
        assert (found["Movies"][2], found["TV Shows"][2]) == (summary["total_created_assets"], 0)
        log = {one["collection"]["name"]: one["status"] for one in run_cli.ok("ingest", "log")["entries"]}
        assert log == {"Movies": "ingested", "TV Shows": "interrupted"}
        plex.server.faults.clear()
        again = converse(run_cli, arguments, (ASKED_WHICH, ""), ("Do it? [Y/n] ", ""))
        assert again.status == 0, again
        assert mappings(run_cli)["TV Shows"][2] >= 20

    def test_people_are_told_the_same(
        self, run_cli: Cli, plex: Plex, portal: BlockingPortal, arguments: list[str]
    ) -> None:
        with Talk(run_cli, *arguments) as talk:
            talk.wait_for(ASKED_WHICH)
            talk.type("2")
            talk.wait_for("Do it? [Y/n] ")
            with stuck(portal, plex, "/library/sections/2/all") as arrived:
                talk.type("y")
                assert arrived.wait(30)
                talk.process.send_signal(signal.SIGINT)
                done = talk.end()
        assert done.status == 130
        assert done.out.splitlines()[-1].startswith("Source ingest interrupted"), done.out
        assert "Next:" not in done.err
        enabled, _, assets = mappings(run_cli)["TV Shows"]
        assert (enabled, assets) == (True, 0)


class TestSigningIn:
    def test_a_browser_gives_the_token(self, run_cli: Cli, plex: Plex, disk: Path, serve: Serve) -> None:
        account = SimulatedAccount(token=TOKEN)
        # Somebody signs in after it was asked once whether somebody has.
        account.on_request = lambda _: account.sign_in() if account.count("/api/v2/pins/*") > 1 else None
        with serve(account) as plex_tv:
            done = run_cli(
                *("quickstart", "--url", plex.url, "--look-in", str(disk), "--library", "Movies", "--yes"),
                *("--sign-in", "--plex-tv", plex_tv),
            )
        assert done.status == 0, done
        assert "https://app.plex.tv/auth#?clientID=retrovue-" in done.err
        assert "&code=strong-code-308667304&context%5Bdevice%5D%5Bproduct%5D=RetroVue" in done.err
        assert account.count("/api/v2/pins", method="POST") == 1
        assert all(request.token_from is None for request in account.requests)
        assert mappings(run_cli)["Movies"][0]

    @pytest.mark.anyio
    async def test_nobody_signs_in(self) -> None:
        account = SimulatedAccount(token=TOKEN)
        async with account.serve() as url, PlexAccount(url) as client:
            pin = await client.ask_for_pin()
            account.expire()
            with pytest.raises(SourceRefused) as caught:
                await client.token(pin)
        assert caught.value.code == "sign_in_expired"

    @pytest.mark.anyio
    async def test_a_pin_that_is_over_before_it_is_asked_for(self) -> None:
        account = SimulatedAccount(token=TOKEN, expires_in=0)
        async with account.serve() as url, PlexAccount(url) as client:
            with pytest.raises(SourceRefused):
                await client.token(await client.ask_for_pin())

    @pytest.mark.anyio
    async def test_a_pin_is_its_clients_alone(self) -> None:
        account = SimulatedAccount(token=TOKEN)
        async with account.serve() as url, PlexAccount(url) as client, PlexAccount(url) as other:
            pin = await client.ask_for_pin()
            account.sign_in()
            with pytest.raises(SourceRefused):
                await other.token(pin)
            assert (await client.token(pin)).reveal() == TOKEN

    @pytest.mark.anyio
    async def test_another_server(self) -> None:
        account = SimulatedAccount(token=TOKEN)
        account.faults.add(Fault(faults.html_page()))
        async with account.serve() as url, PlexAccount(url) as client:
            with pytest.raises(MalformedAnswer, match=r"isn't plex\.tv"):
                await client.ask_for_pin()


class TestJellyfin:
    @pytest.fixture
    def films(self) -> JellyfinLibrary:
        return JellyfinLibrary("Movies", "movies", [movie(number) for number in range(1, 31)])

    @pytest.fixture
    def url(self, serve: Serve, films: JellyfinLibrary) -> Iterator[str]:
        with serve(SimulatedJellyfin([films], token=TOKEN)) as url:
            yield url

    @pytest.fixture
    def disk(self, films: JellyfinLibrary, tmp_path: Path) -> Path:
        root = tmp_path / "disk"
        for item in films.items:
            file = root / "films" / Path(item["MediaSources"][0]["Path"]).name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return root

    def test_on_a_terminal(self, run_cli: Cli, url: str, disk: Path) -> None:
        done = converse(
            run_cli,
            ("quickstart", "--type", "jellyfin", "--look-in", str(disk)),
            ("Address of the Jellyfin server (such as http://192.168.1.10:8096): ", url),
            ("API key (nothing is shown): ", TOKEN),
            ("only Enter: the 1 found) ", ""),
            ("Do it? [Y/n] ", "y"),
        )
        assert done.status == 0, done
        assert f"Jellyfin server at {url}: 1 library" in done.err
        assert mappings(run_cli) == {"Movies": (True, [str(disk / "films")], 30)}
        assert [one["name"] for one in run_cli.ok("source", "list")["sources"]] == ["Jellyfin"]

    def test_unattended_and_again(self, run_cli: Cli, url: str, disk: Path, token_file: str) -> None:
        arguments = ("quickstart", "--type", "jellyfin", "--url", url, "--token-file", token_file, "--library", "all")
        for created in (30, 0):
            done = run_cli(*arguments, "--look-in", str(disk), "--yes", "--json")
            assert (done.status, done.document["total_created_assets"]) == (0, created)
        assert run_cli.ok("source", "list")["total"] == 1

    def test_no_token_is_no_token(self, run_cli: Cli, url: str, disk: Path) -> None:
        done = converse(
            run_cli,
            ("quickstart", "--type", "jellyfin", "--url", url, "--look-in", str(disk)),
            ("API key (nothing is shown): ", ""),
            ("API key (nothing is shown): ", TOKEN),
            ("only Enter: the 1 found) ", ""),
            ("Do it? [Y/n] ", "y"),
        )
        assert done.status == 0
        assert "There is nothing in what was typed." in done.err

    def test_there_is_no_account_to_sign_in_to(self, offline_cli: Cli) -> None:
        done = offline_cli("quickstart", "--type", "jellyfin", "--sign-in")
        assert done.status == 1
        assert "Error: --sign-in is for Plex; a Jellyfin server takes its API key." in done.err


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("1", [1]),
        ("3 1", [1, 3]),
        ("1,2-4", [1, 2, 3, 4]),
        ("2-2", [2]),
        ("0", None),
        ("5", None),
        ("3-1", None),
        ("1;2", None),
        ("-1", None),
        ("one", None),
        ("9999999", None),
    ],
)
def test_picked_numbers(answer: str, numbers: list[int] | None) -> None:
    assert picked_numbers(answer, 4) == numbers
