"""Checks the drafts of importers of other packages, and removes secrets from them."""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from msgspec.structs import asdict, replace

from retrovue.core.bounds import LONGEST_STAMP
from retrovue.core.model import Secret
from retrovue.core.pages import AssetDraft
from retrovue.core.text import is_storable, redact, without_secrets


def draft_problem(draft: AssetDraft) -> str | None:
    """Return what keeps a draft out of the catalogue: a type, a range, or text that can't be stored."""
    values = asdict(draft)
    try:
        values["parts"] = [asdict(part) for part in draft.parts]
        msgspec.convert(values, AssetDraft)
        stamps = [part.stamp for part in draft.parts]
        if any(stamp is not None and len(stamp) > LONGEST_STAMP for stamp in stamps):
            return f"the stamp of a part has more than {LONGEST_STAMP} characters"
        # Halves of surrogate pairs can't be encoded. Paths are checked where they are mapped.
        values["parts"] = stamps
        encoded = orjson.dumps(values)
    except (TypeError, ValueError, AttributeError) as exc:
        return f"{exc}"
    # The text itself may hold the six characters of the escape.
    return "its text holds a NUL character" if b"\\u0000" in encoded and not is_storable(values) else None


def secret_forms(credentials: object) -> tuple[str, ...]:
    """Return the texts as which the secrets of an importer may appear."""
    if not isinstance(credentials, Mapping):
        return ()
    return tuple(form for secret in credentials.values() if isinstance(secret, Secret) for form in secret.forms())


def without_secret_forms(draft: AssetDraft, forms: tuple[str, ...]) -> AssetDraft:
    """Return a draft without the secrets that its texts hold."""
    # The summary lists warnings by their text. Paths stay: a file whose path holds a secret is found by no other path.
    changes: dict[str, Any] = {"warnings": tuple(map(redact, draft.warnings))}
    if any(form in repr(draft) for form in forms):
        changes = without_secrets({**asdict(draft), **changes}, forms) | {"parts": draft.parts}
    return replace(draft, **changes) if len(changes) > 1 or changes["warnings"] != draft.warnings else draft
