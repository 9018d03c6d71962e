"""The commands: their names, options and help. Modules here import quickly; an action is imported when it runs."""
