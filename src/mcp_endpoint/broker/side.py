"""What both sides of an agent have in common: a link, an agent, and what there is to tell about them."""

from typing import TYPE_CHECKING

from mcp_endpoint.broker.link import Link, Role
from mcp_endpoint.errors import Fault, Note

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent


class Side:
    """One link that was admitted, as the broker sees it."""

    __slots__ = ("agent", "drops", "errors", "link", "notes", "number", "opened")
    role: Role

    def __init__(self, agent: "Agent", link: Link, now: float) -> None:
        self.agent = agent
        self.link = link
        self.number = next(agent.numbers)
        self.opened = now
        self.drops: dict[str, int] = {}
        """Reason → how many frames, or parts of one, went nowhere."""
        self.errors: dict[str, int] = {}
        """Reason → how many of its requests the broker answered with an error of its own."""
        self.notes: list[Note] = []

    @property
    def agent_id(self) -> str:
        """The agent it belongs to."""
        return self.agent.id

    def drop(self, reason: str) -> None:
        """Count a frame, or a part of one, that went nowhere."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def failure(self, id_: bytes, fault: Fault, **facts: object) -> bytes:
        """The answer to one of its requests that fails, counted."""
        self.errors[fault.reason] = self.errors.get(fault.reason, 0) + 1
        self.agent.broker.errors[fault.reason] += 1
        return self.agent.failure(id_, fault, **facts)

    def note(self, note: Note, now: float) -> None:
        """Tell the owner something about this peer, once."""
        if note not in self.notes:
            self.notes.append(note)
            self.agent.broker.notes[note.reason] += 1
            self.agent.journal.noted(self, self.link.peer, note)  # type: ignore[arg-type]
            self.agent.review(now)
