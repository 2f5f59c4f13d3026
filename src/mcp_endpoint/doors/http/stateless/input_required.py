"""Requests of the stateless era that were answered with a question, until they are made again with the answer.

In 2026-07-28 a server asks nothing by itself: its result says what it needs, and the client makes the request anew with
that, and with the state it was given (specification, "Multi Round-Trip Requests"). The tool side behind is of the
handshake era and waits in the middle of its call meanwhile, so its link is kept here.
"""

from asyncio import TimerHandle
from typing import NamedTuple

from mcp_endpoint.doors.http.body import Message
from mcp_endpoint.doors.http.stateless.link import RequestLink
from mcp_endpoint.doors.port_state import PortState

MOST_KEPT = 1000
"""Requests that wait for their clients to come again; one more, and the one that waits longest is given up."""


class InputRequired(NamedTuple):
    """One of them, and when it is given up."""

    link: RequestLink
    timer: TimerHandle


class InputRequiredRequests:
    """All of them by the states that their clients were given, the oldest first."""

    def __init__(self, port_state: PortState) -> None:
        self._port_state = port_state
        self._by_state: dict[str, InputRequired] = {}

    def __len__(self) -> int:
        return len(self._by_state)

    def put(self, state: str, link: RequestLink) -> None:
        """Keep a link for as long as a call may take."""
        while len(self._by_state) >= MOST_KEPT:
            self._give_up(next(iter(self._by_state)))
        timer = self._port_state.loop.call_later(self._port_state.settings.mcp.call_timeout, self._give_up, state)
        self._by_state[state] = InputRequired(link, timer)

    def take(self, state: str, agent_id: str, message: Message) -> RequestLink | None:
        """The link that was kept under a state, if it is this agent's and the same request; only once."""
        kept = self._by_state.get(state)
        if kept is None or not kept.link.is_for(agent_id, message):
            return None
        del self._by_state[state]
        kept.timer.cancel()
        return None if kept.link.ended is not None else kept.link

    def _give_up(self, state: str) -> None:
        kept = self._by_state.pop(state)
        kept.timer.cancel()
        kept.link.leave()
