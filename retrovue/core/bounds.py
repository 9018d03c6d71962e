"""The bounds of numbers and texts that callers give: the same for the command line, which must be quick to import."""

LARGEST = 2**31 - 1
"""Of a count, a number of a season or an episode, or a priority: what an ``integer`` of PostgreSQL holds."""
SMALLEST = -(2**31)
LONGEST_TITLE = 1000
"""Characters of a title that is asked for. It goes into an address, and httpx takes one of 65,536 bytes."""
SLOWEST_RATE = 0.1
"""Requests a second. Slower still, the requests of a few libraries would wait for their turn until their deadline."""
LONGEST_WAIT_S = 7 * 86_400.0
"""Seconds that may be waited for anything: more is a mistake, and no clock counts on for ever."""
