"""The command line: the only code that prints or ends the process."""
