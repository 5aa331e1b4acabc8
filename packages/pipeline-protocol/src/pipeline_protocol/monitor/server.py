"""HTTP as far as it is needed: one request a connection, and none may cost much.

Python's `http.server` has no bounds of its own: its connections, their time and what a slow reader
leaves in memory would all have to be bounded around it.
"""

import asyncio
import logging
import socket
from contextlib import suppress

from pipeline_protocol.monitor.site import HttpResponse, Site, plain

MAX_HEAD_BYTES = 8 << 10
MAX_CONNECTIONS = 64
"""Of more, the one that came first is ended: whoever holds connections shuts nobody out."""
REQUEST_S = 5.0
"""That a request may take to come."""
SEND_S = 10.0
"""That an answer may take to be taken."""
LINGER_S = 1.0
"""That the other end may take to see the answer's end."""
CHUNK_BYTES = 64 << 10

_log = logging.getLogger(__name__)


class Server:
    """Serves a site on a listening socket."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: dict[asyncio.StreamWriter, None] = {}
        """In the order that they came."""

    async def serve(self, listener: socket.socket) -> None:
        """Serve for ever."""
        server = await asyncio.start_server(
            self._connected, sock=listener, limit=MAX_HEAD_BYTES, backlog=MAX_CONNECTIONS
        )
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = None
        if len(self._open) > MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it has gone, or is too slow
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer, with_body = await self._answer(reader)
        async with asyncio.timeout(SEND_S):
            writer.transport.set_write_buffer_limits(CHUNK_BYTES)
            writer.write(answer.head() + (answer.begin if with_body else b""))
            body = memoryview(answer.body if with_body else b"")
            for start in range(0, len(body), CHUNK_BYTES):
                writer.write(body[start : start + CHUNK_BYTES])
                await writer.drain()
            writer.write_eof()
        # what comes yet is read: closed over it, the connection would be reset, the answer lost
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await reader.read(CHUNK_BYTES):
                    pass

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[HttpResponse, bool]:
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return plain(408, "the request did not come in time"), True
        except asyncio.LimitOverrunError:
            return plain(431, f"a request may have {MAX_HEAD_BYTES} bytes"), True
        try:
            return self._site.answer(head)
        except Exception:  # a defect: whoever asks is told, and the next one is served
            _log.exception("a request could not be answered")
            return plain(500, "this is a defect: the log has more"), True
