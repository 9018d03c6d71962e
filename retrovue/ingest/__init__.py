"""An ingest: pre-flight, a task for each collection, the pipeline from importer to database, events and summary."""
