"""All HTTP sessions: opened within limits, found by their id and their token's agent, ended when they are idle.

Most clients keep the id of their session over a restart of the broker, whatever it answers. A session of an earlier run
is therefore taken over: begun anew under its id, once its client says something.
"""

import time
from collections.abc import Mapping

from mcp_endpoint.broker.device_side.device_side import DeviceSide
from mcp_endpoint.broker.link import Role
from mcp_endpoint.doors.http.access import Client
from mcp_endpoint.doors.http.streamable.session import HttpSession
from mcp_endpoint.doors.http.streamable.session_ids import SessionIds
from mcp_endpoint.doors.port_state import LinkSet, PortState
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal

ENDED_KEPT = 10_000
"""Sessions taken over and ended since that are remembered, so that they are not taken over again."""


class Sessions(LinkSet):
    """The sessions of one port, in the order of their last use."""

    def __init__(self, port_state: PortState) -> None:
        super().__init__(port_state)
        self._by_id: dict[str, HttpSession] = {}
        self._ids = SessionIds(port_state.settings.server.key)
        self._over: dict[str, None] = {}
        """Ids of other runs whose sessions have ended in this one; the oldest first."""

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, client: Client) -> HttpSession | Refusal | End:
        """A new session, or why there may be none."""
        return self._open(client, self._ids.new(client.agent_id))

    def take_over(self, client: Client, id_: str, revision: str) -> HttpSession | Refusal | End:
        """Begin a session of an earlier run anew, or why that may not be.

        Its client says its `initialize` no more, so nothing is known of it but the revision that it speaks, and nothing
        is asked of it. What it subscribed to is lost.
        """
        session = self._open(client, id_)
        if isinstance(session, HttpSession):
            # Numbers that no earlier run came to: an event that was missed then must not be taken for one of now.
            session.begin_anew(revision, int(time.time()))
        return session

    def may_take_over(self, id_: str, agent_id: str) -> bool:
        """Whether an id is of this agent's session in an earlier run, and has not ended in this one."""
        return id_ not in self._over and self._ids.is_of_another_run(id_, agent_id)

    def give_up(self, id_: str) -> None:
        """A session of an earlier run is wanted no more."""
        self._over[id_] = None
        if len(self._over) > ENDED_KEPT:
            del self._over[next(iter(self._over))]

    def _open(self, client: Client, id_: str) -> HttpSession | Refusal | End:
        port_state = self.port_state
        if len(self._by_id) >= port_state.settings.mcp.max_sessions:
            return Refusal.TOO_MANY_SESSIONS
        session = HttpSession(port_state, id_, client.peer, self._remove)
        joined = port_state.manager.join(Role.DEVICE, client.agent_id, session, port_state.loop.time())
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
        session.heard = self.port_state.loop.time()
        if self._by_id.pop(session.id, None) is not None:
            self._by_id[session.id] = session

    def _remove(self, session: HttpSession) -> None:
        """A session has ended."""
        self._by_id.pop(session.id, None)
        if session.taken_over:
            self.give_up(session.id)

    # --- the port's side: LinkSet ---

    def counts(self) -> Mapping[str, int]:
        """Sessions, and streams that are being read."""
        readers = sum(len(session.streams.readers) for session in self._by_id.values())
        return {"sessions": len(self._by_id), "streams": readers}

    def close(self, role: Role, end: End) -> None:
        """End all of them if they are on that side."""
        if role is Role.DEVICE:
            for session in list(self._by_id.values()):
                session.close(end)

    def sweep(self, now: float) -> None:
        """End those that are idle for too long."""
        idle = self.port_state.settings.mcp.session_idle
        while self._by_id:
            session = next(iter(self._by_id.values()))
            if session.heard + idle > now:
                break
            if session.busy:
                self.used(session)
            else:
                session.close(End.SESSION_IDLE)
