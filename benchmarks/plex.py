"""The simulated Plex server of a benchmark, in a process of its own, with its pages written beforehand."""

import argparse
import gc

import anyio

from benchmarks.serving import serve
from retrovue.simulator import LEAN, Changes, GeneratedSection, SimulatedPlex, View

_NAMES = {"movie": "Movies", "show": "TV Shows"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plex", description=__doc__)
    parser.add_argument("kind", choices=list(_NAMES))
    parser.add_argument("sizes", type=int, nargs="+", metavar="ITEMS", help="items of each section")
    parser.add_argument("--token", required=True)
    anyio.run(_serve, parser.parse_args())


async def _serve(options: argparse.Namespace) -> None:
    sections = [
        GeneratedSection(str(number), f"{_NAMES[options.kind]} {number:03}", options.kind, size, number)
        for number, size in enumerate(options.sizes, start=1)
    ]
    for section in sections:
        section.prerender()
        if options.kind == "show":
            # The product lists shows without their ids at other providers.
            section.prerender(View(guids=False), LEAN._replace(guids=False))
    gc.freeze()

    def change(after: Changes) -> None:
        for section in sections:
            section.change(after)

    await serve(SimulatedPlex(sections, token=options.token, record_requests=False), change)


if __name__ == "__main__":
    main()
