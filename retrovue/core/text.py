"""Text that others wrote: without passwords, and in a form that PostgreSQL stores.

Passwords and tokens are removed when an error, a rejection or a reason is made. From there the text goes to the
summary, the audit trail, events, logs and the terminal. A secret is recognised only inside an address.
"""

import re
import traceback
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, overload

_USER_INFO = re.compile(r"(?<=://)([^/\s@:]*):[^/\s]*@")
_IN_QUERY = re.compile(r"(?i)(token|password|passwd|pwd|secret|signature|\bsig|auth|(?:api|access)[-_]?key)=[^&\s'\"]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def redact(text: str) -> str:
    """Replace the passwords and tokens in the addresses of a text by ``…``."""
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


def is_storable(value: object) -> bool:
    """Whether PostgreSQL stores every text in a value: none holds a NUL or half of a surrogate pair."""
    match value:
        case str():
            return "\0" not in value and (value.isascii() or _SURROGATE.search(value) is None)
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
