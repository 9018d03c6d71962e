"""What importers of media servers share: an HTTP client that is patient within bounds, and complete listings."""
