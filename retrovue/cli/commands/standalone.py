"""The commands outside of the groups: quickstart, stats, serve, worker, doctor, demo and completion."""

from typing import TYPE_CHECKING

import asyncclick as click

from retrovue.cli.errors import require_utf8
from retrovue.cli.invocation import Invocation
from retrovue.cli.options import DIRECTORY, FILE, LASTING_FILE, POSITIVE, Whole, examples, followed, shared

if TYPE_CHECKING:
    from asyncclick.shell_completion import ShellComplete

COMPLETION = "_RETROVUE_COMPLETE"
"""The environment variable by which a shell requests completions."""
PLEX_TV = "https://plex.tv"


@click.command(
    "quickstart",
    epilog=examples(
        "quickstart",
        "quickstart --url http://192.168.1.10:32400 --token-file token.txt --library all --yes",
        "quickstart --url http://192.168.1.10:32400 --sign-in --library Movies --map /data=/mnt/media --yes",
        "quickstart --type jellyfin --url http://192.168.1.10:8096",
    ),
)
@click.option(
    "--type",
    "type_name",
    type=click.Choice(["plex", "jellyfin"]),
    default="plex",
    help="Type of the server; default: plex.",
)
@click.option("--url", metavar="URL", help="Address of the server, such as http://192.168.1.10:32400.")
@click.option("--ca-file", type=LASTING_FILE, metavar="FILE", help="PEM file of the authorities to trust for https.")
@click.option("--verify-tls/--no-verify-tls", default=None, help="Whether to check its certificate; default: yes.")
@click.option(
    "--token-file",
    type=FILE,
    metavar="FILE",
    help="File with its token, - for the standard input; or $RETROVUE_TOKEN.",
)
@click.option("--sign-in", is_flag=True, help="Get a token by signing in at plex.tv with a browser.")
@click.option("--name", metavar="NAME", help="Name of the source, if it is new; default: Plex or Jellyfin.")
@click.option("--library", "libraries", multiple=True, metavar="NAME", help="Ingest this library; all for every one.")
@click.option(
    "--map", "maps", multiple=True, metavar="FROM=TO", help="Local directory TO of the server's directory FROM."
)
@click.option(
    "--look-in",
    multiple=True,
    type=DIRECTORY,
    metavar="DIR",
    help="Look for the files below DIR instead of the usual places.",
)
@click.option(
    "--check-files/--no-check-files",
    default=True,
    help="Whether some of the files have to be on this machine; default: yes.",
)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--plex-tv", metavar="URL", default=PLEX_TV, hidden=True, help="Address of plex.tv.")
@followed
@shared(writes=True)
async def quickstart(
    call: Invocation,
    *,
    type_name: str,
    url: str | None,
    ca_file: str | None,
    verify_tls: bool | None,
    token_file: str | None,
    sign_in: bool,
    name: str | None,
    libraries: tuple[str, ...],
    maps: tuple[str, ...],
    look_in: tuple[str, ...],
    check_files: bool,
    yes: bool,
    plex_tv: str,
) -> int:
    """Set up a Plex or Jellyfin server and ingest it, step by step.

    Lists its libraries, finds their files on this machine, lets you choose, shows what it will do, and ingests. Asks
    for what no option gives. It can be run again at any time and uses what exists.
    """
    from retrovue.cli.actions.connect import SERVER_TYPES
    from retrovue.cli.actions.quickstart import Options, set_up

    options = Options(
        server=SERVER_TYPES[type_name],
        url=url,
        tls={name: value for name, value in (("ca_file", ca_file), ("verify_tls", verify_tls)) if value is not None},
        token_file=token_file,
        sign_in=sign_in,
        name=name,
        libraries=libraries,
        maps=maps,
        look_in=look_in,
        check_files=check_files,
        yes=yes,
        plex_tv=plex_tv,
    )
    return await set_up(call, options)


@click.command("stats")
@click.option("--source", metavar="SOURCE", help="Only of this source: its id or name.")
@shared()
async def stats(call: Invocation, *, source: str | None) -> int:
    """Show what the catalogue holds: assets by collection, state and type, hours, bytes, failed enrichments."""
    from retrovue.cli.actions.reports import show_statistics

    return await show_statistics(call, source)


