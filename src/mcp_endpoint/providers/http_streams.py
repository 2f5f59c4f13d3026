"""Streams of events that are opened again where they break off: the answer to a request, and the standing stream."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import httpx
from msgspec import UNSET, Raw

from mcp_endpoint.providers.events import LONGEST_RETRY
from mcp_endpoint.providers.http_answers import EVENTS, Place, media_type, messages, refused
from mcp_endpoint.providers.outlet import Pace
from mcp_endpoint.providers.source import Stopped, Take, Why
from mcp_endpoint.wire import envelope

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
    place: Place,
    id_: bytes,
    take: Take,
    again: Open,
    limits: Limits,
    pace: Pace,
) -> None:
    """Take the frames of a request's stream up to its answer. Closes `response`.

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
                async for frame in messages(response, place, pace, limits.event_limit):
                    await pace.frame(0.0 if answered else take(frame) or 0.0)
                    if not answered:
                        answered = answers(frame, id_)
                        until = loop.time() + (LAST_BYTES if answered else limits.silence)
                        patience.reschedule(until)
        except TimeoutError:
            if not answered:
                raise Stopped(Why.CONNECTION_LOST, f"no answer within {limits.silence:g} s") from None
        except Stopped as why:
            if not answered and (why.why is not Why.CONNECTION_LOST or place.last_id is None):
                raise
        finally:
            await response.aclose()
        if answered:
            return
        if place.last_id is None:
            raise Stopped(Why.CONNECTION_LOST, "the stream of the answer ended without it")
        while True:
            # A server may close on purpose and have us ask now and then; but not for ever.
            if loop.time() + place.retry > until:
                raise Stopped(Why.CONNECTION_LOST, f"no answer within {limits.silence:g} s")
            await asyncio.sleep(place.retry)
            try:
                response = await again(place.last_id)
                break
            except Stopped as why:
                failed += 1
                if why.why not in (Why.UNREACHABLE, Why.CONNECTION_LOST) or failed >= OPENING_TRIES:
                    raise
        failed = 0
        if response.status_code >= 300:
            await refused(response, None, in_session=True)
        if media_type(response) != EVENTS:
            await response.aclose()
            raise Stopped(Why.CONNECTION_LOST, "the stream of the answer cannot be gone on with")


async def standing(
    open_: Open,
    take: Take,
    limits: Limits,
    pace: Pace,
    in_session: bool,
    gap: Callable[[], None] | None = None,
) -> None:
    """Take the frames of a stream that stays open, and open it again whenever it ends; returns if none is offered.

    `gap` is called each time it was opened again without a place to go on from. Raises Stopped where the server cannot
    be reached twice in a row, or has lost the session.
    """
    loop = asyncio.get_running_loop()
    place = Place()
    unreachable = brief = 0
    first = True
    while True:
        try:
            response = await open_(place.last_id)
            unreachable = 0
            if response.status_code >= 500 and response.status_code != 501:
                await response.aclose()
                brief += 1
            else:
                if not await _offered(response, in_session):
                    return
                if not first and gap is not None:
                    gap()
                first = False
                begun = loop.time()
                try:
                    async for frame in messages(response, place, pace, limits.event_limit):
                        await pace.frame(take(frame) or 0.0)
                        brief = 0
                finally:
                    await response.aclose()
                brief = 0 if loop.time() - begun > STEADY else brief + 1
        except Stopped as why:
            if why.why not in (Why.UNREACHABLE, Why.CONNECTION_LOST):
                raise
            unreachable += why.why is Why.UNREACHABLE
            brief += 1
            if unreachable >= STANDING_TRIES:
                raise
        await asyncio.sleep(min(place.retry * 2.0 ** min(max(brief - 1, 0), 6), LONGEST_RETRY))


async def _offered(response: httpx.Response, in_session: bool) -> bool:
    """Whether the answer is a stream. Raises Stopped: UNAUTHORIZED, SESSION_LOST."""
    if response.status_code < 300 and media_type(response) == EVENTS:
        return True
    try:
        if response.status_code in (401, 404):
            await refused(response, None, in_session=in_session)
    except Stopped as why:
        if why.why is not Why.HTTP_STATUS:
            raise
    finally:
        await response.aclose()
    return False


def answers(frame: bytes, id_: bytes) -> bool:
    """Whether a frame is the answer to the request with this id."""
    try:
        head = envelope.read(frame)
    except ValueError:
        return False
    return head.method is UNSET and isinstance(head.id, Raw) and envelope.id_key(head.id) == envelope.id_key(id_)
