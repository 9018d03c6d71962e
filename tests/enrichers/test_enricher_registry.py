"""Which enrichers there are: found by entry points, refused before anything of them runs."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import pytest

import retrovue.enrichers.probe
from retrovue.core.model import ConfigField
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.enrichers.guard import require_fitting
from retrovue.enrichers.registry import check_parameters, enricher_class, enricher_types, make_enricher, parameters_of
from retrovue.errors import EnricherNotCompliant, RequestError, UnsupportedEnricher
from retrovue.store.sources import new_source
from tests.conftest import Packages

GROUP = "retrovue.enrichers"
HERE = "tests.enrichers.test_enricher_registry"


class Odd(BaseEnricher):
    """Complies, and takes a secret."""

    type_name: ClassVar[str] = "odd"

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        return [ConfigField("token", "a secret", secret=True)]

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        return [Enrichment() for _ in assets]


class Failing(Odd):
    """Can't be made."""

    def __init__(self, config: Mapping[str, Any], _source: object = None) -> None:
        super().__init__(config)
        raise SystemExit("canary")

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        return []


class Silent(Odd):
    """Doesn't say which parameters it takes."""

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        raise SystemExit("canary")


class Wordy(Odd):
    """Says it in words."""

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        return cast("Sequence[ConfigField]", ["depth"])


class NotAsync(Odd):
    def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:  # type: ignore[override]
        return [Enrichment() for _ in assets]


class NoBatches(Odd):
    batch_size: ClassVar[int] = 0


class Abstract(BaseEnricher):
    type_name: ClassVar[str] = "abstract"


NOT_A_CLASS = 7


def test_ours_are_installed() -> None:
    assert {"filename", "nfo", "plex-details", "probe"} <= set(enricher_types())
    assert enricher_class("probe") is retrovue.enrichers.probe.ProbeEnricher
    assert enricher_class("filename").runs_on_pages
    for name in ("nfo", "plex-details", "probe"):
        assert not enricher_class(name).runs_on_pages
        assert "overwrite" in [field.name for field in parameters_of(name)]


def test_a_type_that_is_not_installed() -> None:
    with pytest.raises(UnsupportedEnricher) as refused:
        enricher_class("betamax")
    assert refused.value.context["installed"] == enricher_types()


@pytest.mark.parametrize("name", ["NotAsync", "NoBatches", "Abstract", "NOT_A_CLASS", "Missing"])
def test_what_does_not_comply_is_refused(packages: Packages, name: str) -> None:
    packages.install("third", GROUP, third=f"{HERE}:{name}")
    with pytest.raises(EnricherNotCompliant):
        enricher_class("third")


def test_two_packages_of_one_type_are_refused(packages: Packages) -> None:
    packages.install("one", GROUP, third=f"{HERE}:Odd")
    packages.install("two", GROUP, third=f"{HERE}:Failing")
    with pytest.raises(EnricherNotCompliant, match="Several packages"):
        enricher_class("third")


@pytest.mark.parametrize("name", ["Silent", "Wordy"])
def test_one_that_does_not_describe_its_parameters_is_refused(packages: Packages, name: str) -> None:
    packages.install("third", GROUP, third=f"{HERE}:{name}")
    with pytest.raises(EnricherNotCompliant, match="doesn't describe its settings") as refused:
        parameters_of("third")
    assert "canary" not in refused.value.message


def test_secret_parameters_are_refused(packages: Packages) -> None:
    packages.install("third", GROUP, third=f"{HERE}:Odd")
    with pytest.raises(EnricherNotCompliant, match="token"):
        parameters_of("third")


def test_one_that_can_not_be_made_is_refused_without_its_message(packages: Packages) -> None:
    packages.install("third", GROUP, third=f"{HERE}:Failing")
    with pytest.raises(EnricherNotCompliant) as refused:
        make_enricher("third", {})
    assert "canary" not in refused.value.message


@pytest.mark.parametrize(
    "config",
    [
        {"unknown": "1"},
        {"program": "mediainfo"},
        {"overwrite": "perhaps"},
        *({"file_deadline_s": seconds} for seconds in ("soon", "nan", "inf", "-3", "0", "600.1", "1e400")),
    ],
    ids=str,
)
def test_parameters_that_do_not_fit(config: dict[str, str]) -> None:
    with pytest.raises(RequestError) as refused:
        check_parameters("probe", config)
    assert refused.value.code == "bad_config"


def test_one_for_another_type_of_source_is_refused() -> None:
    require_fitting("plex-details", new_source("plex", "P", {}, {}))
    with pytest.raises(EnricherNotCompliant) as refused:
        require_fitting("plex-details", new_source("scripted", "S", {}, {}))
    assert refused.value.code == "enricher_does_not_fit"
