"""The command line. No other package prints or ends the process."""
