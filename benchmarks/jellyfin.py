"""The simulated Jellyfin server of a benchmark, in a process of its own: libraries of films that don't change.

A page is written when it is asked for the first time, and kept. So something else than what is measured has to ask
first.
"""

import argparse
from collections.abc import Sequence

import anyio
import orjson

from benchmarks.serving import serve
from retrovue.simulator import Changes, Reply, Request, Row
from retrovue.simulator.faults import Action
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, movie
from retrovue.simulator.jellyfin.items import TICKS
from retrovue.simulator.jellyfin.library import shown

_GENRES = ("Action", "Comedy", "Drama", "Documentary", "Horror", "Romance", "Science Fiction", "Thriller")
_CHAPTERS = 8


class FilmsOnly(SimulatedJellyfin):
    """Answers with the films of libraries of given sizes; refuses what it would have to search."""

    def __init__(self, sizes: Sequence[int], *, token: str) -> None:
        libraries = [JellyfinLibrary(f"Movies {number:03}") for number in range(1, len(sizes) + 1)]
        super().__init__(libraries, token=token, record_requests=False)
        self._sizes = {library.id: size for library, size in zip(libraries, sizes, strict=True)}
        self._firsts = {library.id: sum(sizes[:number]) for number, library in enumerate(libraries)}
        self._pages: dict[tuple[tuple[str, str], ...], Reply] = {}

    def from_library(self, request: Request, actions: Sequence[Action]) -> Reply:
        """Answer from the generated films."""
        if request.path != "/Items":
            return super().from_library(request, actions)
        asked = tuple(sorted(request.params))
        if asked not in self._pages:
            self._pages[asked] = self._listing(request)
        return self._pages[asked]

    def _listing(self, request: Request) -> Reply:
        query, library = request.query, request.section or ""
        if library not in self._sizes or query.get("includeitemtypes") != "Movie" or "ids" in query:
            return Reply(status=400)
        size, start = self._sizes[library], request.start or 0
        numbers = range(start, min(size, start + (size if request.size is None else request.size)))
        location = next(one.locations[0] for one in self.libraries if one.id == library)
        rows = [film(self._firsts[library] + number, location) for number in numbers]
        fields = query.get("fields", "")
        items = [shown(row, fields, self.server_id, user_data=False) for row in rows]
        body = orjson.dumps({"Items": items, "TotalRecordCount": size, "StartIndex": start})
        return Reply(headers={"Content-Type": "application/json; charset=utf-8"}, body=(body,))


def film(number: int, location: str) -> Row:
    """Make a film of a library."""
    year = 1950 + number % 70
    name = f"A film whose number is {number:07}"
    return movie(
        number + 1,
        name,
        file=f"{location}/{name} ({year})/{name} ({year}).mkv",
        ProductionYear=year,
        PremiereDate=f"{year}-{1 + number % 12:02}-{1 + number % 28:02}T00:00:00.0000000Z",
        CommunityRating=number % 100 / 10,
        Genres=[_GENRES[number % 8], _GENRES[number % 7]] if number % 8 != number % 7 else [_GENRES[number % 8]],
        Studios=[{"Name": f"Studio {number % 50}", "Id": f"{number % 50:032x}"}],
        ProviderIds={"Tmdb": str(number + 1), "Imdb": f"tt{number + 1:07}"},
        Chapters=[
            {"StartPositionTicks": TICKS // _CHAPTERS * place, "Name": f"Chapter {place + 1}"}
            for place in range(_CHAPTERS)
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jellyfin", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=["movie"])
    parser.add_argument("sizes", type=int, nargs="+", metavar="ITEMS", help="items of each library")
    parser.add_argument("--token", required=True)
    options = parser.parse_args()

    def change(after: Changes) -> None:
        raise SystemExit(f"The libraries of this server can't change: {after}")

    anyio.run(serve, FilmsOnly(options.sizes, token=options.token), change)


if __name__ == "__main__":
    main()
