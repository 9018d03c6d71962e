"""The world of the contract tests, for enrichers that are attached there."""

from tests.contracts.conftest import catalogue, cli, offline, world

__all__ = ["catalogue", "cli", "offline", "world"]
