"""Clean text from outside: remove passwords, and make it storable in PostgreSQL.

Passwords and tokens are removed when an error, a rejection or a reason is made. From there the text goes to the
summary, the audit trail, events, logs and the terminal. A secret is recognised by its value, if the process holds it as
a ``Secret``, and by its position in an address.
"""

import html
import json
import re
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, overload
from urllib.parse import quote, unquote, urlsplit
from weakref import WeakValueDictionary

from msgspec import Struct
from msgspec.structs import asdict

SHORTEST_SECRET = 6
"""The length of the shortest value that is replaced wherever it occurs. Shorter values would be found in other words.
"""

_USER_INFO = re.compile(r"(?<=://)([^/\s@:]*):[^/\s]*@")
_IN_QUERY = re.compile(r"(?i)(token|password|passwd|pwd|secret|signature|\bsig|auth|(?:api|access)[-_]?key)=[^&\s'\"]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class KnownSecret:
    """A secret that ``redact`` replaces wherever it occurs, for as long as this object exists."""

    __slots__ = ("__weakref__", "encoded", "forms")

    def __init__(self, value: str) -> None:
        self.forms = secret_forms(value)
        """The forms to replace."""
        self.encoded = _in_base64(self.forms)
        """The parts of their Base64 forms, which are replaced in messages as well."""
        _KNOWN[id(self)] = self


_KNOWN: WeakValueDictionary[int, KnownSecret] = WeakValueDictionary()


def secret_forms(value: str) -> tuple[str, ...]:
    """Return the forms in which a secret, or the password of an address, may occur: plain, percent-encoded, in JSON.

    A password that equals another part of its address isn't secret, because that part is shown.
    """
    if "://" in value:
        try:
            address = urlsplit(value)
            password, shown = address.password or "", {address.username, address.hostname, address.path.strip("/")}
        except ValueError:
            return ()
        forms = set() if password in shown else {password, unquote(password)}
    else:
        forms = {value, quote(value, safe=""), value.replace("/", "\\/"), json.dumps(value)[1:-1]}
    return tuple(sorted((form for form in forms if len(form) >= SHORTEST_SECRET), key=len, reverse=True))


def _in_base64(forms: Iterable[str]) -> tuple[str, ...]:
    """Return the part of each text's Base64 that doesn't depend on the surrounding bytes, for each of three offsets."""
    found = set[str]()
    for form in forms:
        raw = form.encode("utf-8", "surrogatepass")
        for before in range(3):
            # Each character encodes six bits. Characters that share a byte with the surrounding text are left out.
            first, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
            found |= {encode(bytes(before) + raw)[first:end].decode() for encode in (b64encode, urlsafe_b64encode)}
    return tuple(text for text in found if len(text) >= SHORTEST_SECRET)


def without_secrets(value: Any, forms: Collection[str]) -> Any:
    """Return a text, or a container of texts, with ``…`` in place of all forms of secrets."""
    if not forms:
        return value
    match value:
        case str():
            for form in forms:
                if form in value:
                    value = value.replace(form, "…")
            return value
        case Mapping():
            return {without_secrets(key, forms): without_secrets(item, forms) for key, item in value.items()}
        case list():
            return [without_secrets(item, forms) for item in value]
        case tuple():
            return tuple(without_secrets(item, forms) for item in value)
        case _:
            return value


def redact(text: str) -> str:
    """Replace secrets that the process holds, and passwords and tokens in addresses, by ``…``.

    A secret may be visible only after decoding percent-encoding, JSON or HTML escapes; such text is decoded first.
    """
    for reference in _KNOWN.valuerefs():
        if (secret := reference()) is not None:
            text = _without((*secret.forms, *secret.encoded), text)
            for sign, decode in _ESCAPES:
                if sign in text and secret.forms and _holds(decoded := decode(text), secret.forms):
                    text = _without(secret.forms, decoded)
    if "://" not in text and "?" not in text:
        return text
    return _IN_QUERY.sub(r"\1=…", _USER_INFO.sub(r"\1:…@", text))


def _without(forms: Iterable[str], text: str) -> str:
    """Replace texts by ``…``, ignoring case: host names are written in lower case."""
    folded = text.lower()
    for form in forms:
        if form.lower() in folded:
            text = re.sub(re.escape(form), "…", text, flags=re.IGNORECASE)
            folded = text.lower()
    return text


def _holds(text: str, forms: Iterable[str]) -> bool:
    return any(form in text for form in forms)


_IN_JSON = re.compile(r"\\u00([2-7][0-9A-Fa-f])")
_ESCAPES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("%", unquote),
    ("&", html.unescape),
    ("\\u00", lambda text: _IN_JSON.sub(lambda match: chr(int(match[1], 16)), text)),
)
"""The ways to escape single characters: the beginning of each escape, and the function that decodes a text."""


