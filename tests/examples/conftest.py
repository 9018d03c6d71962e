"""The world of the contract tests, for programs that embed RetroVue."""

from tests.contracts.conftest import catalogue, cli, offline, world

__all__ = ["catalogue", "cli", "offline", "world"]
