"""Plugins, be they importers or enrichers: how types are found, and how foreign code is kept from harming a run."""
