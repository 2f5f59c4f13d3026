"""Whatever its owner changes, a session's call reaches a tool only if its agent may use that tool now.

The machine plays two agents, tool programs that dial in, and one server that the broker opens itself, behind the real
link and the real choice of its entry in the file. Beside it stands a model of what each agent may use. A name that a
session was shown must lead to the same tool for as long as the model says so, and to no tool that it forbids.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.json import decode, encode

from mcp_endpoint.broker.agent_state import permission
from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.broker.device_side import device_view
from mcp_endpoint.broker.link import Ended, Peer, Role, Session
from mcp_endpoint.broker.offers.tool_filter import ToolFilter
from mcp_endpoint.broker.tool_side.tool_side import ToolSide
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.providers.definitions import Definitions
from mcp_endpoint.providers.entries.entry import Tools
from mcp_endpoint.providers.link import ProviderLink
from mcp_endpoint.settings.schema import AgentSettings, BrokerSettings, ServerSettings, Settings
from support.offline import Told

AGENTS = ("one", "two")
SHARED = "@home"
DIALLED = {"alpha": ("one", ("a", "shared")), "beta": ("two", ("b", "shared"))}
"""Name of a program → the agent it dials in for, and its tools."""
AT_HOME = ("lamp", "door", "shared")
PATTERNS = ("", "*", "a", "sha*", "lamp", "light", "home__*", "door, b")
GRACE = 60.0


class Way:
    """A link of a peer that the machine plays."""

    call_timeout: float | None = None

    def __init__(self, **peer: Any) -> None:
        self.peer = Peer("test", **peer)
        self.heard = 0.0
        self.inbox: list[dict[str, Any]] = []

    def ping(self, now: float) -> None:
        self.heard = now

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        self.inbox.append(decode(frame))

    def close(self, end: End) -> None:
        raise AssertionError(end)

    def traffic(self) -> dict[str, float | int | None]:
        return {"frames_in": 1, "last_frame": None}

    def take(self) -> list[dict[str, Any]]:
        sent, self.inbox = self.inbox, []
        return sent


def reply(name: str, tools: tuple[str, ...], frame: dict[str, Any]) -> dict[str, Any] | None:
    """What a program answers; who it is and which tool it was asked for stands in the result of a call."""
    match frame.get("method"):
        case "initialize":
            return {"capabilities": {"tools": {}}, "serverInfo": {"name": name, "version": "1"}}
        case "tools/list":
            return {
                "tools": [
                    {"name": tool, "description": f"{name} {tool}", "inputSchema": {"type": "object"}} for tool in tools
                ]
            }
        case "tools/call":
            assert frame["params"]["name"] in tools, "the server was asked for a name that only the broker shows"
            return {"content": [], "by": name, "tool": frame["params"]["name"]}
        case _:
            return {} if "id" in frame and "method" in frame else None


class Home:
    """One instance of the server that the broker opens itself."""

    def __init__(self, machine: "Machine", owner: str) -> None:
        self.machine = machine
        self.owner = owner
        self.sent: list[dict[str, Any]] = []
        definitions = Definitions("home", machine.entry.tools)
        peer = Peer("home", server_id="home", own_names=definitions.own_names)
        timers = machine.manager.timers
        self.provider_link = ProviderLink(
            peer, definitions, machine.withhold, timers, lambda: machine.now, None, local=False
        )
        session = machine.manager.join(Role.TOOL, owner, self.provider_link, machine.now)
        assert isinstance(session, ToolSide)
        self.session = session
        self.provider_link.join(session)
        self.provider_link.connect(self)  # type: ignore[arg-type]

    def send(self, frame: bytes) -> None:
        self.sent.append(decode(frame))

    def work(self) -> bool:
        sent, self.sent = self.sent, []
        for frame in sent:
            result = reply("home", AT_HOME, frame)
            if result is not None:
                self.provider_link.take(encode({"jsonrpc": "2.0", "id": frame["id"], "result": result}))
        return bool(sent)

    def leave(self, *, for_good: bool) -> None:
        self.provider_link.part()
        ended = Ended(End.SERVER_ENDED, 1001, for_good=for_good)
        self.machine.manager.ended(self.session, self.provider_link, ended, self.machine.now)


@dataclass(eq=False)
class Dialled:
    """A program that dialled in."""

    name: str
    link: Way
    session: Session


@dataclass(eq=False)
class Client:
    """A device, and what it was shown: name → program and tool."""

    agent: str
    provider: str | None
    link: Way
    session: Session
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)
    calls: int = 0


@dataclass(frozen=True)
class Entry:
    """What the file says of the server."""

    agents: tuple[str, ...] = AGENTS
    per_agent: bool = False
    tools: Tools = field(default_factory=Tools)
    listed: bool = True

    def owners(self) -> tuple[str, ...]:
        if not self.listed:
            return ()
        return self.agents if self.per_agent else (SHARED,)


def words(patterns: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in patterns.split(","))))


def chosen(name: str, alias: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> bool:
    """What `allow` and `deny` mean, told once more."""
    names = (name, f"{alias}__{name}")

    def fits(patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(one, pattern) for one in names for pattern in patterns)

    return (not allow or fits(allow)) and not fits(deny)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.sections: dict[str, dict[str, Any]] = {agent: {} for agent in AGENTS}
        self.manager = ConnectionManager(self.settings(), Told(), "test")
        self.entry = Entry()
        self.withheld: set[str] = set()
        self.taken_away = False
        """Whether an agent ever lost an instance of its own."""
        self.homes: dict[str, Home] = {}
        self.dialled: dict[str, Dialled] = {}
        self.clients: list[Client] = []

    def settings(self) -> Settings:
        limits = BrokerSettings(offline_grace=GRACE, tools_wait=1.0)
        agents = {agent: AgentSettings(**section) for agent, section in self.sections.items()}
        return Settings(server=ServerSettings(key="key"), broker=limits, agents=agents)

    def withhold(self, tools: Any) -> set[str]:
        return self.withheld

    def work(self) -> None:
        """Every program answers all that it was asked."""
        busy = True
        while busy:
            busy = [home for home in list(self.homes.values()) if home.work()] != []
            for program in self.dialled.values():
                for frame in program.link.take():
                    result = reply(program.name, DIALLED[program.name][1], frame)
                    if result is not None:
                        busy = True
                        answer = {"jsonrpc": "2.0", "id": frame["id"], "result": result}
                        program.session.receive(encode(answer), self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.manager.sweep(self.now)
        self.work()

    # --- who comes and goes ---

    @initialize()
    def all_are_there(self) -> None:
        self.file_says(Entry())
        for name in DIALLED:
            self.program_joins(name)
        for agent in AGENTS:
            self.client_joins(agent, None)

    @rule(name=st.sampled_from(sorted(DIALLED)))
    def program_joins(self, name: str) -> None:
        if name not in self.dialled:
            link = Way()
            session = self.manager.join(Role.TOOL, DIALLED[name][0], link, self.now)
            assert not isinstance(session, End)
            self.dialled[name] = Dialled(name, link, session)
            self.work()

    @rule(name=st.sampled_from(sorted(DIALLED)))
    def program_leaves(self, name: str) -> None:
        program = self.dialled.pop(name, None)
        if program is not None:
            self.manager.ended(program.session, program.link, Ended(End.CONNECTION_LOST, 1006), self.now)

    @rule(agent=st.sampled_from(AGENTS), provider=st.sampled_from([None, "home"]))
    def client_joins(self, agent: str, provider: str | None) -> None:
        link = Way(provider=provider)
        session = self.manager.join(Role.DEVICE, agent, link, self.now)
        assert not isinstance(session, End)
        self.clients.append(Client(agent, provider, link, session))
        self.lists(self.clients[-1])

    @rule(seconds=st.sampled_from([1.5, GRACE + 1]))
    def time_passes(self, seconds: float) -> None:
        self.passes(seconds)

    # --- what the owner changes ---

    @rule(
        agent=st.sampled_from(AGENTS),
        allow=st.sampled_from(PATTERNS),
        deny=st.sampled_from(PATTERNS),
        rename=st.sampled_from(["", "lamp: 开灯, a: 甲", "shared: ours"]),
        others=st.booleans(),
    )
    def settings_are_reloaded(self, agent: str, allow: str, deny: str, rename: str, others: bool) -> None:
        other = AGENTS[1 - AGENTS.index(agent)]
        given = {"allow": allow, "deny": deny, "rename": rename, "tools_from": other if others else ""}
        self.sections[agent] = {key: value for key, value in given.items() if value}
        self.manager.reconfigure(self.settings(), self.now)

    def file_says(self, entry: Entry, *, starts: bool = True) -> None:
        """The file changed: the server is another one now, as `Providers.load` has it."""
        before, self.entry = self.homes, entry
        served = entry.agents
        self.manager.provide(
            {SHARED: lambda agent: agent in served} if entry.listed and not entry.per_agent else {}, self.now
        )
        self.homes = {owner: Home(self, owner) for owner in entry.owners()} if starts else {}
        for home in before.values():
            taken_away = home.owner not in (SHARED, *entry.owners())
            self.taken_away |= taken_away
            home.leave(for_good=taken_away)
        self.work()

    @rule(agents=st.sampled_from([("one", "two"), ("one",), ("two",), ()]), starts=st.booleans())
    def its_agents_change(self, agents: tuple[str, ...], starts: bool) -> None:
        self.file_says(replace(self.entry, agents=agents), starts=starts)

    @rule(
        allow=st.sampled_from(PATTERNS),
        deny=st.sampled_from(PATTERNS),
        rename=st.sampled_from([{}, {"lamp": "light"}, {"lamp": "灯", "door": "gate"}]),
    )
    def its_tools_change(self, allow: str, deny: str, rename: dict[str, str]) -> None:
        self.file_says(replace(self.entry, tools=Tools(allow=words(allow), deny=words(deny), rename=rename)))

    @rule(per_agent=st.booleans(), listed=st.booleans())
    def it_is_another_one(self, per_agent: bool, listed: bool) -> None:
        self.file_says(replace(self.entry, per_agent=per_agent, listed=listed))

    @rule(withheld=st.sets(st.sampled_from(AT_HOME)))
    def tools_changed_and_are_withheld(self, withheld: set[str]) -> None:
        self.withheld = withheld
        for home in self.homes.values():
            home.provider_link.list_again()
        for _ in range(4):
            self.passes(0.6)

    # --- what the clients do ---

    def ask(self, client: Client, method: str, **params: Any) -> Any:
        client.link.take()
        client.calls += 1
        frame = {"jsonrpc": "2.0", "id": client.calls, "method": method, "params": params}
        client.session.receive(encode(frame), self.now)
        self.work()
        for _ in range(3):
            answers = [one for one in client.link.take() if one.get("id") == client.calls and "method" not in one]
            if answers:
                return answers[0]
            self.passes(0.6)
        raise AssertionError("no answer")

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def somebody_lists(self, data: st.DataObject) -> None:
        self.lists(data.draw(st.sampled_from(self.clients)))

    def lists(self, client: Client) -> None:
        for tool in self.ask(client, "tools/list")["result"]["tools"]:
            program, own = tool["description"].split()
            client.shown[tool["name"]] = (program, own)
            if self.is_here(client.agent, program):
                assert self.may(client.agent, program, own), f"{tool['name']} is listed"

    @precondition(lambda self: any(client.shown for client in self.clients))
    @rule(data=st.data())
    def all_that_was_shown_is_called(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.shown]))
        for name in sorted(client.shown):
            self.call(client, name)

    def call(self, client: Client, name: str) -> None:
        program, tool = client.shown[name]
        may, here = self.may(client.agent, program, tool), self.is_here(client.agent, program)
        answer = self.ask(client, "tools/call", name=name, arguments={})
        if "result" in answer:
            by, called = answer["result"]["by"], answer["result"]["tool"]
            assert self.may(client.agent, by, called), f"{client.agent} reached {by} {called}, which it may not use"
            assert (by, called) == (program, tool) or not may, f"{name} led to {by} {called}, not {program} {tool}"
            return
        reason = answer["error"].get("data", {}).get("reason", "told by the link")
        known = ("unknown_tool", "tool_side_offline", "never_connected", "tool_side_starting")
        assert reason in known, f"{name} is refused: {reason}"
        assert not (may and here), f"{client.agent} may use {program} {tool}, but {name} is {reason}"
        # Of a registration that was taken away nothing is known when its agent may have the server again.
        if may and reason == "unknown_tool" and not (program == "home" and self.taken_away):
            raise AssertionError(f"{program} is away for now, and {name} is told to be unknown")

    def is_here(self, agent: str, program: str) -> bool:
        if program != "home":
            return program in self.dialled
        return bool({agent, SHARED, *self.others_of(agent)} & self.homes.keys())

    def others_of(self, agent: str) -> tuple[str, ...]:
        return words(self.sections[agent].get("tools_from", ""))

    # --- the model ---

    def may(self, agent: str, program: str, tool: str) -> bool:
        """Whether an agent may use a tool now."""
        section = self.sections[agent]
        listed = tool
        if program == "home":
            tools = self.entry.tools
            if not self.entry.listed or not self.serves(agent) or tool in self.withheld:
                return False
            if not chosen(tool, "home", tools.allow, tools.deny):
                return False
            listed = tools.rename.get(tool, tool)
        else:
            owner = DIALLED[program][0]
            if owner != agent and owner not in self.others_of(agent):
                return False
        return chosen(listed, program, words(section.get("allow", "")), words(section.get("deny", "")))

    def serves(self, agent: str) -> bool:
        """Whether the server is for an agent; the own instance of an agent serves those that have its tools too."""
        if agent in self.entry.agents:
            return True
        return self.entry.per_agent and any(other in self.entry.agents for other in self.others_of(agent))


QUICK = settings(max_examples=100, stateful_step_count=20, suppress_health_check=list(HealthCheck))
HUNT = settings(QUICK, max_examples=500, database=None, derandomize=True, phases=[Phase.generate])


@pytest.mark.timeout(600)
def test_a_name_leads_to_what_its_agent_may_use_now() -> None:
    run_state_machine_as_test(Machine, settings=QUICK)


# --- the machine must find these faults; without them it would prove nothing ---

Fault = contextlib.AbstractContextManager[None]


@contextlib.contextmanager
def replaced(owner: Any, name: str, faulty: Callable[..., Any]) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, faulty)
    try:
        yield
    finally:
        setattr(owner, name, original)


def names_are_for_ever() -> Fault:
    return replaced(device_view, "usable", lambda agent, kind, entry: entry)


def names_are_never_looked_at_again() -> Fault:
    return replaced(device_view, "usable", lambda agent, kind, entry: None)


def agents_of_a_server_do_not_matter() -> Fault:
    return replaced(permission, "reaches", lambda agent, registration: True)


def choices_do_not_matter() -> Fault:
    return replaced(ToolFilter, "allows", lambda self, alias, name: True)


def what_is_not_listed_is_asked_for() -> Fault:
    original = permission._listed_name
    return replaced(
        permission, "_listed_name", lambda registration, kind, entry: original(registration, kind, entry) or entry.name
    )


def what_was_found_holds_for_ever() -> Fault:
    original = device_view.DeviceView.find

    def faulty(self: Any, *args: Any) -> Any:
        self._found_at = self._device.agent.renewals
        return original(self, *args)

    return replaced(device_view.DeviceView, "find", faulty)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (names_are_for_ever, "which it may not use|told by the link|is tool_side_offline"),
        (names_are_never_looked_at_again, "but .* is unknown_tool|told to be unknown"),
        (agents_of_a_server_do_not_matter, "is listed|which it may not use|told to be unknown|no answer"),
        (choices_do_not_matter, "is listed|which it may not use"),
        (what_is_not_listed_is_asked_for, "told by the link"),
        (what_was_found_holds_for_ever, "which it may not use|told by the link"),
    ],
)
@pytest.mark.timeout(600)
def test_the_machine_finds_a_planted_fault(fault: Callable[[], Fault], found: str) -> None:
    with fault(), pytest.raises(AssertionError, match=found):
        run_state_machine_as_test(Machine, settings=HUNT)
