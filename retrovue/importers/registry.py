"""Which importers are installed: our own and third parties', all by the entry point group ``retrovue.importers``."""

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from retrovue.errors import ImporterNotCompliant, RequestError, RetrovueError, UnsupportedImporter
from retrovue.importers.base import ImporterInterface, require_compliance
from retrovue.model import Secret

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

GROUP = "retrovue.importers"


def importer_types() -> list[str]:
    """Name the installed importer types, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def importer_class(type_name: str) -> type[ImporterInterface]:
    """Load the importer of that type and verify its compliance, before anything of it runs.

    Raises UnsupportedImporter if there is none, ImporterNotCompliant if it can't be loaded, is provided by
    two packages, or doesn't implement ImporterInterface.
    """
    entries = [entry for entry in entry_points(group=GROUP) if entry.name == type_name]
    if not entries:
        raise UnsupportedImporter(
            f"There is no importer of type {type_name!r}.",
            hint=f"Installed types: {', '.join(importer_types())}. Install the package that provides it.",
            context={"type": type_name, "installed": importer_types()},
        )
    values = sorted({entry.value for entry in entries})
    if len(values) > 1:
        raise ImporterNotCompliant(
            f"Several packages provide the importer {type_name!r}: {', '.join(values)}.",
            hint="Uninstall all but one of them.",
            context={"type": type_name, "providers": values},
        )
    loaded: type[ImporterInterface] = _load(entries[0])
    require_compliance(type_name, loaded)
    return loaded


def open_importer(
    type_name: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Secret],
    *,
    transport: "Transport | None" = None,
) -> ImporterInterface:
    """Make an importer for one run; the caller enters it.

    ``transport`` carries its HTTP requests. Raises RequestError for an importer that doesn't take one.
    """
    make: Any = importer_class(type_name)
    given: dict[str, Any] = {}
    if transport is not None:
        if "transport" not in inspect.signature(make).parameters:
            raise RequestError(
                f"Sources of type {type_name!r} can't be read by a transport of yours.",
                code="no_transport",
                hint="Leave out the transport.",
            )
        given["transport"] = transport
    try:
        importer: ImporterInterface = make(config, credentials, **given)
    except RetrovueError:
        raise
    except (Exception, SystemExit) as exc:
        # Not its message: that may repeat the credentials.
        raise ImporterNotCompliant(
            f"The importer {type_name!r} can't be made from its configuration: {type(exc).__name__}.",
            hint="Its class must take (config, credentials).",
            context={"type": type_name},
        ) from exc
    return importer


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as exc:
        raise ImporterNotCompliant(
            f"The importer {entry.name!r} ({entry.value}) can't be loaded: {type(exc).__name__}: {exc}",
            hint="Reinstall or remove the package that provides it.",
            context={"type": entry.name, "provider": entry.value},
        ) from exc
