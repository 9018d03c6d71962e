"""Enrichers, which add facts to assets that their source doesn't have."""
