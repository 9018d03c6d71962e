"""Convert assets to what enrichers get, and answers of enrichers to changes of assets."""

import datetime as dt
from typing import Any

from msgspec import Struct

from retrovue.core.results import LABELLED, label
from retrovue.enrichers.base import AssetView, Failure, MediaFile
from retrovue.enrichers.fields import REQUIRED, CheckedEnrichment, apply, is_file_title
from retrovue.enrichers.guard import GuardedEnricher
from retrovue.store.enrichments import OwedAsset, Result


class Current(Struct):
    """An asset with owed enrichments, with its values after the enrichers that have run."""

    owed: OwedAsset
    values: dict[str, Any]

    @property
    def title(self) -> str:
        """The asset's label, with show, season and episode."""
        return label(*(self.values[name] for name in LABELLED))

    @property
    def file(self) -> str:
        """The local path of the first file."""
        return self.owed.files[0][0]


def view_of(asset: Current, enricher: GuardedEnricher) -> AssetView:
    """Return the view of an asset that enrichers get."""
    files = tuple(MediaFile(path, size, duration) for path, size, duration in asset.owed.files)
    # The sidecar that it read before is gone, so it gets the source's values.
    told = {name: _restored(name, value) for name, (value, _) in asset.owed.again.get(enricher.id, {}).items()}
    return AssetView(
        uuid=asset.owed.uuid,
        source_uri=asset.owed.source_uri,
        type=asset.owed.type,
        files=files,
        fingerprint=asset.owed.fingerprints.get(enricher.id),
        **asset.values | told,
    )


def _restored(name: str, value: Any) -> Any:
    """Return a value with the type of its column, converted from JSON."""
    return dt.date.fromisoformat(value) if name == "originally_aired" and value is not None else value


def result_of(
    asset: Current, view: AssetView, answer: CheckedEnrichment | Failure, enricher: GuardedEnricher
) -> Result:
    """Return the result to store for an answer."""
    if isinstance(answer, Failure):
        return Result(asset.owed.uuid, asset.title, code=answer.code, message=answer.message)
    own = [name for name, by in asset.owed.provenance.items() if by == enricher.name]
    if is_file_title(view):
        own.append(REQUIRED)
    changes = apply(view, answer, overwrite=enricher.overwrite, own=own)
    again = asset.owed.again.get(enricher.id)
    if again is None:
        return Result(asset.owed.uuid, asset.title, changes=changes, fingerprint=answer.fingerprint, data=answer.data)
    given_back = {name: by for name, (_, by) in again.items() if name not in changes}
    changes |= {name: getattr(view, name) for name in given_back}
    return Result(
        asset.owed.uuid,
        asset.title,
        changes=changes,
        given_back=given_back,
        told={name: (asset.values[name], now) for name, now in changes.items() if asset.values[name] != now},
        fingerprint=answer.fingerprint,
        data=answer.data,
    )
