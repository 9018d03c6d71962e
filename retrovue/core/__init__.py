"""The model, results, errors and texts that all packages use. Performs no I/O except logging."""