def escaped_in_json(value: str, text: bytes | bytearray) -> re.Pattern[bytes] | None:
    r"""Return a pattern that finds a text in JSON even if some of its characters are escaped as ``\u00xx``.

    None if the JSON has no such escape of any character of the text; then there is nothing to search for.
    """
    # Searching for one byte is ten times faster than searching for the escape, and many answers have no backslash.
    if b"\\" not in text or b"\\u00" not in text:
        return None
    escapes = {char: f"{ord(char):02x}" for char in value if char.isascii()}
    if not any(form.encode() in text for code in escapes.values() for form in (f"\\u00{code}", f"\\u00{code.upper()}")):
        return None
    pattern = "".join(
        f"(?:{re.escape(char)}|\\\\u00(?i:{escapes[char]}))" if char in escapes else re.escape(char) for char in value
    )
    return re.compile(pattern.encode())


def safe_text(value: object) -> str:
    """Return a value as text, without the passwords in addresses."""
    return redact(value if isinstance(value, str) else str(value))


def plain(value: object) -> Any:
    """Return a value as plain JSON, without the passwords in addresses. Values that JSON doesn't have become text."""
    match value:
        case str():
            return redact(value)
        case None | float():
            return value
        case int() if value.bit_length() < 64:
            return value
        case Mapping():
            return {safe_text(key): plain(item) for key, item in value.items()}
        case list() | tuple() | AbstractSet():
            return [plain(item) for item in value]
        case _:
            return safe_text(value)


def json_default(value: object) -> Any:
    """Return what an encoder of JSON writes for a value that it doesn't know: the fields of a record, or its text."""
    return asdict(value) if isinstance(value, Struct) else str(value)


def redacted_traceback(error: BaseException) -> str:
    """Return the traceback of an error and its causes, without the passwords in addresses."""
    return redact("".join(traceback.format_exception(error)))


def quoted(value: object) -> str:
    """Return a value in quotes for a message, with characters that can't be printed escaped."""
    text = str(value)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{text}'"


def is_storable(value: object) -> bool:
    """Return whether PostgreSQL can store all texts in a value: none holds a NUL or a lone surrogate."""
    if isinstance(value, str):  # A separate branch for a text, because this is called for each file of a library.
        return "\0" not in value and (value.isascii() or _SURROGATE.search(value) is None)
    match value:
        case Mapping():
            return all(is_storable(key) and is_storable(item) for key, item in value.items())
        case list() | tuple():
            return all(map(is_storable, value))
        case _:
            return True


@overload
def storable(value: str) -> str: ...
@overload
def storable(value: object) -> Any: ...
def storable(value: object) -> Any:
    """Return a value whose texts PostgreSQL can store: NULs become U+FFFD, lone surrogates ``?``."""
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case Mapping():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value


def item_key(source_uri: str) -> str:
    """Return the source's id of an item from its URI: for a file its path, for anything but a URI the text itself."""
    if "://" not in source_uri:
        return source_uri
    if source_uri.startswith("file:"):
        return unquote(source_uri.removeprefix("file://").partition("?")[0])
    return unquote(source_uri.partition("?")[0].rpartition("/")[2])
