"""The body of an answer: unpacked within a cap, and checked for being whole and JSON."""

import zlib

from retrovue.core.errors import MalformedAnswer
from retrovue.importers.http.dialect import Dialect

_BRACKETS = ((b"{", b"}"), (b"[", b"]"))


class TruncatedAnswer(MalformedAnswer):
    """An answer arrived incomplete; asking again may help."""

    default_code = "truncated_answer"


class BodyReader:
    """Takes the chunks of a body and gives them decoded, as strictly as the format allows.

    httpx's own decoder takes a gzip stream without its end for whole, and has no cap.
    """

    def __init__(self, encoding: str, dialect: Dialect, *, cap: int, origin: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in {"identity", "", "gzip", "x-gzip"}:
            raise MalformedAnswer(
                f"The server at {origin} answers in the encoding {encoding!r}, which wasn't asked for."
            )
        self._unpack = zlib.decompressobj(31) if "gzip" in encoding else None
        self._dialect = dialect
        self._cap = cap
        self._origin = origin
        self._received = 0
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take a chunk; raises MalformedAnswer once the decoded bytes are more than the cap."""
        self._received += len(chunk)
        if self._unpack is None:
            self._body += chunk
        else:
            self._body += self._unpack.decompress(chunk, self._cap + 1 - len(self._body))
        if len(self._body) > self._cap:
            raise MalformedAnswer(
                f"An answer of the server at {self._origin} is larger than {self._cap:,} bytes.",
                code="answer_too_large",
                hint="Lower the source's page_size if its items are that large.",
            )

    def finish(self, promised: int | None) -> bytearray:
        """Return the whole body; ``promised`` is its Content-Length.

        Raises TruncatedAnswer if something is missing, MalformedAnswer if it is a page of another server.
        """
        unfinished = self._unpack is not None and not self._unpack.eof
        if unfinished or promised not in {None, self._received}:
            raise cut_short(self._origin)
        start, end = bytes(self._body[:256]).lstrip(), bytes(self._body[-64:]).rstrip()
        if start.startswith(b"<"):
            if b"MediaContainer" in start:
                raise MalformedAnswer(f"The Plex server at {self._origin} answers in XML although JSON was asked for.")
            raise self._dialect.stranger(self._origin, "it sent a web page")
        if (start[:1], end[-1:]) not in _BRACKETS:
            # Without a length, a connection that is closed early looks like a body that ends.
            raise cut_short(self._origin)
        return self._body


def cut_short(origin: str) -> TruncatedAnswer:
    """Make the error of an answer that isn't whole."""
    return TruncatedAnswer(
        f"An answer of the server at {origin} arrived incomplete.",
        hint="Check the network, and any proxy between here and the server.",
    )
