"""Words that others have written, without the passwords and tokens in them.

Errors, rejections and reasons take them out when they are made: from there these words go to the summary, the audit
trail, events, logs and the terminal. Only what is in an address can be told from other text.
"""

import re
import traceback
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

_USER_INFO = re.compile(r"(?<=://)([^/\s@:]*):[^/\s]*@")
_IN_QUERY = re.compile(r"(?i)(token|password|passwd|pwd|secret|signature|\bsig|auth|(?:api|access)[-_]?key)=[^&\s'\"]+")


def redact(text: str) -> str:
    """Hide passwords and tokens inside the addresses that a text contains."""
    if "://" not in text and "?" not in text:
        return text
    return _IN_QUERY.sub(r"\1=…", _USER_INFO.sub(r"\1:…@", text))


def safe_text(value: object) -> str:
    """Make text of what should be text and may be anything, without passwords in addresses."""
    return redact(value if isinstance(value, str) else str(value))


def plain(value: object) -> Any:
    """Make a value plain JSON, without passwords in addresses; what JSON doesn't have becomes its text."""
    match value:
        case str():
            return redact(value)
        case None | float():
            return value
        case int() if value.bit_length() < 64:
            return value
        case Mapping():
            return {safe_text(key): plain(one) for key, one in value.items()}
        case list() | tuple() | AbstractSet():
            return [plain(one) for one in value]
        case _:
            return safe_text(value)


def redacted_traceback(error: BaseException) -> str:
    """Write an error's traceback, with those of its causes: the text of each may be somebody else's."""
    return redact("".join(traceback.format_exception(error)))
