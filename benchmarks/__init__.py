"""Benchmarks: the product and a bare floor, alternating, against a private PostgreSQL and a simulated Plex server."""
