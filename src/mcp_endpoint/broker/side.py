"""What both sides of an agent have in common: a link, an agent, and what there is to tell about them."""

from abc import ABC, abstractmethod
from typing import Protocol

from mcp_endpoint.broker.broker_state import BrokerState
from mcp_endpoint.broker.link import Link, Role
from mcp_endpoint.errors.json_rpc import MESSAGES, Fault
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.settings.schema import BrokerSettings
from mcp_endpoint.wire import envelope as wire


class AgentOfSide(Protocol):
    """An agent, as either of its sides knows it."""

    id: str
    limits: BrokerSettings
    broker: BrokerState

    def review(self, now: float) -> None:
        """Tell the journal if the agent's state is another one now."""


class Side(ABC):
    """One link that was admitted, as the broker sees it."""

    __slots__ = ("agent", "agent_id", "broker", "drops", "errors", "link", "notes", "number", "opened", "peer")
    role: Role
    agent: AgentOfSide

    def __init__(self, agent: AgentOfSide, link: Link, now: float) -> None:
        self.agent = agent
        self.agent_id = agent.id
        self.broker = agent.broker
        self.link = link
        self.peer = link.peer
        self.number = next(agent.broker.numbers)
        self.opened = now
        self.drops: dict[str, int] = {}
        """Reason → how many frames, or parts of one, went nowhere."""
        self.errors: dict[str, int] = {}
        """Reason → how many of its requests the broker answered with an error of its own."""
        self.notes: list[Note] = []

    @property
    @abstractmethod
    def name(self) -> str:
        """How log and `/stats` call it."""

    @abstractmethod
    def receive(self, frame: bytes, now: float) -> str | None:
        """Take one frame; see `Session.receive`."""

    def drop(self, reason: str) -> None:
        """Count a frame, or a part of one, that went nowhere."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def failure(self, id_: bytes, fault: Fault, **facts: object) -> bytes:
        """The answer to one of its requests that fails, counted."""
        self.errors[fault.reason] = self.errors.get(fault.reason, 0) + 1
        self.broker.errors[fault.reason] += 1
        return error_of(self.agent, id_, fault, **facts)

    def note(self, note: Note, now: float) -> None:
        """Tell the owner something about this peer, once."""
        if note not in self.notes:
            self.notes.append(note)
            self.broker.notes[note.reason] += 1
            self.broker.journal.noted(self, self.peer, note)
            self.agent.review(now)


def error_of(agent: AgentOfSide, id_: bytes, fault: Fault, **facts: object) -> bytes:
    """An error frame whose `data` says what happened, since when, and what to do (docs/protocol.md, section 4.6)."""
    details = fault.sentence(agent.limits.language, **facts)
    data: dict[str, object] = {"agent_id": agent.id, "details": details, "reason": fault.reason}
    if fault is Fault.LACKS_ABILITY:
        data["requiredCapabilities"] = {str(facts["ability"]): {}}  # as the specification wants it (2026-07-28)
    return wire.failure(id_, fault.code, MESSAGES[fault.code], data)
