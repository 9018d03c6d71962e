"""The importer for directories of media files on this machine."""

from retrovue.importers.filesystem.importer import FilesystemImporter

__all__ = ["FilesystemImporter"]
