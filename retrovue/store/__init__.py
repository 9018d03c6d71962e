"""The store: the only code that speaks to the database."""
