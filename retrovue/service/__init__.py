"""Runs that begin by themselves, in one process that works until it is stopped."""
