"""What every layer speaks: the model, results, errors and their texts; pure, but for paths and logs."""
