"""Why a request cannot be sent on, as its error tells it: the fault, and the facts of its sentence."""

from mcp_endpoint.broker.agent_state.agent_state import AgentState
from mcp_endpoint.broker.agent_state.why import explain, explain_registration
from mcp_endpoint.broker.link import Scope
from mcp_endpoint.broker.tool_side.program import Registration
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.wire.mcp import Kind

NAMED = 20
"""Tools that are named to who asked for one that is not there."""

Refusal = tuple[Fault, dict[str, object]]


def offline(agent: AgentState, registration: Registration, now: float) -> Refusal:
    """A tool is still listed, and its program is away."""
    return Fault.TOOL_SIDE_OFFLINE, {"why": explain_registration(registration, now).sentence(agent.limits.language)}


def nobody(agent: AgentState, now: float) -> Refusal:
    """There is no program to ask at all."""
    facts: dict[str, object] = {"why": explain(agent, now).sentence(agent.limits.language)}
    if any(tool.registration is None for tool in agent.all_tools()):
        return Fault.TOOL_SIDE_STARTING, facts
    return Fault.TOOL_SIDE_OFFLINE if agent.registrations_away() else Fault.NEVER_CONNECTED, facts


def no_such_tool(agent: AgentState, scope: Scope, name: str, now: float) -> Refusal:
    """There is no tool of that name: say which there are, or why there are none."""
    known = list(agent.catalogue_for(scope)[Kind.TOOLS].entries)
    if not known and not agent.live_tools():
        return nobody(agent, now)
    shown = ", ".join(known[:NAMED]) + (" …" if len(known) > NAMED else "")
    why = explain(agent, now).sentence(agent.limits.language)
    return Fault.UNKNOWN_TOOL, {"tool": name[:100], "known": shown or "-", "why": why}
