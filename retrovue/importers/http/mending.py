"""Replaces what isn't text in answers and drafts: bytes that aren't UTF-8, halves of UTF-16 pairs, NUL characters."""

import re
from typing import Any

from retrovue.core.model import AssetDraft, Page, Rejection
from retrovue.core.paths import stem

NUL = b"\\u0000"
"""The escape in JSON of the character that PostgreSQL doesn't store."""
REPLACEMENT = "\ufffd".encode()
"""Replaces bytes that could not be decoded."""

_ESCAPE = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|u[dD][c-fC-F][0-9a-fA-F]{2}|.)"
)
_UNCLEAN = ("\0", "\ufffd")


def clean_json(body: bytes | bytearray) -> tuple[bytes | bytearray, bool]:
    """Replace bytes that aren't UTF-8 and halves of UTF-16 pairs; returns the text and whether it changed."""
    cleaned = body
    try:
        str(body, "utf-8")
    except UnicodeDecodeError:
        cleaned = str(body, "utf-8", "replace").encode()
    if b"\\ud" in cleaned or b"\\uD" in cleaned:
        cleaned = _ESCAPE.sub(_mend_escape, cleaned)
    return cleaned, cleaned != body


def clean_from(page: Page, first_draft: int, first_rejection: int) -> None:
    """Clean the drafts and rejections of one mended row: remove NUL characters, reject drafts of unclear paths."""
    drafts, page.drafts[first_draft:] = page.drafts[first_draft:], []
    for draft in drafts:
        if any(mark in part.source_path for part in draft.parts for mark in _UNCLEAN):
            reason = "The file's path holds a NUL character or bytes that are not text."
            page.rejected.append(Rejection("bad_path", reason, draft.source_uri, draft.title))
            continue
        values: dict[str, Any] = {name: without_nul(getattr(draft, name)) for name in draft.__struct_fields__}
        flags = list(draft.warnings)
        if any(values[name] != getattr(draft, name) for name in values):
            flags.append("nul_removed")
        if not values["title"].strip():
            values["title"] = stem(draft.parts[0].source_path)
            flags.append("no_title")
        if "\ufffd" in repr(draft):
            flags.append("text_replaced")
        page.drafts.append(AssetDraft(**(values | {"warnings": tuple(flags)})))
    page.rejected[first_rejection:] = [
        Rejection(rejection.code, without_nul(rejection.reason), rejection.source_uri, without_nul(rejection.title))
        for rejection in page.rejected[first_rejection:]
    ]


def without_nul(value: Any) -> Any:
    """Remove the NUL characters from text, and from all text in lists and dicts."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    if isinstance(value, dict):
        return {without_nul(key): without_nul(item) for key, item in value.items()}
    return value


def _mend_escape(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if len(text) == 2 or found[2]:
        return text
    return REPLACEMENT
