"""Which enrichers are installed: our own and third parties', all by the entry point group ``retrovue.enrichers``."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from retrovue.core.errors import EnricherNotCompliant, RequestError, UnsupportedEnricher
from retrovue.core.model import ConfigField, Source
from retrovue.enrichers.base import COMMON_PARAMETERS, OVERWRITE, EnricherInterface, compliance_problems
from retrovue.plugins.loading import Kind

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

ENRICHERS: Kind[EnricherInterface] = Kind(
    noun="enricher",
    group="retrovue.enrichers",
    interface="EnricherInterface",
    base="BaseEnricher",
    arguments="(config, source)",
    describe="describe_parameters",
    problems=compliance_problems,
    unsupported=UnsupportedEnricher,
    not_compliant=EnricherNotCompliant,
)
enricher_types = ENRICHERS.types
enricher_class = ENRICHERS.load
_YES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parameters_of(type_name: str) -> Sequence[ConfigField]:
    """Describe the parameters of a type, the common ones included.

    Raises EnricherNotCompliant for a secret one: parameters are stored and shown as they are.
    """
    own = ENRICHERS.settings(type_name)
    if secret := [field.name for field in own if field.secret]:
        raise EnricherNotCompliant(
            f"The enricher {type_name!r} wants secret parameters, which there are none of: {', '.join(secret)}.",
            hint="It should take them from the environment or from a file.",
            context={"type": type_name},
        )
    return (*own, *COMMON_PARAMETERS)


def make_enricher(
    type_name: str,
    config: Mapping[str, Any],
    source: Source | None = None,
    *,
    known: type[EnricherInterface] | None = None,
    transport: "Transport | None" = None,
) -> EnricherInterface:
    """Make an enricher from its parameters; the caller enters it.

    Without a source it is only good for finding out whether the parameters can be used: RequestError says why not.
    ``known`` is its class, if that has been loaded. ``transport`` is given to one that takes it by this name; what
    doesn't speak HTTP needs none.
    """
    known = known or enricher_class(type_name)
    given: dict[str, object] = {}
    if transport is not None and "transport" in inspect.signature(known).parameters:
        given["transport"] = transport
    return ENRICHERS.make(type_name, known, "parameters", config, source, **given)


def overwrites(config: Mapping[str, Any]) -> bool:
    """Read the common parameter ``overwrite``; raises RequestError if it says neither yes nor no."""
    value = config.get(OVERWRITE, False)
    known = value if isinstance(value, bool) else _YES.get(str(value).lower())
    if known is None:
        raise RequestError(f"The parameter overwrite is true or false, not {value!r}.", code="bad_config")
    return known


def check_parameters(type_name: str, config: Mapping[str, Any]) -> None:
    """Raise RequestError unless an enricher of that type can be made with these parameters."""
    fields = parameters_of(type_name)
    unknown = sorted(config.keys() - {field.name for field in fields})
    missing = [field.name for field in fields if field.required and field.name not in config]
    if unknown or missing:
        said = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(missing)}"] * bool(missing)
        raise RequestError(
            f"The parameters of an enricher of type {type_name!r} don't fit: {'; '.join(said)}.",
            code="bad_config",
            hint="`retrovue enricher list-types` shows the parameters of each type.",
        )
    overwrites(config)
    make_enricher(type_name, config)
