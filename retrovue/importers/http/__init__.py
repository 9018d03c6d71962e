"""The common code of importers of media servers: an HTTP client with bounded retries, and complete listings."""
