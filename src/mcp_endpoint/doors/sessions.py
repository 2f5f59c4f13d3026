"""All HTTP sessions: opened within limits, found by their id and their token's agent, ended when they are idle."""

import secrets
from typing import TYPE_CHECKING

from mcp_endpoint.broker.device import DeviceSide
from mcp_endpoint.broker.link import Role
from mcp_endpoint.doors.access import Visitor
from mcp_endpoint.doors.http_session import HttpSession
from mcp_endpoint.errors import End, Refusal

if TYPE_CHECKING:
    from mcp_endpoint.doors.front import Front

ID_BYTES = 32
"""Random bytes of a session's id: whoever knows it and has the agent's token has the session."""


class Sessions:
    """The sessions of one port, in the order of their last use."""

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._by_id: dict[str, HttpSession] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def readers(self) -> int:
        """How many streams are being read."""
        return sum(stream.reader is not None for session in self._by_id.values() for stream in session.streams.values())

    def open(self, visitor: Visitor) -> HttpSession | Refusal | End:
        """A new session, or why there may be none."""
        front = self._front
        if len(self._by_id) >= front.settings.mcp.max_sessions:
            return Refusal.TOO_MANY_SESSIONS
        session = HttpSession(front, secrets.token_urlsafe(ID_BYTES), visitor.peer)
        joined = front.manager.join(Role.DEVICE, visitor.agent_id, session, front.loop.time())
        if isinstance(joined, End):
            return joined
        assert isinstance(joined, DeviceSide), "who joins as a device is one"
        session.side = joined
        self._by_id[session.id] = session
        return session

    def find(self, id_: str, agent_id: str) -> HttpSession | None:
        """The session with this id; None to whoever comes with another agent's token, as if it did not exist."""
        session = self._by_id.get(id_)
        return session if session is not None and session.agent_id == agent_id else None

    def used(self, session: HttpSession) -> None:
        """A session has a request, or an answer is complete: it is idle from now on."""
        session.heard = self._front.loop.time()
        if self._by_id.pop(session.id, None) is not None:
            self._by_id[session.id] = session

    def remove(self, session: HttpSession) -> None:
        """A session has ended."""
        self._by_id.pop(session.id, None)

    def close(self, end: End) -> None:
        """End all of them."""
        for session in list(self._by_id.values()):
            session.close(end)

    def sweep(self, now: float) -> None:
        """End those that are idle for too long."""
        idle = self._front.settings.mcp.session_idle
        while self._by_id:
            session = next(iter(self._by_id.values()))
            if session.heard + idle > now:
                break
            if session.busy:
                self.used(session)
            else:
                session.close(End.SESSION_IDLE)
