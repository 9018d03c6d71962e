"""Plugins, which are importers and enrichers: find their types, and protect runs from the code of other packages."""
