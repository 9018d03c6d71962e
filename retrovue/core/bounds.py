"""Bounds of the numbers and texts that callers give. Imports nothing, so that the command line starts quickly."""

LARGEST = 2**31 - 1
"""The largest count, season, episode or priority: the largest ``integer`` of PostgreSQL."""
SMALLEST = -(2**31)
MOST_VERSIONS = 1000
"""The most versions that an item, and the most parts that a version may have. One with more is rejected as a whole."""
LONGEST_IDENTIFIER = 4096
"""The longest identifier of a source's server, in characters: as long as a path."""
LONGEST_TITLE = 1000
"""The longest title of a scope, in characters. It becomes part of a URL, of which httpx accepts 65,536 bytes."""
SLOWEST_RATE = 0.1
"""The lowest rate, in requests a second. At a lower one, the requests of a few libraries would run into deadlines."""
LONGEST_WAIT_S = 7 * 86_400.0
"""The longest time-out of any kind, in seconds. A larger value is taken for a mistake."""
