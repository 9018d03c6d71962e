"""Limits of the numbers and texts that callers give. Imports nothing, so that the command line starts quickly."""

LARGEST = 2**31 - 1
"""The largest count, season, episode or priority: the largest ``integer`` of PostgreSQL."""
SMALLEST = -(2**31)
MOST_VERSIONS = 1000
"""The most versions of an item, and the most parts of a version. An item or version with more is rejected."""
MOST_PAGE_DRAFTS = 100_000
"""The most versions of the items of one page. The items after them are rejected."""
LONGEST_IDENTIFIER = 4096
"""The longest identifier of a source's server, in characters: as long as a path."""
LONGEST_TEXT = 4096
"""The longest name, title or tag of a source, in characters."""
LONGEST_PATH = 32_768
"""The longest path of a source, in characters: as long as Windows allows."""
MOST_LIBRARIES = 10_000
"""The most libraries of a source."""
MOST_TAGS = 1000
"""The most tags of one kind, or ids at other providers, of an item. A longer list is left out."""
MOST_SPANS = 10_000
"""The most chapters or markers of an item. A longer list is left out."""
LONGEST_TITLE = 1000
"""The longest title of a scope, in characters. It becomes part of a URL, of which httpx accepts 65,536 bytes."""
SLOWEST_RATE = 0.1
"""The lowest rate, in requests a second. At a lower rate the requests of a few libraries would reach their deadlines.
"""
LONGEST_WAIT_S = 7 * 86_400.0
"""The longest time-out of any kind, in seconds. A larger value is probably a mistake."""
OLDEST_DETAILS_DAYS = 36_500
"""The greatest age of details in the audit trail that can be given, in days: a century."""
LONGEST_STAMP = 200
"""The longest stamp of a file, in characters."""
LONGEST_CHANGE_STAMP = 200
"""The longest stamp of a library, in characters."""
LONGEST_PAGE_STAMP = 64
"""The longest stamp of a page, in bytes."""
LONGEST_BOOKMARK = 65_536
"""The longest bookmark of a page, in bytes."""
