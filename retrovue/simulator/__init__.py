"""A simulated Plex server, for the demo, the tests and the benchmarks."""

from retrovue.simulator import faults
from retrovue.simulator.build import album, artist, clip, episode, media, movie, part, season, show, track
from retrovue.simulator.explicit import ListSection, section_from_recording
from retrovue.simulator.faults import Action, Fault, Faults
from retrovue.simulator.filters import Condition, Sort
from retrovue.simulator.generated import Changes, GeneratedSection
from retrovue.simulator.model import Location, Row, Section
from retrovue.simulator.request import Reply, Request
from retrovue.simulator.server import SimulatedPlex
from retrovue.simulator.templates import Rates
from retrovue.simulator.views import LEAN, View

__all__ = [
    "LEAN",
    "Action",
    "Changes",
    "Condition",
    "Fault",
    "Faults",
    "GeneratedSection",
    "ListSection",
    "Location",
    "Rates",
    "Reply",
    "Request",
    "Row",
    "Section",
    "SimulatedPlex",
    "Sort",
    "View",
    "album",
    "artist",
    "clip",
    "episode",
    "faults",
    "media",
    "movie",
    "part",
    "season",
    "section_from_recording",
    "show",
    "track",
]
