"""The quickstart."""

import asyncclick as click

from retrovue.cli.options import DIRECTORY, FILE, examples, followed, shared
from retrovue.cli.session import Call

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
    help="What the server is; default: plex.",
)
@click.option("--url", metavar="URL", help="Address of the server, such as http://192.168.1.10:32400.")
@click.option(
    "--token-file", type=FILE, metavar="FILE", help="File with its token, - for the standard input; or $RETROVUE_TOKEN."
)
@click.option("--sign-in", is_flag=True, help="Get the token by signing in at plex.tv with a browser.")
@click.option("--name", metavar="NAME", help="Name of the source, if it is new; default: Plex or Jellyfin.")
@click.option("--library", "libraries", multiple=True, metavar="NAME", help="Ingest this library; all: every one.")
@click.option("--map", "maps", multiple=True, metavar="FROM=TO", help="Where the server's directory FROM is here.")
@click.option(
    "--look-in",
    multiple=True,
    type=DIRECTORY,
    metavar="DIR",
    help="Look for the files below DIR, not at the usual places.",
)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--plex-tv", metavar="URL", default=PLEX_TV, hidden=True, help="Where plex.tv is.")
@followed
@shared(writes=True)
async def command(
    call: Call,
    *,
    type_name: str,
    url: str | None,
    token_file: str | None,
    sign_in: bool,
    name: str | None,
    libraries: tuple[str, ...],
    maps: tuple[str, ...],
    look_in: tuple[str, ...],
    yes: bool,
    plex_tv: str,
) -> int:
    """Set up a Plex or Jellyfin server and ingest it, asking for what isn't given.

    Finds its libraries and where their files are on this machine, lets you pick, shows what it will do, and ingests.
    It may be run again at any time: what is there already is used.
    """
    from retrovue.cli.actions.quickstart import KINDS, Answers, set_up

    answers = Answers(
        kind=KINDS[type_name],
        url=url,
        token_file=token_file,
        sign_in=sign_in,
        name=name,
        libraries=libraries,
        maps=maps,
        look_in=look_in,
        yes=yes,
        plex_tv=plex_tv,
    )
    return await set_up(call, answers)
