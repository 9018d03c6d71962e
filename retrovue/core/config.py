"""Where the catalogue is: what the environment and the command line say, before anything is opened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from retrovue.core.model import Secret

DATABASE_URL = "RETROVUE_DATABASE_URL"
"""The production database, a PostgreSQL of your own; without it the embedded one. ``--database-url`` wins over it."""
TEST_DATABASE_URL = "RETROVUE_TEST_DATABASE_URL"
"""The test database that ``--test-db`` uses; without it ``retrovue_test`` in the embedded PostgreSQL."""
HOME = "RETROVUE_HOME"
"""Where the embedded PostgreSQL keeps its data; by default the user's data directory, for root /var/lib/retrovue."""
TOKEN = "RETROVUE_TOKEN"  # noqa: S105 - the name of a variable, not a token
"""The token of a media server for ``source add``, unless ``--token-file`` names a file, or ``-`` for standard input."""
DEBUG = "RETROVUE_DEBUG"
"""Whatever it holds: an error is told with where in the program it happened."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Which database to use. URLs may hold a password and are therefore secrets."""

    database_url: Secret | None = None
    """The production database; None means the embedded server."""
    test_database_url: Secret | None = None
    """The test database; None means ``retrovue_test`` in the embedded server."""
    home: str | None = None
    """Where the embedded server keeps its data; None means the platform's place for it."""

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, database_url: str | None = None
    ) -> "Settings":
        """Read the environment; an explicit URL wins over ``RETROVUE_DATABASE_URL``."""
        values = os.environ if environ is None else environ

        def url(explicit: str | None, name: str) -> Secret | None:
            value = explicit or values.get(name)
            return Secret(value) if value else None

        return cls(
            database_url=url(database_url, DATABASE_URL),
            test_database_url=url(None, TEST_DATABASE_URL),
            home=values.get(HOME) or None,
        )
