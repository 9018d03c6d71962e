"""The meaning of a code, and what to do next."""

from typing import NamedTuple


class Advice(NamedTuple):
    """The meaning of a code, and what to do next."""

    meaning: str
    do: str


REPORT = "This is a bug of RetroVue: run the command again with RETROVUE_DEBUG=1 and report what it prints."
