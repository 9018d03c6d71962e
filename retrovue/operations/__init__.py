"""What operators and services do apart from ingesting: manage sources, collections, assets, enrichers and schedules."""
