"""The output of a command: data on standard output, everything else on standard error."""

import io
import os
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, TextIO

from retrovue.cli.text import painted, printable, takes_colour
from retrovue.core.errors import Problem
from retrovue.core.text import json_default

_WITHOUT_HINT = frozenset({"narrowing_forbidden", "interrupted"})
"""Codes of errors whose hint isn't printed: the message contains it, or, after Ctrl-C, nobody needs it."""

_BUFFER = 65_536
"""Bytes of streamed data that are written at once."""


class Output:
    """Writes to standard output and standard error.

    If the reader of a stream goes away (``| head -1``), the rest of the stream is dropped and the command goes on.
    """

    def __init__(self, *, as_json: bool = False, as_events: bool = False) -> None:
        self.as_json = as_json or as_events
        """Whether to print JSON: one document, or with ``as_events`` a line for each event."""
        self.as_events = as_events
        self.quiet = False
        """Whether to print only errors for people. JSON is printed anyway."""
        self.answered = False
        """Whether the command's one JSON document has been printed."""
        self.lost = False
        """Whether something couldn't be written, except for a reader that has gone away."""
        self.reader_gone = False
        """Whether the reader of standard output has gone away."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # No title may stop a command, whatever the terminal's encoding is.
                stream.reconfigure(errors="backslashreplace")

    @property
    def watched(self) -> bool:
        """Whether standard error is a terminal."""
        return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines for people, made printable, and in colour if the terminal and the environment allow it."""
        if self.quiet:
            return
        show = painted if takes_colour(sys.stdout) else printable
        self._write(sys.stdout, "".join(f"{show(line)}\n" for line in lines))

    def text(self, text: str) -> None:
        """Print a text of the program's own, unchanged."""
        self._write(sys.stdout, text)

    def document(self, document: Mapping[str, Any]) -> None:
        """Print the command's one JSON document, with ``as_events`` as the last event. A second document is dropped."""
        if self.answered:
            return
        self.answered = True
        if self.as_events:
            self.event({"type": "summary", **document})
            return
        import orjson  # imported here because help doesn't need it

        self._data(orjson.dumps(document, default=json_default, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    async def stream(self, chunks: AsyncIterator[bytes]) -> None:
        """Print data piece by piece as the command's answer. Stops when the reader has gone away."""
        self.answered = True
        buffer = bytearray()
        async for chunk in chunks:
            buffer += chunk
            if len(buffer) >= _BUFFER:
                self._data(bytes(buffer))
                buffer.clear()
                if self.reader_gone:
                    return
        self._data(bytes(buffer))

    def event(self, event: Mapping[str, Any]) -> None:
        """Print an event as a line of JSON."""
        import orjson

        self._data(orjson.dumps(event, default=json_default, option=orjson.OPT_APPEND_NEWLINE))

    def _data(self, data: bytes) -> None:
        # JSON is UTF-8 whatever the locale is.
        stream = getattr(sys.stdout, "buffer", None)
        if stream is not None:
            self._write(stream, data)

    def notes(self, lines: Iterable[str]) -> None:
        """Print lines on standard error."""
        self._write(sys.stderr, "".join(f"{printable(line)}\n" for line in lines))

    def warn(self, message: str, *, always: bool = False) -> None:
        """Print a warning; with ``always`` even if only errors are printed."""
        if self.quiet and not always:
            return
        self.notes([f"Warning: {message}"])

    def complain(self, problem: Problem) -> None:
        """Print an error and its hint."""
        hint = [f"  {problem.hint}"] if problem.hint and problem.code not in _WITHOUT_HINT and not self.as_json else []
        self.notes([f"Error: {problem.message}", *hint])

    def raw_notes(self, text: str) -> None:
        """Print a text of the program's own on standard error, unchanged."""
        self._write(sys.stderr, text)

    def _write(self, stream: TextIO | io.BufferedIOBase | None, data: str | bytes) -> None:
        if stream is None or stream.closed or not data:
            return
        try:
            stream.write(data)  # type: ignore[arg-type]
            stream.flush()
        except OSError as exc:
            self.give_up(stream, exc)

    def give_up(self, stream: TextIO | io.BufferedIOBase, error: OSError) -> None:
        """Discard the rest of a stream that can't be written. Report it, unless its reader has closed it."""
        self.silence(stream)
        if isinstance(error, BrokenPipeError):
            self.reader_gone |= stream is not sys.stderr
        else:
            self.lost = True
            if stream is not sys.stderr:
                self.notes([f"Error: The output can't be written: {error.strerror or error}."])

    @staticmethod
    def silence(stream: TextIO | io.BufferedIOBase) -> None:
        """Discard the rest of a stream, so that neither later writes nor the exit fail."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
