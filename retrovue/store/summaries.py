"""The summary of a page: what a dry-run of a collection without assets needs of its drafts.

It is made where the page is made, maybe in another process, so that the drafts themselves needn't be passed on.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct, msgpack

from retrovue.core.pages import AssetDraft
from retrovue.store.drafts import canonical_key, identity_hash
from retrovue.store.titles import packed_titles

_BETWEEN = "\0"
"""Between the paths of files, none of which has it."""


class Summary(Struct, array_like=True, gc=False):
    """The drafts of a page in short form."""

    drafts: int
    """How many there are."""
    keys: bytes
    """The canonical hash of each."""
    titles: bytes
    """Their titles, as `packed_titles` packs them."""
    files: str
    """The first file of each, as the source spells it: see `listed_files`."""
    warned: int
    """How many have a warning."""
    warnings: dict[str, int]
    """Counts of the warnings, by code."""

    def listed_files(self) -> list[str]:
        """Return the first file of each draft, as the source spells it."""
        return self.files.split(_BETWEEN) if self.drafts else []


_encoder = msgpack.Encoder()
_decoder = msgpack.Decoder(Summary)


def summarize(drafts: Sequence[AssetDraft], to_local: Callable[[AssetDraft], tuple[str, ...]]) -> bytes:
    """Make the encoded summary of drafts; ``to_local`` returns the local paths of one, and its errors are passed on."""
    warned = [draft.warnings for draft in drafts if draft.warnings]
    return _encoder.encode(
        Summary(
            len(drafts),
            b"".join([identity_hash(canonical_key(to_local(draft))) for draft in drafts]),
            packed_titles(drafts),
            _BETWEEN.join([draft.parts[0].source_path for draft in drafts]),
            len(warned),
            dict(Counter(code for codes in warned for code in codes)),
        )
    )


def decode_summary(encoded: bytes) -> Summary:
    """Decode what `summarize` has made."""
    return _decoder.decode(encoded)
