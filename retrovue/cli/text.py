"""Making text safe to show: no control characters reach a terminal, no passwords in addresses reach anybody."""

import re
import unicodedata

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of these
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls, which show text in another order than it is in
    "\u2028\u2029\ud800-\udfff]"  # line separators; halves of surrogate pairs, which can't be encoded
)
_USER_INFO = re.compile(r"(?<=://)([^/\s@:]*):[^/\s]*@")
_IN_QUERY = re.compile(r"(?i)((?:x-plex-)?token|password|secret|api_?key)=[^&\s'\"]+")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def printable(text: object) -> str:
    """Show control characters, line breaks and bidi controls as escapes; everything else stays as it is."""
    return _UNSAFE.sub(_escape, str(text))


def without_passwords(text: str) -> str:
    """Hide passwords and tokens inside the addresses that a text contains."""
    if "://" not in text:
        return text
    return _IN_QUERY.sub(r"\1=…", _USER_INFO.sub(r"\1:…@", text))


def width(text: str) -> int:
    """Count the cells that a terminal needs for a text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
