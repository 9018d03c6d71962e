"""What operators and services do besides ingesting: sources, collections, assets, enrichers, doctor."""
