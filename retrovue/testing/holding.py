"""When plugins that misbehave stop doing so: one switch for importers and enrichers."""

import threading

LET_GO = threading.Event()
"""What they wait for that hang, block or refuse to be cancelled; once it is set, all of them behave."""


def let_go() -> None:
    """Release whatever hangs, blocks or refuses to be cancelled; importers and enrichers behave from now on."""
    LET_GO.set()


def hold_again() -> None:
    """Let them misbehave again."""
    LET_GO.clear()
