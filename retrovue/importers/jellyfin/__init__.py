"""The importer for Jellyfin."""
