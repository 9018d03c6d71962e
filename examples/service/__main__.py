"""Serve: ``python -m service --port 8000``, in the directory examples.

The first SIGINT or SIGTERM cancels the ingests. Their streams end with the summaries, and then the process ends.
"""

import argparse
import asyncio
import socket
from types import FrameType

import uvicorn

from service.app import app


class Server(uvicorn.Server):
    """A server that cancels the ingests when it has to stop; otherwise it would wait for their streams to end."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; called by a signal, at any point of the event loop's work."""
        if not self.should_exit:
            self.loop.call_soon_threadsafe(app.state.ingests.stop)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the event loop."""
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ingest over HTTP.")
    parser.add_argument("--port", type=int, default=8000)
    Server(uvicorn.Config(app, host="127.0.0.1", port=parser.parse_args().port, log_level="info")).run()
