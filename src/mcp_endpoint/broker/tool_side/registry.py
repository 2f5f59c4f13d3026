"""The registrations of one agent: who serves, stands by and is replaced, and for how long somebody is waited for.

A tool side is known by its identity (`?server_id=`, else the name it gives itself) and its tool names. A newcomer that
looks just like one that serves is its restart, or a second copy; which of the two only the elder's silence can tell. So
the newcomer serves at once and the elder is probed: silent, it is closed; alive, it stands by and takes over later.
"""

from functools import partial
from typing import Protocol

from mcp_endpoint.broker.link import Ended
from mcp_endpoint.broker.offers.naming import slug, tail
from mcp_endpoint.broker.offers.offer import names_of
from mcp_endpoint.broker.side import AgentOfSide
from mcp_endpoint.broker.tool_side.program import Registration, ToolProgram
from mcp_endpoint.broker.tool_side.subscriptions import renew
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.notes import Note

PROBE = 2.0
"""Seconds a look-alike has to give a sign of life, and one that stands by to answer before it takes over."""


class AgentOfRegistry(AgentOfSide, Protocol):
    """An agent, as the table of its tool sides knows it."""

    last_registration: Registration | None
    """The one that was given up last."""

    def registrations_changed(self, now: float) -> None:
        """Other tool sides serve, or other tools are served."""


class Registry:
    """The registrations of one agent's tool sides, in the order in which they came to be."""

    __slots__ = ("_agent", "registrations")

    def __init__(self, agent: AgentOfRegistry) -> None:
        self._agent = agent
        self.registrations: list[Registration] = []

    def listed(self, tool: ToolProgram, now: float) -> None:
        """A tool side said what tools it has: give it a registration, or bring the one it has up to date."""
        registration = before = tool.registration
        if (
            registration is not None
            and registration.live is not tool
            and names_of(tool.offers) != names_of(registration.offers)
        ):
            registration.standby.remove(tool)  # it looks like the one that serves no longer
            registration = tool.registration = None
        if registration is None:
            registration = self._take(tool, now)
            if before is not None:
                for task in list(before.tasks.values()):
                    task.moved(tool, registration)
        if registration.live is tool:
            registration.listed(tool.offers)

    def _take(self, tool: ToolProgram, now: float) -> Registration:
        """The registration it had before, that of its look-alike, or a new one."""
        assert tool.info is not None, "tools are listed after the handshake"
        identity = tool.peer.server_id or tool.info.name
        names = names_of(tool.offers)
        alike = [registration for registration in self.registrations if registration.identity == identity]
        registration = next((one for one in alike if names_of(one.offers) == names), None)
        registration = registration or next((one for one in alike if one.live is None), None)
        if registration is None:
            registration = Registration(self._agent.id, identity, self._free_alias(identity, names))
            last = self._agent.last_registration
            if last is not None and last.identity == identity:
                registration.returns = last.returns
                registration.returns.append(now)
            self.registrations.append(registration)
        elif registration.live is None:
            registration.returns.append(now)
        elder, registration.live, tool.registration = registration.live, tool, registration
        renew(registration, now)
        registration.wait_until(None)
        self._bound()
        if elder is not None:
            registration.standby.insert(0, elder)
            elder.probe(now, PROBE, partial(self._probed, registration, elder))
        return registration

    def _probed(self, registration: Registration, elder: ToolProgram, alive: bool, now: float) -> None:
        if elder not in registration.standby:
            return
        if alive:
            for look_alike in (elder, registration.live):
                if look_alike is not None:
                    look_alike.note(Note.LOOK_ALIKE, now)
        else:
            self._close(registration, elder, End.REPLACED)

    def _close(self, registration: Registration, tool: ToolProgram, end: End) -> None:
        registration.standby.remove(tool)
        tool.ended(Ended(end, end.code))
        tool.registration = None
        tool.link.close(end)

    def left(self, tool: ToolProgram, ended: Ended, now: float) -> None:
        """A tool side's link is gone: its registration is kept for `offline_grace`, or goes to one that stands by."""
        registration = tool.registration
        if registration is None:
            return  # closed for a newer link, which has its registration now
        tool.registration = None
        if registration.live is not tool:
            registration.standby.remove(tool)
            return
        registration.live, registration.gone, registration.gone_at = None, ended, now
        if registration.standby:
            self._keep(registration, now + self._agent.limits.offline_grace)
            self._promote(registration, now)
        elif ended.for_good:
            registration.withdrawn = True
            self._remove(registration)
            self._agent.registrations_changed(now)
        elif any(registration.offers.values()):
            self._keep(registration, now + self._agent.limits.offline_grace)
        else:
            self.registrations.remove(registration)  # it had nothing that anybody could miss

    def _promote(self, registration: Registration, now: float) -> None:
        """Ask all that stand by, newest first; the first that answers takes over."""
        if registration.live is None:
            for heir in list(registration.standby):
                heir.ping(now, PROBE, partial(self._asked, registration, heir))

    def _asked(self, registration: Registration, heir: ToolProgram, alive: bool, now: float) -> None:
        if heir not in registration.standby:
            return
        if not alive:
            self._close(registration, heir, End.NOT_ANSWERING)
        elif registration.live is None:
            registration.standby.remove(heir)
            registration.live, registration.offers = heir, heir.offers
            renew(registration, now)
            registration.wait_until(None)
            self._agent.registrations_changed(now)

    def _keep(self, registration: Registration, until: float) -> None:
        registration.wait_until(self._agent.broker.timers.at(until, lambda now: self._give_up(registration, now)))

    def _give_up(self, registration: Registration, now: float) -> None:
        due = registration.gone_at + self._agent.limits.offline_grace
        if now >= due and not registration.standby:
            self._remove(registration)
            self._agent.registrations_changed(now)
        else:  # one that stands by is being asked, or the settings changed
            self._keep(registration, max(due, now + PROBE))

    def _remove(self, registration: Registration) -> None:
        self.registrations.remove(registration)
        registration.wait_until(None)
        registration.offers = {}
        if not registration.withdrawn:
            self._agent.last_registration = registration

    def _free_alias(self, identity: str, names: frozenset[str]) -> str:
        taken = {registration.alias for registration in self.registrations}
        alias, salt = slug(identity), ""
        while alias in taken:
            # By what it has, not by when it came; a salt only if another had just these tools before it changed them.
            alias = f"{slug(identity)}_{tail(identity, salt, *sorted(names))}"
            salt += "+"
        return alias

    def _bound(self) -> None:
        """A program that comes back under ever new names must not fill the memory with those of its old ones."""
        surplus = max(len(self.registrations) - self._agent.limits.max_tool_sides, 0)
        away = sorted(
            (one for one in self.registrations if one.live is None),
            key=lambda one: one.gone_at,
        )
        for registration in away[:surplus]:
            self._remove(registration)
