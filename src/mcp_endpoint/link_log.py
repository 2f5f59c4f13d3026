"""The broker's journal, written to the log: beside `app`, since the log's own folder knows nothing of the broker."""

from loguru import logger

from mcp_endpoint.broker.link import Ended, Peer, Session
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.logs.redaction import quote_peer


class LinkLog:
    """One line when a link opens, one when it ends, one when the state of an agent changes."""

    def opened(self, session: Session, peer: Peer) -> None:
        """A link was admitted."""
        line = logger.bind(event="open", **_facts(session, peer))
        line.info("{} side open: agent {} from {}", session.role, session.agent_id, peer.address)

    def ended(self, session: Session, peer: Peer, ended: Ended, seconds: float) -> None:
        """A link ended."""
        facts = {"reason": ended.end.reason, "code": ended.code, "seconds": round(seconds, 3), "detail": ended.detail}
        logger.bind(event="end", **_facts(session, peer), **facts).info(
            "{} side ended: agent {} {} from {} after {:.0f} s: {} ({}, code {}){}",
            session.role,
            session.agent_id,
            quote_peer(session.name) or "-",
            peer.address,
            seconds,
            ended.end.en,
            ended.end.reason,
            ended.code,
            f": {quote_peer(ended.detail)}" if ended.detail else "",
        )

    def changed(self, agent_id: str, reason: str, sentence: str) -> None:
        """An agent's state is another one now."""
        level = "INFO" if reason == "serving" else "WARNING"
        line = logger.bind(event="state", agent=agent_id, reason=reason)
        line.log(level, "agent {}: {} ({})", agent_id, quote_peer(sentence, 400), reason)

    def noted(self, session: Session, peer: Peer, note: Note) -> None:
        """Something its owner should know."""
        logger.bind(event="note", **_facts(session, peer), reason=note.reason).warning(
            "{} side of agent {} {} from {}: {} ({})",
            session.role,
            session.agent_id,
            quote_peer(session.name) or "-",
            peer.address,
            note.en,
            note.reason,
        )


def _facts(session: Session, peer: Peer) -> dict[str, str | None]:
    """What JSON lines say of a link, beside the words."""
    return {"role": session.role, "agent": session.agent_id, "alias": session.name or None, "peer": peer.address}
