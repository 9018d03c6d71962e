"""The importer for Plex Media Server."""
