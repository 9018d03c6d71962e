"""The installed enrichers, found by the entry point group ``retrovue.enrichers``, and their parameters."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from retrovue.core.errors import EnricherNotCompliant, RequestError, UnsupportedEnricher
from retrovue.core.model import ConfigField, Source
from retrovue.core.text import quoted
from retrovue.enrichers.base import COMMON_PARAMETERS, OVERWRITE, EnricherInterface, compliance_problems
from retrovue.plugins.loading import PluginKind, takes_transport

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

ENRICHERS: PluginKind[EnricherInterface] = PluginKind(
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
    """Return the parameters of a type, including the common ones.

    Raises what ``enricher_class`` raises, and EnricherNotCompliant for a secret parameter, because parameters are
    stored and shown unchanged.
    """
    own = ENRICHERS.settings(type_name)
    if secret := [field.name for field in own if field.secret]:
        raise EnricherNotCompliant(
            f"The enricher {quoted(type_name)} has secret parameters, which aren't supported: {', '.join(secret)}.",
            hint="It should take them from the environment or from a file.",
            context={"type": type_name},
        )
    return (*own, *COMMON_PARAMETERS)


def make_enricher(
    type_name: str,
    config: Mapping[str, Any],
    source: Source | None = None,
    *,
    cls: type[EnricherInterface] | None = None,
    transport: "Transport | None" = None,
) -> EnricherInterface:
    """Make an enricher from its parameters; the caller enters it.

    Without ``source`` it only checks the parameters. ``cls`` is the class of the enricher, if it has been loaded.
    ``transport`` carries its HTTP requests, if it takes one. Raises RequestError for invalid parameters.
    """
    cls = cls or enricher_class(type_name)
    named = {"transport": transport} if transport is not None and takes_transport(cls) else {}
    return ENRICHERS.make(type_name, cls, "parameters", config, source, **named)


def overwrites(config: Mapping[str, Any]) -> bool:
    """Return the common parameter ``overwrite``, by default False; raises RequestError unless it is true or false."""
    value = config.get(OVERWRITE, False)
    overwrite = value if isinstance(value, bool) else _YES.get(str(value).lower())
    if overwrite is None:
        raise RequestError(f"The parameter overwrite is true or false, not {quoted(value)}.", code="bad_config")
    return overwrite


def check_parameters(type_name: str, config: Mapping[str, Any]) -> None:
    """Raise RequestError unless an enricher of the type can be created with these parameters."""
    fields = parameters_of(type_name)
    unknown = sorted(config.keys() - {field.name for field in fields})
    missing = [field.name for field in fields if field.required and field.name not in config]
    if unknown or missing:
        named = {"unknown": unknown, "missing": missing}
        problems = [f"{problem}: {', '.join(names)}" for problem, names in named.items() if names]
        raise RequestError(
            f"The parameters of an enricher of type {quoted(type_name)} don't fit: {'; '.join(problems)}.",
            code="bad_config",
            hint="`retrovue enricher list-types` shows the parameters of each type.",
        )
    overwrites(config)
    make_enricher(type_name, config)
