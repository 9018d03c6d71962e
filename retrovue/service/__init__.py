"""Programs that run until they are stopped: schedules, workers, and listening to sources."""
