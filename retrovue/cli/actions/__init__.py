"""What the commands do; imported when a command runs, never for its help."""
