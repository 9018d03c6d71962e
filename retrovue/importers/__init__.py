"""Importers: what reads a source. One module or folder per source type, and the registry that finds them."""
