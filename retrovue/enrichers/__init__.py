"""Enrichers: what is found out about an asset besides what its source says."""
