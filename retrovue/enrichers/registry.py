"""Which enrichers are installed: our own and third parties', all by the entry point group ``retrovue.enrichers``."""

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from retrovue.enrichers.base import COMMON_PARAMETERS, OVERWRITE, EnricherInterface, require_compliance
from retrovue.errors import EnricherNotCompliant, RequestError, RetrovueError, UnsupportedEnricher
from retrovue.model import ConfigField, Source

GROUP = "retrovue.enrichers"
_YES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def enricher_types() -> list[str]:
    """Name the installed enricher types, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def enricher_class(type_name: str) -> type[EnricherInterface]:
    """Load the enricher of that type and verify its compliance, before anything of it runs.

    Raises UnsupportedEnricher if there is none, EnricherNotCompliant if it can't be loaded, is provided by two
    packages, or doesn't implement EnricherInterface.
    """
    entries = [entry for entry in entry_points(group=GROUP) if entry.name == type_name]
    if not entries:
        raise UnsupportedEnricher(
            f"There is no enricher of type {type_name!r}.",
            hint=f"Installed types: {', '.join(enricher_types())}. Install the package that provides it.",
            context={"type": type_name, "installed": enricher_types()},
        )
    values = sorted({entry.value for entry in entries})
    if len(values) > 1:
        raise EnricherNotCompliant(
            f"Several packages provide the enricher {type_name!r}: {', '.join(values)}.",
            hint="Uninstall all but one of them.",
            context={"type": type_name, "providers": values},
        )
    loaded: type[EnricherInterface] = _load(entries[0])
    require_compliance(type_name, loaded)
    return loaded


def parameters_of(type_name: str) -> Sequence[ConfigField]:
    """Describe the parameters of a type, the common ones included.

    Raises EnricherNotCompliant for a secret one: parameters are stored and shown as they are.
    """
    own = tuple(enricher_class(type_name).describe_parameters())
    if secret := [field.name for field in own if field.secret]:
        raise EnricherNotCompliant(
            f"The enricher {type_name!r} wants secret parameters, which there are none of: {', '.join(secret)}.",
            hint="It should take them from the environment or from a file.",
            context={"type": type_name},
        )
    return (*own, *COMMON_PARAMETERS)


def make_enricher(type_name: str, config: Mapping[str, Any], source: Source | None = None) -> EnricherInterface:
    """Make an enricher from its parameters; the caller enters it.

    Without a source it is only good for finding out whether the parameters can be used: RequestError says why not.
    """
    make: Any = enricher_class(type_name)
    try:
        enricher: EnricherInterface = make(config, source)
    except RetrovueError:
        raise
    except (Exception, SystemExit) as exc:
        raise EnricherNotCompliant(
            f"The enricher {type_name!r} can't be made from its parameters: {type(exc).__name__}.",
            hint="Its class must take (config, source).",
            context={"type": type_name},
        ) from exc
    return enricher


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


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as exc:
        raise EnricherNotCompliant(
            f"The enricher {entry.name!r} ({entry.value}) can't be loaded: {type(exc).__name__}: {exc}",
            hint="Reinstall or remove the package that provides it.",
            context={"type": entry.name, "provider": entry.value},
        ) from exc
