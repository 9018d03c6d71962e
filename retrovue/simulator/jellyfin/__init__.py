"""A simulated Jellyfin server, with the transport and the faults of the simulated Plex server."""

from retrovue.simulator.jellyfin.items import audio, episode, item_id, movie, music_video, part, series, source, video
from retrovue.simulator.jellyfin.library import JellyfinLibrary
from retrovue.simulator.jellyfin.server import SimulatedJellyfin

__all__ = [
    "JellyfinLibrary",
    "SimulatedJellyfin",
    "audio",
    "episode",
    "item_id",
    "movie",
    "music_video",
    "part",
    "series",
    "source",
    "video",
]
