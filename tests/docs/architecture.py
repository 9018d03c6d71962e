"""docs/architecture.md: the picture of the packages, made from their imports, and the code that the page names.

``python -m tests.docs.architecture`` (``make picture``) redraws the picture.
"""

import re
import sys
from importlib import import_module
from typing import Final

import grimp

from tests.contracts.rules import ROOT
from tests.support.meanings import MEANINGS
from tests.support.pages import DOCS

PAGE: Final = DOCS / "architecture.md"
BEGIN: Final = "<!-- picture -->\n"
END: Final = "<!-- /picture -->\n"
_NOT_CODE: Final = ("make ", "retrovue ", "lint-imports", "--", "RETROVUE_")
"""What commands, options and variables of the environment begin with."""

Arrows = dict[str, set[str]]


def imports() -> tuple[Arrows, Arrows]:
    """Return what each package below ``retrovue`` imports: of the other packages, and of libraries."""
    graph = grimp.build_graph(
        "retrovue", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    packages = sorted(name for name in graph.find_children("retrovue") if graph.find_children(name))
    own: Arrows = {}
    libraries: Arrows = {}
    for package in packages:
        modules = {package, *graph.find_descendants(package)}
        imported = {name for module in modules for name in graph.find_modules_directly_imported_by(module)}
        name = package.removeprefix("retrovue.")
        own[name] = {
            other.removeprefix("retrovue.")
            for other in packages
            if other != package and any(f"{module}.".startswith(f"{other}.") for module in imported)
        }
        libraries[name] = {
            module for module in imported if graph.is_module_squashed(module) and module not in sys.stdlib_module_names
        }
    return own, libraries


def reduced(arrows: Arrows) -> Arrows:
    """Leave out each arrow whose end is also reached by the other arrows of its package; there must be no circle."""

    def reached(start: str) -> set[str]:
        return arrows[start].union(*(reached(end) for end in arrows[start]))

    return {start: ends - set().union(*(reached(end) for end in ends)) for start, ends in arrows.items()}


def picture() -> str:
    """Draw the packages with their arrows, and list what each imports."""
    own, libraries = imports()
    lines = ["```mermaid", "flowchart TB"]
    lines += [f"    {start} --> {end}" for start, ends in reduced(own).items() for end in sorted(ends)]
    lines += [f"    {alone}" for alone in own if not own[alone] and all(alone not in ends for ends in own.values())]
    lines += ["```", "", "| Package | Imports of RetroVue | Imports of libraries |", "|---|---|---|"]
    for package in own:
        cells = [", ".join(f"`{name}`" for name in sorted(own[package])), ", ".join(sorted(libraries[package]))]
        lines.append(f"| `{package}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page with the picture of now."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    return before + begin + picture() + end + after


def missing_names(text: str) -> list[str]:
    """Name each piece of code in a page that doesn't exist.

    A piece of code is a command, a path in the repository, a table of the database, or a name below ``retrovue``,
    which may end with ``()``.
    """
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return sorted({code for code in re.findall(r"`([^`\n]+)`", prose) if not _exists(code)})


def _exists(code: str) -> bool:
    if code.startswith(_NOT_CODE):
        return True
    if "/" in code or code.endswith(".toml"):
        return (ROOT / code).exists()
    return code in MEANINGS or _is_name(code.removesuffix("()").removeprefix("python -m "))


def _is_name(name: str) -> bool:
    """Find the longest module that the name begins with, and the rest in it."""
    parts = name.split(".") if name.partition(".")[0] in {"retrovue", "tests"} else ["retrovue", *name.split(".")]
    for length in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        try:
            for part in parts[length:]:
                found = getattr(found, part)
        except AttributeError:
            return False
        return True
    return False


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
