"""What `/stats` shows of agents and links, those that ended included."""

from collections.abc import Callable
from dataclasses import dataclass

from mcp_endpoint.broker.agent import Agent
from mcp_endpoint.broker.agent_state.why import explain
from mcp_endpoint.broker.device_side.device_side import DeviceSide
from mcp_endpoint.broker.link import Ended, Role
from mcp_endpoint.broker.tool_side.tool_side import ToolSide
from mcp_endpoint.wire.mcp import Kind

Report = dict[str, object]
Stamp = Callable[[float], str]
"""Turns monotonic seconds into the wall-clock text that `/stats` shows."""


@dataclass(frozen=True, slots=True)
class EndedLink:
    """What is remembered of a link that ended."""

    role: Role
    agent_id: str
    name: str
    peer: str
    opened: float
    ended_at: float
    ended: Ended


def agent_report(agent: Agent, now: float, stamp: Stamp) -> Report:
    """An agent, its tools, and its links."""
    why = explain(agent, now)
    return {
        "why": {"reason": why.reason, "zh": why.zh, "en": why.en},
        "unmatched": list(agent.unmatched().what),
        "calls_in_flight": agent.in_flight,
        "tasks": len(agent.tasks),
        **{kind.member: list(agent.catalogue[kind].entries) for kind in Kind},
        "offline": [
            {
                "alias": registration.alias,
                "since": stamp(registration.gone_at),
                "reason": registration.gone and registration.gone.end.reason,
            }
            for registration in agent.registrations_away()
        ],
        "links": [_link_report(tool, stamp) for tool in agent.tools]
        + [_link_report(device, stamp) for device in agent.devices],
    }


def _link_report(session: ToolSide | DeviceSide, stamp: Stamp) -> Report:
    peer = session.peer
    traffic = dict(session.link.traffic())
    last = traffic.pop("last_frame")
    info = session.info if isinstance(session, ToolSide) else session.client
    report: Report = {
        "id": session.number,
        "role": session.role,
        "agent": session.agent_id,
        "alias": session.name,
        "peer": peer.address,
        "server_id": peer.server_id,
        "user_agent": peer.user_agent,
        "info": {"name": info.name, "version": info.version} if info is not None else None,
        "protocol_version": session.protocol_version or None,
        "since": stamp(session.opened),
        "last_frame": None if last is None else stamp(last),
        **traffic,
        "pending": len(session.pending) if isinstance(session, ToolSide) else session.pending,
        "drops": session.drops,
        "errors": session.errors,
        "notes": [note.reason for note in session.notes],
    }
    if isinstance(session, ToolSide):
        report |= {
            kind.member: len(session.offers.get(kind, ())) if fetch.settled else None
            for kind, fetch in session.lists.items()
        }
        report["definitions"] = {
            kind.member: {
                "left_out": fetch.remarks.left_out,
                "mended": fetch.remarks.mended,
                "told": [remark.report() for remark in fetch.remarks.told],
            }
            for kind, fetch in session.lists.items()
            if fetch.remarks.told
        }
        report["standby"] = session.registration is not None and session.registration.live is not session
    else:
        report |= {"device": peer.device, "mac": peer.mac, "last_call": session.last_call or None}
    return report


def ended_report(one: EndedLink, stamp: Stamp) -> Report:
    """A link that ended."""
    return {
        "role": one.role,
        "agent": one.agent_id,
        "alias": one.name,
        "peer": one.peer,
        "since": stamp(one.opened),
        "ended": stamp(one.ended_at),
        "reason": one.ended.end.reason,
        "code": one.ended.code,
        "detail": one.ended.detail,
    }
