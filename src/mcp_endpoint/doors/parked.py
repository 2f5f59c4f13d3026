"""Requests of the stateless era that were answered with a question, until they are made again with the answer.

In 2026-07-28 a server asks nothing by itself: its result says what it needs, and the client makes the request anew with
that, and with the state it was given (specification, "Multi Round-Trip Requests"). The tool side behind is of the
handshake era and waits in the middle of its call meanwhile, so its link is kept here.
"""

import secrets
from asyncio import TimerHandle
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcp_endpoint.doors.body import Message
    from mcp_endpoint.doors.front import Front
    from mcp_endpoint.doors.stateless_link import Asking

MOST_PARKED = 1000
"""Requests that wait for their clients to come again; one more, and the one that waits longest is given up."""


class Parked(NamedTuple):
    """One of them, and when it is given up."""

    link: "Asking"
    timer: TimerHandle


class ParkedRequests:
    """All of them by the states that their clients were given, the oldest first."""

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._by_state: dict[str, Parked] = {}

    def __len__(self) -> int:
        return len(self._by_state)

    @staticmethod
    def new_state() -> str:
        """What nobody can guess, and says nothing."""
        return secrets.token_urlsafe(18)

    def put(self, state: str, link: "Asking") -> None:
        """Keep a link for as long as a call may take."""
        while len(self._by_state) >= MOST_PARKED:
            self._give_up(next(iter(self._by_state)))
        timer = self._front.loop.call_later(self._front.settings.mcp.call_timeout, self._give_up, state)
        self._by_state[state] = Parked(link, timer)

    def take(self, state: str, agent_id: str, message: "Message") -> "Asking | None":
        """The link that was kept under a state, if it is this agent's and the same request; only once."""
        parked = self._by_state.get(state)
        if parked is None or not parked.link.is_for(agent_id, message):
            return None
        del self._by_state[state]
        parked.timer.cancel()
        return None if parked.link.ended is not None else parked.link

    def _give_up(self, state: str) -> None:
        parked = self._by_state.pop(state)
        parked.timer.cancel()
        parked.link.leave()
