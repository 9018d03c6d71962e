"""Which importers there are: found by entry points, refused before anything of them runs."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrovue.cli.plugin_options import setting_fields
from retrovue.core.model import Secret
from retrovue.errors import ImporterNotCompliant, RequestError, UnsupportedImporter
from retrovue.importers.base import BaseImporter, ImporterInterface, compliance_problems
from retrovue.importers.registry import importer_class, importer_settings, importer_types, open_importer
from retrovue.plugins import loading
from tests.conftest import Packages
from tests.support import odd_importers as importers_odd
from tests.support.library import ScriptedImporter

CANARY = "s3cr3t-canary"
ADVICE = "The script has no name."


class Demanding(ScriptedImporter):
    """Takes settings of its own, and only by name."""

    def __init__(self, *, base_url: str) -> None:
        super().__init__({"base_url": base_url})


class Failing(ScriptedImporter):
    """Breaks on what it is given."""

    def __init__(self, config: Any, credentials: Any) -> None:
        super().__init__(config, credentials)
        if config["how"] == "request":
            raise RequestError(ADVICE)
        raise {"key": KeyError, "exit": SystemExit}[config["how"]](CANARY)


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    """A module of a third party, by its file."""
    directory = tmp_path / "modules"
    directory.mkdir()
    sys.path.append(str(directory))
    yield directory / "third_party_importer.py"
    sys.path.remove(str(directory))
    sys.modules.pop("third_party_importer", None)


class TestFinding:
    def test_an_installed_package_is_found(self, packages: Packages) -> None:
        assert "scripted" not in importer_types()
        packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
        assert importer_types() == sorted({*importer_types(), "scripted"})
        assert importer_class("scripted") is ScriptedImporter

    def test_packages_are_read_once_until_one_is_installed_or_taken_out(self, packages: Packages) -> None:
        importer_types()
        read = loading._read_entries.cache_info().misses
        assert importer_class("plex") is importer_class("plex")
        assert loading._read_entries.cache_info().misses == read
        packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
        assert "scripted" in importer_types()
        packages.remove("scripted")
        assert "scripted" not in importer_types()

    def test_plex_is_installed(self) -> None:
        assert "plex" in importer_types()

    def test_a_type_that_is_not_installed(self) -> None:
        with pytest.raises(UnsupportedImporter) as refused:
            importer_class("betamax")
        assert refused.value.context["installed"] == importer_types()
        assert "plex" in str(refused.value.hint)

    @pytest.mark.parametrize("name", ["emby", "Emby"])
    def test_emby_is_refused_with_the_reason(self, name: str) -> None:
        with pytest.raises(UnsupportedImporter, match="Emby isn't Jellyfin"):
            importer_class(name)

    def test_two_packages_that_provide_one_type_are_refused(self, packages: Packages) -> None:
        packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
        packages.install("impostor", scripted="tests.support.odd_importers:Compliant")
        with pytest.raises(ImporterNotCompliant) as refused:
            importer_class("scripted")
        assert refused.value.context["providers"] == [
            "tests.support.library:ScriptedImporter",
            "tests.support.odd_importers:Compliant",
        ]

    def test_one_package_that_is_installed_twice_is_one(self, packages: Packages) -> None:
        packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
        packages.install("scripted_again", scripted="tests.support.library:ScriptedImporter")
        assert importer_class("scripted") is ScriptedImporter

    @pytest.mark.parametrize(
        "code", ["import no_such_module", "1 / 0", "raise SystemExit(3)", "def (", "Importer = None", ""]
    )
    def test_one_that_cannot_be_loaded(self, packages: Packages, module: Path, code: str) -> None:
        module.write_text(f"{code}\n")
        packages.install("broken", broken="third_party_importer:Importer")
        assert "broken" in importer_types()
        with pytest.raises(ImporterNotCompliant) as refused:
            importer_class("broken")
        assert refused.value.hint

    def test_others_still_load_beside_a_broken_one(self, packages: Packages, module: Path) -> None:
        module.write_text("raise SystemExit(3)\n")
        packages.install(
            "broken", broken="third_party_importer:Importer", scripted="tests.support.library:ScriptedImporter"
        )
        assert importer_class("scripted") is ScriptedImporter


class Silent(ScriptedImporter):
    """Doesn't say which settings it takes."""

    @classmethod
    def describe_configuration(cls) -> Any:
        raise ZeroDivisionError


