"""The importer for Jellyfin."""

from retrovue.importers.jellyfin.importer import JellyfinImporter

__all__ = ["JellyfinImporter"]
