"""Completion of commands, options and choices in a shell."""

from typing import TYPE_CHECKING

import asyncclick as click

from retrovue.cli.session import Session

if TYPE_CHECKING:
    from asyncclick.shell_completion import ShellComplete

_PROGRAM = "retrovue"


@click.command(
    "completion",
    epilog="For bash: retrovue completion bash > ~/.local/share/bash-completion/completions/retrovue",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
async def command(session: Session, *, shell: str) -> int:
    """Print the script that makes a shell complete this program's commands and options.

    bash: source it from ~/.bashrc, or save it as below. zsh: save it as _retrovue in a directory of $fpath.
    fish: save it as ~/.config/fish/completions/retrovue.fish.
    """
    from asyncclick.shell_completion import ShellComplete

    # Not the subclass's own: that of bash starts a bash to look at its version, which needn't be the one in use.
    script = ShellComplete.source(_made(shell))
    # For fish it would take an answer apart at every comma; descriptions hold commas, too.
    session.output.text(script.replace('string split ","', 'string split --max 1 ","'))
    return session.answered(0)


async def complete(session: Session, instruction: str) -> int:
    """Print what could come next on the command line that the shell has put into the environment.

    Says nothing about a line that makes no sense: the shell is in the middle of showing it.
    """
    shell, _, verb = instruction.partition("_")
    if verb != "complete" or shell not in {"bash", "zsh", "fish"}:
        return session.answered(1)
    try:
        found = await _made(shell, session).complete()
    except Exception:  # noqa: BLE001 - a message would land in the line that is being typed
        return session.answered(1)
    session.output.text(f"{found}\n")
    return session.answered(0)


def _made(shell: str, session: Session | None = None) -> "ShellComplete":
    from asyncclick.shell_completion import get_completion_class

    from retrovue.cli.app import COMPLETION
    from retrovue.cli.app import command as program

    known = get_completion_class(shell)
    if known is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    made: ShellComplete = known(program, {"obj": session}, _PROGRAM, COMPLETION)
    return made
