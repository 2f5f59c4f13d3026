"""Streams of events that are opened again where they break off: the answer to a request, and the standing stream."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import httpx

from mcp_endpoint.net.event_reader import LONGEST_RETRY
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.providers.source_output import Pacer
from mcp_endpoint.providers.transports.http_answers import EVENTS, StreamPosition, media_type, messages, refused

Open = Callable[[str | None], Awaitable[httpx.Response]]
"""Opens a stream behind the event with an id, if there is one. Raises Stopped."""

OPENING_TRIES = 3
"""Times in a row that a stream cannot be opened again before it is given up."""
LAST_BYTES = 1.0
"""Seconds for a stream to end behind its answer: a connection whose answer was read to its end is used again."""
STANDING_TRIES = 2
"""Times in a row that nobody listens where the standing stream came from: the server is gone."""
STEADY = 10.0
"""Seconds a stream must have lasted to be opened again without a longer wait."""


class Limits(Protocol):
    """What bounds a stream."""

    @property
    def event_limit(self) -> int:
        """Bytes of one event."""

    @property
    def silence(self) -> float:
        """Seconds without a frame after which a request's stream is given up."""


async def following(
    response: httpx.Response,
    position: StreamPosition,
    answer: Callable[[bytes], bytes | None],
    take: OnFrame,
    again: Open,
    limits: Limits,
    pacer: Pacer,
) -> None:
    """Take the frames of a request's stream up to its answer, which `answer` tells from others. Closes `response`.

    A stream that breaks off is gone on with behind its last event, if that had an id. Raises Stopped: CONNECTION_LOST
    if it cannot be, SESSION_LOST, UNAUTHORIZED, FRAME_TOO_LONG.
    """
    loop = asyncio.get_running_loop()
    failed = 0
    until = loop.time() + limits.silence
    while True:
        answered = False
        try:
            async with asyncio.timeout_at(until) as patience:
                async for frame in messages(response, position, pacer, limits.event_limit):
                    mine = None if answered else answer(frame)
                    await pacer.frame(0.0 if answered else take(mine or frame) or 0.0)
                    if not answered:
                        answered = mine is not None
                        until = loop.time() + (LAST_BYTES if answered else limits.silence)
                        patience.reschedule(until)
        except TimeoutError:
            if not answered:
                raise Stopped(StopReason.CONNECTION_LOST, f"no answer within {limits.silence:g} s") from None
        except Stopped as why:
            if not answered and (why.why is not StopReason.CONNECTION_LOST or position.last_id is None):
                raise
        finally:
            await response.aclose()
        if answered:
            return
        if position.last_id is None:
            raise Stopped(StopReason.CONNECTION_LOST, "the stream of the answer ended without it")
        while True:
            # A server may close on purpose and have us ask now and then; but not for ever.
            if loop.time() + position.retry > until:
                raise Stopped(StopReason.CONNECTION_LOST, f"no answer within {limits.silence:g} s")
            await asyncio.sleep(position.retry)
            try:
                response = await again(position.last_id)
                break
            except Stopped as why:
                failed += 1
                if why.why not in (StopReason.UNREACHABLE, StopReason.CONNECTION_LOST) or failed >= OPENING_TRIES:
                    raise
        failed = 0
        if response.status_code >= 300:
            await refused(response, None, greeted=True, has_state=True, named=True)
        if media_type(response) != EVENTS:
            await response.aclose()
            raise Stopped(StopReason.CONNECTION_LOST, "the stream of the answer cannot be gone on with")


async def standing(
    open_: Open, take: OnFrame, limits: Limits, pacer: Pacer, gap: Callable[[], None] | None = None
) -> None:
    """Take the frames of a stream that stays open, and open it again whenever it ends; returns if none is offered.

    Whatever a server says that was never asked for a stream before (it takes POST alone, it has no such page, it wants
    another key) means that it offers none: what is wrong with the session, requests will tell. `gap` is called each
    time it was opened again without a place to go on from. Raises Stopped where the server cannot be reached twice in
    a row, and SESSION_LOST where it does not know the session any more whose stream stood for a while, or its key.
    """
    loop = asyncio.get_running_loop()
    position = StreamPosition()
    unreachable = brief = 0
    lasted: float | None = None
    while True:
        try:
            response = await open_(position.last_id)
            unreachable = 0
            status = response.status_code
            if status < 300 and media_type(response) == EVENTS:
                if lasted is not None and gap is not None:
                    gap()
                begun, lasted = loop.time(), 0.0
                try:
                    async for frame in messages(response, position, pacer, limits.event_limit):
                        await pacer.frame(take(frame) or 0.0)
                        brief = 0
                finally:
                    lasted = loop.time() - begun
                    await response.aclose()
                brief = 0 if lasted > STEADY else brief + 1
            else:
                await response.aclose()
                if lasted is not None and (status == 401 or (status in (400, 404, 410) and lasted > STEADY)):
                    raise Stopped(StopReason.SESSION_LOST, f"HTTP {status}")
                brief += 1
                if status < 500 or status == 501 or (lasted is None and brief >= OPENING_TRIES):
                    return
        except Stopped as why:
            if why.why not in (StopReason.UNREACHABLE, StopReason.CONNECTION_LOST):
                raise
            unreachable += why.why is StopReason.UNREACHABLE
            brief += 1
            if unreachable >= STANDING_TRIES:
                raise
        await asyncio.sleep(min(position.retry * 2.0 ** min(max(brief - 1, 0), 6), LONGEST_RETRY))
