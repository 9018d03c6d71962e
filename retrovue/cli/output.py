"""The two streams: data on the standard output, everything else on the standard error."""

import io
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from retrovue.cli.text import painted, printable, takes_colour
from retrovue.core.errors import Problem

_SAYS_IT_ALL = frozenset({"narrowing_forbidden", "interrupted"})
"""Codes to whose message people need no hint: the first holds it, and whoever pressed Ctrl-C knows."""


class Output:
    """Writes to the terminal, the pipe or the file that the command was given.

    A reader that goes away (``| head -1``) silences the output and nothing else: the command goes on.
    """

    def __init__(self, *, as_json: bool = False, as_events: bool = False) -> None:
        self.as_json = as_json or as_events
        """Whether what is printed is JSON: one document, or with ``as_events`` a line for each event."""
        self.as_events = as_events
        self.quiet = False
        """Whether nothing but errors is said to people; JSON is data, and printed all the same."""
        self.answered = False
        """Whether the command's JSON document has been printed: there is exactly one."""
        self.lost = False
        """Whether something could not be written that somebody was waiting for."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A title must never be able to stop a command, whatever the terminal's encoding.
                stream.reconfigure(errors="backslashreplace")

    @property
    def watched(self) -> bool:
        """Whether a person sees the standard error as it is written."""
        return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines for people; each is made safe for a terminal, and coloured where that is wanted."""
        if self.quiet:
            return
        show = painted if takes_colour(sys.stdout) else printable
        self._write(sys.stdout, "".join(f"{show(line)}\n" for line in lines))

    def text(self, text: str) -> None:
        """Print a text of our own as it is."""
        self._write(sys.stdout, text)

    def document(self, document: Mapping[str, Any]) -> None:
        """Print the command's one JSON document, as events the last of them; a second one is a no-op."""
        if self.answered:
            return
        self.answered = True
        if self.as_events:
            self.event({"type": "summary", **document})
            return
        import orjson  # not needed for help

        self._data(orjson.dumps(document, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def event(self, event: Mapping[str, Any]) -> None:
        """Print an event, one line of JSON, at once."""
        import orjson

        self._data(orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE))

    def _data(self, data: bytes) -> None:
        # JSON is UTF-8 whatever the locale says.
        stream = getattr(sys.stdout, "buffer", None)
        if stream is not None:
            self._write(stream, data)

    def notes(self, lines: Iterable[str]) -> None:
        """Print lines beside the data."""
        self._write(sys.stderr, "".join(f"{printable(line)}\n" for line in lines))

    def warn(self, message: str) -> None:
        """Print a warning."""
        if self.quiet:
            return
        self.notes([f"Warning: {message}"])

    def complain(self, problem: Problem) -> None:
        """Print an error and what to do about it."""
        said = self.as_json or problem.code in _SAYS_IT_ALL
        hint = [] if problem.hint is None or said else [f"  {problem.hint}"]
        self.notes([f"Error: {problem.message}", *hint])

    def raw_notes(self, text: str) -> None:
        """Print a text of our own beside the data, line breaks and all."""
        self._write(sys.stderr, text)

    def _write(self, stream: TextIO | io.BufferedIOBase | None, data: str | bytes) -> None:
        if stream is None or stream.closed or not data:
            return
        try:
            stream.write(data)  # type: ignore[arg-type]
            stream.flush()
        except BrokenPipeError:
            self.silence(stream)
        except OSError as exc:
            self.silence(stream)
            self.lost = True
            if stream is not sys.stderr:
                self.notes([f"Error: The output can't be written: {exc.strerror or exc}."])

    @staticmethod
    def silence(stream: TextIO | io.BufferedIOBase) -> None:
        """Send the rest of a stream nowhere, so that neither a later write nor the exit fails on it."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
