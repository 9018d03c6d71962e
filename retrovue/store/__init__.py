"""The store. No other package accesses the database."""
