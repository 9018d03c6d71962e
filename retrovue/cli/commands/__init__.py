"""The commands: their names, options and help. These modules import quickly; an action is imported when it runs."""
