"""The work of each command. These modules are imported when a command runs, never for its help."""
