"""The real client python-plexapi can walk the simulated server."""

from typing import Any

import anyio.to_thread
import pytest
from plexapi.exceptions import NotFound, Unauthorized
from plexapi.server import PlexServer

from retrovue.simulator import GeneratedSection, ListSection, Rates, SimulatedPlex, album, artist, clip, track

pytestmark = pytest.mark.anyio
# plexapi has no types.
connect_to: Any = PlexServer
TOKEN = "canary-7f3a"
NONE = {"agent": "com.plexapp.agents.none", "scanner": "Plex Video Files Scanner", "language": "xn"}


def plex() -> SimulatedPlex:
    rates = Rates(multi_version=0.2, multi_part=0.2, unanalysed=0)
    band = artist(1, "Band")
    record = album(2, band)
    return SimulatedPlex(
        [
            GeneratedSection("1", "Movies", "movie", 230, rates=rates),
            GeneratedSection("2", "TV Shows", "show", 230),
            ListSection("3", "Music", "artist", [band, record, track(3, record, 1, "Song \u201c1\u201d")]),
            ListSection("4", "Videos", "movie", [clip(9, "Beach")], **NONE),
        ],
        token=TOKEN,
        friendly_name="Caf\u00e9",
    )


def walk_movies(url: str) -> None:
    server: Any = connect_to(url, TOKEN, timeout=20)
    assert server.friendlyName == "Caf\u00e9"
    sections = server.library.sections()
    assert [(section.title, section.type) for section in sections] == [
        ("Movies", "movie"),
        ("TV Shows", "show"),
        ("Music", "artist"),
        ("Videos", "movie"),
    ]
    movies = sections[0]
    assert (movies.totalSize, movies.agent, movies.locations) == (230, "tv.plex.agents.movie", ["/data/movies"])
    found = movies.all()
    assert len({movie.ratingKey for movie in found}) == 230
    assert any(movie.guids for movie in found)
    assert {len(movie.media) for movie in found} == {1, 2}
    assert {len(version.parts) for movie in found for version in movie.media} == {1, 2}
    assert all(part.file.startswith("/data/movies/") for movie in found for part in movie.iterParts())
    detail: Any = movies.fetchItem(found[0].ratingKey)
    assert detail.reload().title == found[0].title
    assert [stream.streamType for stream in detail.media[0].parts[0].streams][:1] == [1]
    assert movies.search(title=found[7].title)[0].ratingKey == found[7].ratingKey
    assert movies.search(sort="addedAt:desc", maxresults=3)[0].addedAt >= found[0].addedAt
    with pytest.raises(NotFound):
        server.fetchItem("/library/metadata/1234567")


def walk_the_rest(url: str) -> None:
    server: Any = connect_to(url, TOKEN, timeout=20)
    shows, music, videos = (server.library.section(name) for name in ("TV Shows", "Music", "Videos"))
    seen = [episode for show in shows.all() for season in show.seasons() for episode in season.episodes()]
    assert len(seen) == shows.totalViewSize("episode") == 230
    assert [episode.ratingKey for episode in shows.all()[0].episodes()]
    assert len(shows.search(libtype="episode")) == 230
    assert seen[0].show().title == seen[0].grandparentTitle
    assert seen[0].season().index == seen[0].parentIndex
    assert [song.title for song in music.all()[0].tracks()] == ["Song \u201c1\u201d"]
    assert [album.title for album in music.albums()] == ["Album 1"]
    assert videos.all()[0].media[0].parts[0].file == "/data/videos/Beach.mp4"
    with pytest.raises(Unauthorized):
        connect_to(url, "wrong", timeout=20)


async def test_it_walks_movies() -> None:
    async with plex().serve() as url:
        await anyio.to_thread.run_sync(walk_movies, url)


async def test_it_walks_shows_music_and_home_videos() -> None:
    async with plex().serve() as url:
        await anyio.to_thread.run_sync(walk_the_rest, url)
