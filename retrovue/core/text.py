"""Text that others wrote: without passwords, and in a form that PostgreSQL stores.

Passwords and tokens are removed when an error, a rejection or a reason is made. From there the text goes to the
summary, the audit trail, events, logs and the terminal. A secret is recognised by its value, if the process holds it as
a ``Secret``, and by its place in an address.
"""

import json
import re
import traceback
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, overload
from urllib.parse import quote, unquote, urlsplit
from weakref import WeakValueDictionary

SHORTEST_SECRET = 6
"""Characters of the shortest value that is replaced wherever it occurs. A shorter one would be found in other words."""

_USER_INFO = re.compile(r"(?<=://)([^/\s@:]*):[^/\s]*@")
_IN_QUERY = re.compile(r"(?i)(token|password|passwd|pwd|secret|signature|\bsig|auth|(?:api|access)[-_]?key)=[^&\s'\"]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class KnownSecret:
    """A secret that ``redact`` replaces wherever it occurs, for as long as this object exists."""

    __slots__ = ("__weakref__", "forms")

    def __init__(self, value: str) -> None:
        self.forms = secret_forms(value)
        """The texts to replace."""
        _KNOWN[id(self)] = self


_KNOWN: WeakValueDictionary[int, KnownSecret] = WeakValueDictionary()


def secret_forms(value: str) -> tuple[str, ...]:
    """Return the texts by which a secret may occur: as it is, percent-encoded, and in JSON; of an address its password.

    A password that equals another part of its address isn't secret: that part is shown.
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


def without_secrets(value: Any, forms: Collection[str]) -> Any:
    """Return a text, or a container of texts, in which ``…`` replaces the forms of secrets."""
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
    """Replace by ``…`` the secrets that the process holds, and the passwords and tokens in addresses."""
    for reference in _KNOWN.valuerefs():
        if (secret := reference()) is not None:
            for form in secret.forms:
                if form in text:
                    text = text.replace(form, "…")
    if "://" not in text and "?" not in text:
        return text
    return _IN_QUERY.sub(r"\1=…", _USER_INFO.sub(r"\1:…@", text))


def safe_text(value: object) -> str:
    """Return a value as text, without the passwords in addresses."""
    return redact(value if isinstance(value, str) else str(value))


def plain(value: object) -> Any:
    """Return a value as plain JSON, without the passwords in addresses. What JSON doesn't have becomes text."""
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


def redacted_traceback(error: BaseException) -> str:
    """Return the traceback of an error and its causes, without the passwords in addresses."""
    return redact("".join(traceback.format_exception(error)))


def quoted(value: object) -> str:
    """Return a value in quotes for a message: its text as it is, but for characters that can't be printed."""
    text = str(value)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{text}'"


def is_storable(value: object) -> bool:
    """Whether PostgreSQL stores every text in a value: none holds a NUL or half of a surrogate pair."""
    if isinstance(value, str):  # apart from the others, as it is called for each file of a library
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
    """Return a value whose texts PostgreSQL stores: NULs become U+FFFD, halves of surrogate pairs ``?``."""
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
    """Return the source's id of an item from its URI: of a file its path; of anything but a URI the text itself."""
    if "://" not in source_uri:
        return source_uri
    if source_uri.startswith("file:"):
        return unquote(source_uri.removeprefix("file://").partition("?")[0])
    return unquote(source_uri.partition("?")[0].rpartition("/")[2])
