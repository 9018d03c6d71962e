"""Settings from the environment and the command line that say where the catalogue is."""

import os
from collections.abc import Mapping

from msgspec import Struct

from retrovue.core.errors import RequestError
from retrovue.core.model import Secret

DATABASE_URL = "RETROVUE_DATABASE_URL"
"""URL of the production database; without it the embedded PostgreSQL is used. ``--database-url`` overrides it."""
TEST_DATABASE_URL = "RETROVUE_TEST_DATABASE_URL"
"""URL of the test database, for ``--test-db``; without it ``retrovue_test`` on the embedded PostgreSQL is used."""
HOME = "RETROVUE_HOME"
"""Directory of the embedded PostgreSQL's data; by default the user's data directory, for root /var/lib/retrovue."""
TOKEN = "RETROVUE_TOKEN"  # noqa: S105 - the name of a variable, not a token
"""The token of a media server for ``source add``. ``--token-file FILE``, or ``-`` for standard input, overrides it."""
KEY_FILE = "RETROVUE_KEY_FILE"
"""File with the keys that encrypt the secrets of sources; by default ``secrets.key`` in the home."""
KEEP_DETAILS = "RETROVUE_KEEP_DETAILS"
"""Days for which the audit trail keeps details, by default 180. ``--keep-details`` overrides it."""
KEEP_CHANGES = "RETROVUE_KEEP_CHANGES"
"""Days for which the feed of changes keeps a change, by default for good. ``--keep-changes`` overrides it."""
PAGE_TOKEN = "RETROVUE_PAGE_TOKEN"  # noqa: S105 - the name of a variable, not a token
"""The token that a person enters to use the web page of ``serve``, or ``file:/PATH`` or ``credential:NAME`` to read it
from.
"""
WEBHOOK_SECRET = "RETROVUE_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable, not a secret
"""The secret at the end of each webhook address, or ``file:/PATH`` or ``credential:NAME`` to read it from."""
ONE_PROCESS = "RETROVUE_ONE_PROCESS"
"""If set to any value, a large library is decoded in the process of its run alone, not in a second one beside it."""
DEBUG = "RETROVUE_DEBUG"
"""If set to any value, errors are printed with a traceback."""

_SHARED = ("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
_SHARED_PREFIXES = ("LC_", "LD_", "DYLD_", "PYTHON", "XDG_")


def clean_environment() -> dict[str, str]:
    """Return the environment variables that another program needs to run.

    Those of RetroVue and PostgreSQL, which hold tokens and passwords, aren't among them.
    """
    return {name: value for name, value in os.environ.items() if name in _SHARED or name.startswith(_SHARED_PREFIXES)}


class Settings(Struct, frozen=True):
    """Which database to use. The URLs may hold a password and are therefore secrets."""

    database_url: Secret | None = None
    """The production database; None means the embedded server."""
    test_database_url: Secret | None = None
    """The test database; None means ``retrovue_test`` in the embedded server."""
    home: str | None = None
    """The directory of the embedded server's data; None means the platform's usual place."""

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, database_url: str | None = None
    ) -> "Settings":
        """Read the environment. ``database_url`` overrides ``RETROVUE_DATABASE_URL``.

        Raises RequestError if the URL is empty: a script with an unset variable must not use another catalogue by
        mistake.
        """
        if database_url is not None and not database_url.strip():
            raise RequestError(
                "The database URL is empty.",
                code="bad_database_url",
                hint="Give one as postgresql://user:…@host:5432/database; without --database-url the one of"
                f" {DATABASE_URL}, else the embedded PostgreSQL is used.",
            )
        values = os.environ if environ is None else environ

        def url(explicit: str | None, name: str) -> Secret | None:
            value = explicit or values.get(name)
            return Secret(value) if value else None

        return cls(
            database_url=url(database_url, DATABASE_URL),
            test_database_url=url(None, TEST_DATABASE_URL),
            home=values.get(HOME) or None,
        )
