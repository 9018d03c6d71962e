"""Check the drafts of importers of other packages, and remove secrets from them."""

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
    """Return why a draft can't be stored: a type, a range, or a text; None if it can."""
    values = asdict(draft)
    try:
        values["parts"] = [asdict(part) for part in draft.parts]
        for name in ("chapters", "markers"):
            if isinstance(values[name], str | bytes):  # bytes would be JSON, and msgspec takes a text for bytes
                return f"Expected `array | null`, got `{type(values[name]).__name__}` - at `$.{name}`"
        msgspec.convert(values, AssetDraft)
        stamps = [part.stamp for part in draft.parts]
        if any(stamp is not None and len(stamp) > LONGEST_STAMP for stamp in stamps):
            return f"the stamp of a part has more than {LONGEST_STAMP} characters"
        # Lone surrogates can't be encoded. Paths are checked where they are mapped.
        values["parts"] = stamps
        encoded = orjson.dumps(values)
    except (TypeError, ValueError, AttributeError) as exc:
        return f"{exc}"
    # The text itself may contain the six characters of the escape.
    return "its text holds a NUL character" if b"\\u0000" in encoded and not is_storable(values) else None


def secret_forms(credentials: object) -> tuple[str, ...]:
    """Return the forms in which the secrets of an importer may appear."""
    if not isinstance(credentials, Mapping):
        return ()
    return tuple(form for secret in credentials.values() if isinstance(secret, Secret) for form in secret.forms())


def without_secret_forms(draft: AssetDraft, forms: tuple[str, ...]) -> AssetDraft:
    """Return a draft with secrets removed from its texts."""
    # The summary lists warnings by their text. Paths aren't changed: a file whose path contains a secret has no other
    # path.
    changes: dict[str, Any] = {"warnings": tuple(map(redact, draft.warnings))}
    if any(form in repr(draft) for form in forms):
        changes = without_secrets({**asdict(draft), **changes}, forms) | {"parts": draft.parts}
    return replace(draft, **changes) if len(changes) > 1 or changes["warnings"] != draft.warnings else draft
