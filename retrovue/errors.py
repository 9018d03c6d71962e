"""The errors that RetroVue raises, all of them RetrovueError."""

from retrovue.core.errors import *  # noqa: F403 - its __all__ is the list
