"""RetroVue ingest."""
