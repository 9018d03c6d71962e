"""What importers and enrichers have in common as plugins: how types are found, and how foreign ones are bounded."""
