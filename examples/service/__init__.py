"""A web service that ingests."""
