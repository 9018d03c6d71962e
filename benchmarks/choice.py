"""All scenarios that can be run, and all ratios that are promised."""

from benchmarks import scenarios, targets
from benchmarks.little import TARGETS as LITTLE
from benchmarks.little import little, little_million

USUAL = (*scenarios.USUAL, little)
FULL = (*scenarios.FULL, little, little_million)
TARGETS = (*targets.TARGETS, *LITTLE)
