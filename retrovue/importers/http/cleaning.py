"""Repair the text of an answer: bytes that aren't UTF-8, lone surrogates, and the search for NUL characters."""

import codecs
import re
from typing import Final

from retrovue.core.errors import MalformedAnswer

_NUL = b"\\u0000"
"""The JSON escape of the character that PostgreSQL can't store."""
_REPLACEMENT = "\ufffd".encode()
"""Replaces bytes that couldn't be decoded."""

_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
"""The JSON escape of a lone surrogate: a high one without a low one after it, or a low one without a high one before
it. It is searched for after escaped backslashes have been removed.
"""
_REPLACEMENT_ESCAPE = rb"\ufffd"
"""As long as the escape that it replaces, so that a text is repaired in place."""

MOST_REPAIRED: Final = 10_000
"""The most bytes and escapes of one answer that are replaced. An answer with more isn't text, and each takes time."""
_CHUNK = 1 << 20
"""The bytes that are decoded at a time where only bytes are needed, so that their text is never in memory as a whole.
"""


def may_hold_nul(body: bytes | bytearray) -> bool:
    """Return whether an answer may hold a NUL character."""
    # Searching for one byte is ten times faster than searching for the escape, and many pages have no backslash.
    return b"\\" in body and _NUL in body


def clean_json(body: bytes | bytearray) -> tuple[bytes | bytearray, bool]:
    """Replace bytes that aren't UTF-8 and lone surrogates; return the text and whether it changed.

    Raises MalformedAnswer if there are too many.
    """
    cleaned = _as_utf8(body)
    if b"\\ud" in cleaned or b"\\uD" in cleaned:
        repaired: bytearray | None = None
        # After an escaped backslash, "ud800" isn't an escape.
        halves = _HALF.finditer(cleaned.replace(rb"\\", b"\0\0"))
        for number, half in enumerate(halves):
            if number == MOST_REPAIRED:
                raise _not_text()
            if repaired is None:
                repaired = bytearray(cleaned)
            repaired[half.start() : half.end()] = _REPLACEMENT_ESCAPE
        cleaned = cleaned if repaired is None else repaired
    return cleaned, cleaned is not body


def _as_utf8(body: bytes | bytearray) -> bytes | bytearray:
    """Replace the bytes that aren't UTF-8; return the body itself if there are none."""
    view = memoryview(body)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _CHUNK):
            decoder.decode(view[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        pass
    else:
        return body
    replacing = codecs.getincrementaldecoder("utf-8")("replace")
    repaired = bytearray()
    for start in range(0, len(body), _CHUNK):
        repaired += replacing.decode(view[start : start + _CHUNK]).encode()
        if len(repaired) > len(body) + len(_REPLACEMENT) * MOST_REPAIRED:
            raise _not_text()
    return repaired + replacing.decode(b"", final=True).encode()


def _not_text() -> MalformedAnswer:
    return MalformedAnswer(
        f"The answer isn't text: it holds more than {MOST_REPAIRED:,} bytes or escapes that stand for no character.",
        code="bad_json",
    )


def is_repaired(text: bytes, changed: bool) -> bool:
    """Return whether a row may hold a NUL or replacement character; ``changed`` says that its answer was repaired."""
    return _NUL in text or (changed and (_REPLACEMENT in text or _REPLACEMENT_ESCAPE in text))
