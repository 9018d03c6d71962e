"""The importer for Plex Media Server."""

from retrovue.importers.plex.importer import PlexImporter

__all__ = ["PlexImporter"]
