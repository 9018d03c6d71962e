"""Map the paths of drafts to local paths. A draft with a path that can't be mapped is rejected."""

from retrovue.core.model import ASSET_TYPES, Collection, PathMapping
from retrovue.core.pages import AssetDraft, Page, Rejection
from retrovue.core.paths import DISC_ENDINGS, DISC_FOLDER, PathMapper, UnmappedPath, disc_of
from retrovue.core.text import quoted
from retrovue.store.drafts import MappedDraft

DISC_IMAGES = frozenset({".iso", ".img", ".nrg", ".mdf"})
"""The extensions of disc images, which media servers list like films."""
_DISC_ENDINGS = (*DISC_IMAGES, *DISC_ENDINGS)
"""The ends of the paths that may be those of a disc, of at most five characters."""
IDENTITY_MAPPING = PathMapping("/", "/")
"""An extra mapping for sources whose paths are local paths. It is the shortest possible one, so that any other one
applies first.
"""


class DraftMapper:
    """Maps the paths of drafts to local paths, and rejects a draft with a path that can't be mapped."""

    def __init__(self, collection: Collection, *, local: bool = False) -> None:
        """With ``local`` the source's paths are local paths already."""
        mappings = (*collection.path_mappings, IDENTITY_MAPPING) if local else collection.path_mappings
        self.to_local = PathMapper(mappings).file
        """Maps a path of the source, or raises UnmappedPath."""
        self._discs: set[str] = set()
        """The discs that have been rejected."""

    def map_page(self, page: Page) -> tuple[list[MappedDraft], list[Rejection], int]:
        """Return the mapped drafts of a page, all its rejections, and the number of drafts that were left out.

        A disc gives one rejection for any number of listed files; its other files are left out.
        """
        if page.restart:
            self._discs.clear()
        mapped: list[MappedDraft] = []
        rejected = list(page.rejected)
        left_out = 0
        for draft in page.drafts:
            try:
                mapped.append(MappedDraft(draft, self.local_paths(draft)))
            except UnmappedPath as exc:
                if exc.code == DISC_FOLDER and not self._is_new_disc(draft):
                    left_out += 1
                    continue
                rejected.append(Rejection(exc.code, exc.reason, draft.source_uri, draft.title))
        return mapped, rejected, left_out

    def _is_new_disc(self, draft: AssetDraft) -> bool:
        discs = {disc for part in draft.parts if (disc := disc_of(part.source_path)) is not None}
        new = not discs <= self._discs
        self._discs |= discs
        return new

    def local_paths(self, draft: AssetDraft) -> tuple[str, ...]:
        """Return the local path of each part of a draft; raises UnmappedPath."""
        if not draft.parts or draft.type not in ASSET_TYPES:
            problem = "it has no part" if not draft.parts else f"its type is {quoted(draft.type)}"
            raise UnmappedPath("bad_draft", f"the importer gave an unusable draft: {problem}")
        if len(draft.parts) == 1:
            return (self._file(draft.parts[0].source_path),)
        return tuple([self._file(part.source_path) for part in draft.parts])

    def _file(self, path: str) -> str:
        # Most files need nothing more: the following is called for every file of a library.
        if not path[-5:].lower().endswith(_DISC_ENDINGS):
            return self.to_local(path)
        if path[-4:].lower() in DISC_IMAGES:
            raise UnmappedPath("disc_image", f"{quoted(path)} is the image of a disc: only single files are ingested")
        if (disc := disc_of(path)) is not None:
            text = "is a copy of a disc, with menus and several programmes: only single files are ingested"
            raise UnmappedPath(DISC_FOLDER, f"{quoted(disc)} {text}")
        return self.to_local(path)
