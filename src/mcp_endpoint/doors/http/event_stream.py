"""Server-sent events (WHATWG HTML, 9.2) as the answer to a request: how they are spelled, and the loop that writes.

Whoever has events to tell is an `EventSource`. It is asked for all it has whenever it says so, hence one write takes
everything that came at once, and a peer that does not read keeps the rest in the source, where it is bounded.
"""

import asyncio
from typing import Protocol

from mcp_endpoint.doors.http.exchange import Exchange, Header
from mcp_endpoint.wire import envelope as wire

HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream"),
    # `no-transform`: a proxy that compresses would hold events back; nginx needs to be told in its own words.
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)
KEEP_ALIVE = b": still here\n\n"
"""A comment: proxies and clients that wait for bytes get some, and nobody reads it."""


class EventSource(Protocol):
    """Where the events of one answer come from."""

    wake: asyncio.Event
    """Set when there is something to take, or when it is over."""

    @property
    def over(self) -> bool:
        """Whether nothing comes after what may be taken now."""

    def take(self) -> bytes:
        """All events that wait, spelled; empty if there are none."""


def event(data: bytes, id_: str | None = None, name: bytes = b"message") -> bytes:
    """One event with a JSON frame, or any text of one line, as its data."""
    head = b"" if id_ is None else b"id: %b\n" % id_.encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, name, wire.no_separators(wire.one_line(data)))


def priming(id_: str, retry_ms: int) -> bytes:
    """An event without data: what a client resumes from before it has seen anything, and how soon it may come back."""
    return b"id: %b\nretry: %d\ndata: \n\n" % (id_.encode(), retry_ms)


async def write_events(exchange: Exchange, source: EventSource, headers: tuple[Header, ...] = ()) -> None:
    """Answer with the events of `source` until it is over or the peer is gone.

    Comments go out every `ping_interval`: they also find out, by TCP, that a peer went away without a word.
    """
    await exchange.start(200, (*HEADERS, *headers))
    exchange.connection.watch_for_silence()
    leaving = asyncio.ensure_future(exchange.gone())
    leaving.add_done_callback(lambda _: source.wake.set())
    try:
        while not leaving.done():
            source.wake.clear()
            data, over = source.take(), source.over
            if data or over:
                await exchange.body(data, more=not over)
            if over:
                return
            interval = exchange.port_state.settings.websocket.ping_interval or None
            try:
                async with asyncio.timeout(interval):
                    await source.wake.wait()
            except TimeoutError:
                await exchange.body(KEEP_ALIVE, more=True)
    finally:
        leaving.cancel()