def test_one_that_does_not_describe_its_settings_spoils_no_command(packages: Packages) -> None:
    packages.install("silent", silent="tests.plugins.test_registry:Silent")
    with pytest.raises(ImporterNotCompliant, match="doesn't describe its settings"):
        importer_settings("silent")
    assert "base_url" in setting_fields(None)


class TestCompliance:
    def test_a_class_that_implements_the_interface_complies(self) -> None:
        assert compliance_problems(importers_odd.Compliant) == []

    def test_a_subclass_of_the_base_complies(self) -> None:
        assert compliance_problems(ScriptedImporter) == []

    @pytest.mark.parametrize(
        ("name", "method", "problem"),
        [
            ("describe_configuration", importers_odd.no_arguments, "describe_configuration is not a class method"),
            ("check_ingestible", importers_odd.no_arguments, "check_ingestible is not a coroutine function"),
            ("check_reachable", importers_odd.of_a_collection, "check_reachable doesn't take 0 argument(s)"),
            ("pages", importers_odd.of_a_collection, "pages is a coroutine function, but is called without `await`"),
        ],
    )
    def test_a_method_of_a_subclass_that_is_another_than_the_bases(self, name: str, method: Any, problem: str) -> None:
        (found,) = compliance_problems(type("Other", (ScriptedImporter,), {name: method}))
        assert found.startswith(problem)

    @pytest.mark.parametrize(
        ("importer", "problems"),
        [
            (
                importers_odd.OpenMethod,
                [
                    "check_ingestible is not implemented",
                    "check_reachable is not implemented",
                    "describe_configuration is not implemented",
                    "discover_collections is not implemented",
                    "pages is not implemented",
                ],
            ),
            (importers_odd.MissingMethod, ["check_ingestible is missing"]),
            (importers_odd.PlainMethod, ["check_reachable is not a coroutine function: define it with `async def`"]),
            (type("NoName", (importers_odd.Compliant,), {"type_name": None}), ["type_name is not a string"]),
            (
                type("OfInstances", (importers_odd.Compliant,), {"describe_configuration": importers_odd.no_arguments}),
                [
                    (
                        "describe_configuration is not a class method: "
                        "put @classmethod before it, and take no other arguments"
                    )
                ],
            ),
            (type("Data", (importers_odd.Compliant,), {"enumerate": 5}), ["enumerate is not callable"]),
            (
                type("Few", (importers_odd.Compliant,), {"enumerate": importers_odd.no_arguments}),
                ["enumerate doesn't take 2 argument(s)"],
            ),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_every_problem_is_named(self, importer: type, problems: list[str]) -> None:
        assert compliance_problems(importer) == problems

    def test_what_is_no_class_does_not_comply(self) -> None:
        assert compliance_problems(importers_odd.NotAClass) == [f"{importers_odd.NotAClass!r} is not a class"]
        assert compliance_problems(None) == ["None is not a class"]

    def test_the_base_is_an_importer_to_the_type_checker_too(self) -> None:
        importer: ImporterInterface = ScriptedImporter({})
        assert isinstance(importer, ImporterInterface)
        assert isinstance(importer, BaseImporter)


class TestOpening:
    def test_it_gets_configuration_and_credentials(self, packages: Packages) -> None:
        packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
        importer = open_importer("scripted", {"script": "x"}, {"token": Secret(CANARY)})
        assert isinstance(importer, ScriptedImporter)
        assert (importer.config, importer.credentials) == ({"script": "x"}, {"token": Secret(CANARY)})

    @pytest.mark.parametrize("how", ["key", "exit"])
    def test_one_that_breaks_is_refused_without_its_text(self, packages: Packages, how: str) -> None:
        packages.install("failing", failing="tests.plugins.test_registry:Failing")
        with pytest.raises(ImporterNotCompliant) as refused:
            open_importer("failing", {"how": how}, {})
        assert CANARY not in f"{refused.value.message} {refused.value.hint} {refused.value.context}"

    def test_one_that_says_what_is_wrong_with_the_configuration_is_heard(self, packages: Packages) -> None:
        packages.install("failing", failing="tests.plugins.test_registry:Failing")
        with pytest.raises(RequestError, match=ADVICE):
            open_importer("failing", {"how": "request"}, {})

    def test_one_that_takes_something_else_is_refused(self, packages: Packages) -> None:
        packages.install("demanding", demanding="tests.plugins.test_registry:Demanding")
        with pytest.raises(ImporterNotCompliant):
            open_importer("demanding", {"base_url": "x"}, {})
