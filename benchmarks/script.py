"""What somebody would write instead: films from plexapi, rows by SQLAlchemy's ORM, a transaction for each library.

It has a table of its own with the fields that a scheduler needs first. It lists each library as plexapi does by itself,
looks for each film by its key before it adds it, so that it can be run again, and proves nothing.

    python -m benchmarks.script URL MEDIA_DIRECTORY

RETROVUE_TOKEN and RETROVUE_DATABASE_URL say the rest. It prints one JSON object.
"""

import datetime as dt
import json
import os
import sys
import time
from typing import Any

from plexapi.server import PlexServer
from sqlalchemy import BigInteger, create_engine, func, make_url, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """The tables of the script."""


class Film(Base):
    """A version of a film."""

    __tablename__ = "script_film"

    media_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    rating_key: Mapped[int] = mapped_column(BigInteger)
    library: Mapped[str]
    title: Mapped[str]
    year: Mapped[int | None]
    aired: Mapped[dt.date | None]
    path: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    runtime_ms: Mapped[int | None] = mapped_column(BigInteger)
    studio: Mapped[str | None]
    content_rating: Mapped[str | None]
    video_codec: Mapped[str | None]
    audio_codec: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    genres: Mapped[list[str]] = mapped_column(JSONB)


def main(url: str, media_directory: str) -> None:
    """List all libraries, and store each film that isn't stored yet."""
    began = time.perf_counter()
    address = make_url(os.environ["RETROVUE_DATABASE_URL"]).set(drivername="postgresql+psycopg")
    engine = create_engine(address)
    Base.metadata.create_all(engine)
    connect: Any = PlexServer  # plexapi has no types
    plex = connect(url, os.environ["RETROVUE_TOKEN"])
    listed = 0
    for library in plex.library.sections():
        root = library.locations[0]
        with Session(engine) as session, session.begin():
            for film in library.all():
                listed += 1
                for media in film.media:
                    if session.get(Film, media.id) is not None:
                        continue
                    part = media.parts[0]
                    session.add(
                        Film(
                            media_id=media.id,
                            rating_key=film.ratingKey,
                            library=library.title,
                            title=film.title,
                            year=film.year,
                            aired=film.originallyAvailableAt,
                            path=media_directory + part.file.removeprefix(root),
                            size_bytes=part.size,
                            runtime_ms=media.duration,
                            studio=film.studio,
                            content_rating=film.contentRating,
                            video_codec=media.videoCodec,
                            audio_codec=media.audioCodec,
                            width=media.width,
                            height=media.height,
                            genres=[genre.tag for genre in film.genres],
                        )
                    )
    with Session(engine) as session:
        stored = session.scalar(select(func.count()).select_from(Film)) or 0
    if stored < listed:
        raise SystemExit(f"{listed} films were listed, {stored} are stored.")
    # Its rows aren't assets.
    print(
        json.dumps(
            {
                "duration_seconds": time.perf_counter() - began,
                "total_source_items": listed,
                "total_created_assets": 0,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
