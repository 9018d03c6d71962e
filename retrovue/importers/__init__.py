"""Importers, which read sources: a module or package for each type of source, and the registry that finds them."""