@click.command("serve")
@click.option("--name", metavar="NAME", help="Name of this host, for people; default: its host name.")
@click.option(
    "--concurrency", type=POSITIVE, default=4, show_default=True, help="Collections at work at the same time."
)
@click.option(
    "--listen/--no-listen", default=True, show_default=True, help="Whether to sync what the events of sources name."
)
@click.option(
    "--page/--no-page", default=None, help="Whether to serve the page; default: if its packages are installed."
)
@click.option("--jobs/--no-jobs", default=None, help="Whether to work jobs; default: if their packages are installed.")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", show_default=True, help="Where to serve the page.")
@click.option("--port", type=Whole(0, 65_535), default=8686, show_default=True, help="Port of the page; 0: any.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name of the page, such as that of a proxy.",
)
@shared()
async def serve(
    call: Invocation,
    *,
    name: str | None,
    concurrency: int,
    listen: bool,
    page: bool | None,
    jobs: bool | None,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
) -> int:
    """Work schedules and jobs, listen to sources, and serve the web page, until the process is stopped.

    Several hosts may serve one catalogue: each due time is worked once over all of them. A signal stops the runs of
    this host within two seconds; the next host that looks does them again. The page is for this machine only, unless
    RETROVUE_PAGE_TOKEN is set and --host gives another address.
    """
    from retrovue.cli.actions.serving import work

    return await work(
        call, name, concurrency=concurrency, listen=listen, page=page, jobs=jobs, address=(host, port, allowed_hosts)
    )  # fmt: skip


@click.command("worker")
@click.option("--name", metavar="NAME", help="Name of this host, for people; default: its host name.")
@click.option("--concurrency", type=POSITIVE, default=4, show_default=True, help="Jobs at work at the same time.")
@click.option("--source", "sources", multiple=True, metavar="SOURCE", help="Only jobs of this source: its id or name.")
@shared()
async def worker(call: Invocation, *, name: str | None, concurrency: int, sources: tuple[str, ...]) -> int:
    """Work the jobs that `--enqueue` leaves to workers, until the process is stopped.

    Start one on each host that reaches the database and the media files. A job is a collection, or a batch of its
    enrichment. A signal stops the jobs within two seconds; other workers do them again.
    """
    from retrovue.cli.actions.jobs import work

    return await work(call, name, concurrency=concurrency, sources=sources)


@click.command("doctor", epilog="Exit status: 0 no problem, 1 a problem, 3 only sources that can't be reached.")
@shared()
async def doctor(call: Invocation) -> int:
    """Check everything that an ingest relies on, and say how to repair what is wrong."""
    from retrovue.cli.actions.doctor import diagnose

    return await diagnose(call)


@click.command("demo")
@click.option(
    "--items",
    type=Whole(1, 10_000_000),
    default=20_000,
    show_default=True,
    help="Items in all libraries.",
)
@click.option("--collections", type=Whole(2, 40), default=8, show_default=True, help="Number of libraries.")
@click.option("--keep", is_flag=True, help="Keep the catalogue and print where it is.")
@click.option("--serve", "serves", is_flag=True, help="Then serve its page, until the demo is stopped.")
@click.option("--port", type=Whole(0, 65_535), default=8686, show_default=True, help="Port of the page; 0: any.")
@click.pass_obj
async def demo(call: Invocation, *, items: int, collections: int, keep: bool, serves: bool, port: int) -> int:
    """Ingest a simulated Plex server into its own catalogue, showing each command."""
    require_utf8()
    from retrovue.cli.actions.demo import demonstrate

    return await demonstrate(call, items=items, collections=collections, keep=keep, port=port if serves else None)


@click.command(
    "completion",
    epilog="For bash: retrovue completion bash > ~/.local/share/bash-completion/completions/retrovue",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
async def completion(call: Invocation, *, shell: str) -> int:
    """Print the script by which a shell completes commands and options.

    bash: source it in ~/.bashrc, or save it as below. zsh: save it as _retrovue in a directory of $fpath.
    fish: save it as ~/.config/fish/completions/retrovue.fish.
    """
    from asyncclick.shell_completion import ShellComplete

    # The class for bash starts a bash to check its version, which may not be the bash in use.
    script = ShellComplete.source(_completer(shell, click.get_current_context().find_root().command, call))
    # The script for fish splits an answer at every comma, but descriptions contain commas.
    call.output.text(script.replace('string split ","', 'string split --max 1 ","'))
    return call.answered(0)


async def complete(call: Invocation, program: click.Command, instruction: str) -> int:
    """Print the possible completions of the command line that the shell has put into the environment.

    Prints nothing for a line that can't be parsed: a message would appear within the line that is being typed.
    """
    shell, _, verb = instruction.partition("_")
    if verb != "complete" or shell not in {"bash", "zsh", "fish"}:
        return call.answered(1)
    try:
        completions = await _completer(shell, program, call).complete()
    except Exception:  # noqa: BLE001 - see above
        return call.answered(1)
    call.output.text(f"{completions}\n")
    return call.answered(0)


def _completer(shell: str, program: click.Command, call: Invocation) -> "ShellComplete":
    from asyncclick.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    made: ShellComplete = completer(program, {"obj": call}, "retrovue", COMPLETION)
    return made
