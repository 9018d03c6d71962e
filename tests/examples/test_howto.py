"""The importer of ``docs/howto/write-an-importer.md`` passes the conformance kit, with the test of that page."""

import re
from pathlib import Path
from typing import Any

import pytest

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "write-an-importer.md"
FILES = "/films/a.mkv,/films/b.mkv,/films/c.mkv,/films/d.mkv"


def written_kit() -> type:
    """Run the code of the page, with the importer of its first example in its test."""
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL):
        exec(code, names)
    kit: type = names["TestConformance"]
    importer, sample = names["ListImporter"], names["sample_collection"]
    members = {"make_importer": lambda _: importer({"files": FILES}), "make_collection": lambda _: sample("films")}
    return type("Kit", (kit,), members)


KIT = written_kit()


@pytest.mark.parametrize("test", [name for name in dir(KIT) if name.startswith("test_")])
def test_the_example_passes(test: str) -> None:
    getattr(KIT(), test)()
