"""Thousands of interleavings of tool sides and devices against the broker, and the faults they must find.

The machine plays every peer. Its invariant: every request of a device gets one right answer (or none if it was
cancelled), under the id it was sent with, from a program of the device's own agent that holds the tool it was shown.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.json import decode, encode

from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.broker.device_side.device_side import DeviceSide
from mcp_endpoint.broker.link import Ended, Peer, Role, Session
from mcp_endpoint.broker.offers.naming import clean
from mcp_endpoint.broker.tool_side.registry import Registry
from mcp_endpoint.broker.tool_side.tool_side import ToolSide
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.settings.schema import BrokerSettings, ServerSettings, Settings
from mcp_endpoint.wire import envelope as wire

AGENTS = ("one", "two")
IDS: tuple[Any, ...] = (0, "", "1", 1, 2**53 + 1, "é" * 60, -3)
PROGRAMS = {"alpha": ({"a", "shared"}, {"a", "shared"}), "beta": ({"b", "shared"}, {"b2", "shared"})}
"""Of each program two versions; those of alpha look alike."""
CALL_TIMEOUT, GRACE = 28.0, 60.0


class Quiet:
    def opened(self, session: Session, peer: Peer) -> None:
        pass

    def ended(self, session: Session, peer: Peer, ended: Ended, seconds: float) -> None:
        pass

    def changed(self, agent_id: str, reason: str, sentence: str) -> None:
        pass

    def noted(self, session: Session, peer: Peer, note: Note) -> None:
        pass


class Wire:
    """A link that keeps what was sent, until the peer the machine plays looks at it."""

    call_timeout: float | None = None

    def __init__(self) -> None:
        self.peer = Peer("test")
        self.sent: list[dict[str, Any]] = []
        self.closed: End | None = None
        self.heard = 0.0
        self.dead = False
        """Whether the peer answers nothing any more, not even pings of the connection."""

    def ping(self, now: float) -> None:
        self.heard = min(self.heard, now - 1e-6) if self.dead else now

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        if self.closed is None:
            self.sent.append(decode(frame))

    def close(self, end: End) -> None:
        self.closed = self.closed or end

    def traffic(self) -> dict[str, float | int | None]:
        return {"frames_in": 1, "last_frame": None}

    def take(self) -> list[dict[str, Any]]:
        sent, self.sent = self.sent, []
        return sent


@dataclass(eq=False)
class Program:
    """A tool program: answers the handshake when it is its turn, and calls when the machine says so."""

    agent: str
    name: str
    tools: set[str]
    link: Wire
    session: Session
    todo: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    answered: list[int] = field(default_factory=list)
    ready: bool = False
    gone: bool = False

    def __repr__(self) -> str:
        return f"{self.agent}/{self.name}{sorted(self.tools)}"


@dataclass(eq=False)
class Client:
    """A device, and what it is owed."""

    agent: str
    link: Wire
    session: Session
    owed: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)


def key(id_: Any) -> str:
    return encode(id_).decode()


class Broker(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        limits = BrokerSettings(call_timeout=CALL_TIMEOUT, offline_grace=GRACE, max_calls=1000, max_tool_sides=100)
        settings = Settings(server=ServerSettings(key="key"), broker=limits)
        self.manager = ConnectionManager(settings, Quiet(), "test")
        self.now = 1000.0
        self.programs: list[Program] = []
        self.clients: list[Client] = []
        self.serial = 0
        self.variants: dict[tuple[str, str], set[str]] = {}
        self.varied: set[tuple[str, str]] = set()

    # --- what the peers do ---

    @initialize(agent=st.sampled_from(AGENTS))
    def somebody(self, agent: str) -> None:
        self.tool_joins(agent, "alpha", 0, True)
        self.device_joins(agent)

    @rule(
        agent=st.sampled_from(AGENTS),
        name=st.sampled_from(sorted(PROGRAMS)),
        variant=st.integers(0, 1),
        at_once=st.booleans(),
    )
    def tool_joins(self, agent: str, name: str, variant: int, at_once: bool) -> None:
        link = Wire()
        session = self.manager.join(Role.TOOL, agent, link, self.now)
        assert not isinstance(session, End)
        program = Program(agent, name, PROGRAMS[name][variant], link, session)
        self.programs.append(program)
        if self.variants.setdefault((agent, name), program.tools) != program.tools:
            self.varied.add((agent, name))
        while at_once and not program.ready:
            self.program_reads(program)
            self.program_works(program)
        self.look()

    @rule(agent=st.sampled_from(AGENTS))
    def device_joins(self, agent: str) -> None:
        link = Wire()
        session = self.manager.join(Role.DEVICE, agent, link, self.now)
        assert not isinstance(session, End)
        client = Client(agent, link, session)
        self.clients.append(client)
        self.request(client, "hello", "initialize", {"protocolVersion": "2024-11-05", "clientInfo": {"name": "test"}})
        self.look()

    def program_reads(self, program: Program) -> None:
        for frame in program.link.take():
            if frame.get("method") == "tools/call":
                params = frame["params"]
                assert params["arguments"]["agent"] == program.agent, "a call reached another agent's program"
                assert frame["id"] not in program.calls, "an id is in use twice on one link"
                program.calls[frame["id"]] = params
            elif frame.get("method") == "notifications/cancelled":
                program.calls.pop(frame["params"]["requestId"], None)
                program.answered.append(frame["params"]["requestId"])
            elif "id" in frame:
                program.todo.append(frame)

    def program_works(self, program: Program) -> None:
        if not program.todo or program.link.dead:
            return
        frame = program.todo.pop(0)
        if frame["method"] == "ping":
            result: Any = {}
        elif frame["method"] == "initialize":
            result = {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": program.name},
            }
        else:
            result = {
                "tools": [{"name": tool, "description": f"{program.name} {tool}"} for tool in sorted(program.tools)]
            }
            program.ready = True
        self.say(program, {"jsonrpc": "2.0", "id": frame["id"], "result": result})

    def say(self, peer: Program | Client, frame: dict[str, Any]) -> None:
        if peer.link.closed is None and not peer.link.dead:
            peer.link.heard = self.now
            peer.session.receive(encode(frame), self.now)

    def request(self, client: Client, id_: Any, method: str, params: dict[str, Any]) -> None:
        self.serial += 1
        client.owed[key(id_)] = {"method": method, "serial": self.serial, "params": params}
        self.say(client, {"jsonrpc": "2.0", "id": id_, "method": method, "params": params})

    @precondition(lambda self: self.programs)
    @rule(data=st.data())
    def a_program_goes_on_with_its_handshake(self, data: st.DataObject) -> None:
        program = data.draw(st.sampled_from(self.programs))
        self.program_reads(program)
        self.program_works(program)
        self.look()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def a_device_lists(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.clients))
        if '"list"' not in client.owed:
            self.request(client, "list", "tools/list", {})
        self.look()

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), id_=st.sampled_from(IDS))
    def a_device_calls(self, data: st.DataObject, id_: Any) -> None:
        client = data.draw(st.sampled_from(self.clients))
        names = [*sorted(client.shown), "a", "shared", "b", "no_such_tool"]
        name = data.draw(st.sampled_from(names))
        if key(id_) in client.owed:
            return
        arguments = {"agent": client.agent, "tag": f"{id(client)}/{self.serial + 1}"}
        self.request(client, id_, "tools/call", {"name": name, "arguments": arguments, "_meta": {"progressToken": id_}})
        self.look()

    @precondition(lambda self: any(client.owed for client in self.clients))
    @rule(data=st.data())
    def a_device_cancels(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.owed]))
        id_ = data.draw(st.sampled_from(sorted(client.owed)))
        del client.owed[id_]
        params = {"requestId": decode(id_.encode())}
        self.say(client, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        self.look()

    def busy(self) -> list[Program]:
        for program in self.programs:
            self.program_reads(program)
        return [program for program in self.programs if program.calls]

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), how=st.sampled_from(["result", "error", "both", "neither", "twice", "as a string"]))
    def a_program_answers(self, data: st.DataObject, how: str) -> None:
        program = data.draw(st.sampled_from(self.busy()))
        number = data.draw(st.sampled_from(sorted(program.calls)))
        params = program.calls[number]
        frame: dict[str, Any] = {"jsonrpc": "2.0", "id": str(number) if how == "as a string" else number}
        if how != "neither" and how != "error":
            frame["result"] = {"echo": params["arguments"], "by": program.name, "tool": params["name"]}
        if how in ("error", "both"):
            frame["error"] = {"code": -1, "message": params["arguments"]["tag"]}
        if how != "as a string":
            del program.calls[number]
            program.answered.append(number)
        self.say(program, frame)
        if how == "twice":
            self.say(program, frame)
        self.look()

    @precondition(lambda self: any(program.answered for program in self.programs))
    @rule(data=st.data())
    def a_program_answers_late(self, data: st.DataObject) -> None:
        program = data.draw(st.sampled_from([program for program in self.programs if program.answered]))
        number = data.draw(st.sampled_from(program.answered))
        self.say(program, {"jsonrpc": "2.0", "id": number, "result": {"echo": "late", "by": program.name}})
        self.look()

    @precondition(lambda self: self.busy())
    @rule(data=st.data())
    def a_program_answers_what_another_was_asked(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(self.busy()))
        number = data.draw(st.sampled_from(sorted(asked.calls)))
        program = data.draw(st.sampled_from(self.programs))
        if number not in program.calls and number not in [frame["id"] for frame in program.todo]:
            self.say(program, {"jsonrpc": "2.0", "id": number, "result": {"echo": "not mine", "by": program.name}})
        self.look()

    @precondition(lambda self: self.busy())
    @rule(data=st.data())
    def a_program_reports_progress(self, data: st.DataObject) -> None:
        program = data.draw(st.sampled_from(self.busy()))
        number = data.draw(st.sampled_from(sorted(program.calls)))
        token = program.calls[number]["_meta"]["progressToken"]
        tag = program.calls[number]["arguments"]["tag"]
        params = {"progressToken": token, "progress": 1, "message": tag}
        self.say(program, {"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        self.look()

    @precondition(lambda self: self.programs)
    @rule(data=st.data())
    def a_tool_link_ends(self, data: st.DataObject) -> None:
        program = data.draw(st.sampled_from(self.programs))
        self.end(program)
        self.programs.remove(program)
        self.look()

    @precondition(lambda self: self.programs)
    @rule(data=st.data(), tools=st.sampled_from([{"b", "shared"}, {"b2"}, {"c"}]))
    def a_program_changes_its_tools(self, data: st.DataObject, tools: set[str]) -> None:
        program = data.draw(st.sampled_from(self.programs))
        if program.name == "alpha":
            return
        program.tools = tools
        self.varied.add((program.agent, program.name))
        self.say(program, {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        self.look()

    @precondition(lambda self: self.programs)
    @rule(data=st.data(), restarted=st.booleans())
    def a_program_dies_and_its_link_stays(self, data: st.DataObject, restarted: bool) -> None:
        program = data.draw(st.sampled_from(self.programs))
        program.link.dead = True
        if restarted:
            self.tool_joins(program.agent, program.name, int("b2" in program.tools), True)

    @precondition(lambda self: self.programs)
    @rule(data=st.data())
    def a_program_is_restarted(self, data: st.DataObject) -> None:
        self.a_program_dies_and_its_link_stays(data, True)
        self.time_passes(2.2)
        self.links_that_the_broker_closed_end()

    @precondition(lambda self: any(program.link.closed for program in self.programs))
    @rule()
    def links_that_the_broker_closed_end(self) -> None:
        for program in [program for program in self.programs if program.link.closed]:
            self.end(program)
            self.programs.remove(program)
        self.look()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def a_device_link_ends(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.clients))
        self.clients.remove(client)
        self.end(client)
        self.look()

    def end(self, peer: Program | Client) -> None:
        ended = Ended(peer.link.closed or End.CONNECTION_LOST, 1006)
        peer.link.closed = ended.end
        self.manager.ended(peer.session, peer.link, ended, self.now)

    @rule(seconds=st.sampled_from([0.2, 1.0, 9.0, CALL_TIMEOUT + 1, GRACE + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.manager.sweep(self.now)
        self.look()

    # --- what the devices must see ---

    def look(self) -> None:
        for program in self.programs:
            if program.link.closed is End.REPLACED:
                assert program.link.dead, "a program that was alive lost its link to a look-alike"
        for client in self.clients:
            for frame in client.link.take():
                if frame.get("method") == "notifications/progress":
                    owed = client.owed[key(frame["params"]["progressToken"])]
                    assert owed["params"]["arguments"]["tag"] == frame["params"]["message"]
                elif "method" not in frame:
                    self.check(client, frame)

    def check(self, client: Client, frame: dict[str, Any]) -> None:
        assert ("result" in frame) != ("error" in frame)
        assert key(frame["id"]) in client.owed, f"an answer that nobody waits for: {frame}"
        owed = client.owed.pop(key(frame["id"]))
        if owed["method"] == "tools/list":
            names = [tool["name"] for tool in frame["result"]["tools"]]
            assert len(set(map(clean, names))) == len(names), f"two tools under one name: {names}"
            for tool in frame["result"]["tools"]:
                holder, name = tool["description"].split()
                client.shown[tool["name"]] = (holder, name)
        elif owed["method"] == "tools/call":
            self.check_call(client, owed["params"], frame)
        else:
            assert "result" in frame

    def check_call(self, client: Client, params: dict[str, Any], frame: dict[str, Any]) -> None:
        arguments, name = params["arguments"], params["name"]
        if "result" in frame:
            assert frame["result"].get("echo") == arguments, "the answer to another call"
            if name in client.shown:
                assert (frame["result"]["by"], frame["result"]["tool"]) == client.shown[name], "another tool answered"
            return
        error = frame["error"]
        if error["code"] == -1:
            assert error["message"] == arguments["tag"]
            return
        reason = error["data"]["reason"]
        assert error["data"]["agent_id"] == client.agent
        assert error["code"] != Code.INVALID_REQUEST, f"a good request was refused: {error}"
        if error["code"] == Code.NO_TOOL_SIDE and name in client.shown:
            holder, tool = client.shown[name]
            serving = [p for p in self.live(client.agent) if p.name == holder and tool in p.tools]
            # Programs of one name with other tools have registrations of their own, so only a lone one must be found.
            assert not serving or (client.agent, holder) in self.varied, f"{reason} although {serving} is there"
        elif error["code"] == Code.INVALID_PARAMS:
            assert name not in client.shown or not self.live(client.agent)

    def live(self, agent: str) -> list[Program]:
        """The programs that must be found: one that was asked whether it lives, and has not answered, need not be."""
        return [
            p
            for p in self.programs
            if p.agent == agent and p.ready and p.link.closed is None and not p.link.dead
            if all(frame.get("method") != "ping" for frame in (*p.todo, *p.link.sent))
        ]

    def teardown(self) -> None:
        self.time_passes(CALL_TIMEOUT + 1)
        for client in self.clients:
            assert not client.owed, f"no outcome for {client.owed}"
        for peer in (*self.programs, *self.clients):
            self.end(peer)
        self.now += GRACE + CALL_TIMEOUT + 11
        self.manager.sweep(self.now)
        self.manager.sweep(self.now)
        assert self.manager.report(self.now, str)["agents"] == {}, "something is left of an agent that nobody uses"
        assert len(self.manager.timers) == 0, "a deadline is left"
        assert self.manager.counts()["total_connections"] == 0


MACHINE = settings(max_examples=800, stateful_step_count=40, suppress_health_check=list(HealthCheck))
HUNT = settings(MACHINE, max_examples=3000, database=None, derandomize=True, phases=[Phase.generate])


def test_every_request_has_one_right_outcome() -> None:
    run_state_machine_as_test(Broker, settings=MACHINE)


# --- the machine must find these faults; without them it would prove nothing ---


@contextlib.contextmanager
def replaced(owner: type | Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def owner_check_gone() -> contextlib.AbstractContextManager[None]:
    """Answers are matched by id alone, whatever link they come from."""
    pending: dict[int, Any] = {}

    def make(init: Callable[..., None]) -> Callable[..., None]:
        def faulty(self: ToolSide, *args: Any) -> None:
            init(self, *args)
            self.pending = pending

        return faulty

    return replaced(ToolSide, "__init__", make)


def answer_delivered_twice() -> contextlib.AbstractContextManager[None]:
    def make(answered: Callable[..., None]) -> Callable[..., None]:
        def faulty(self: DeviceSide, call: Any, envelope: wire.Envelope, now: float) -> None:
            answered(self, call, envelope, now)
            self.link.send(wire.result(call.id, b"{}"))

        return faulty

    return replaced(DeviceSide, "answered", make)


def truthiness_test_on_ids() -> contextlib.AbstractContextManager[None]:
    def make(id_key: Callable[[Any], bytes | None]) -> Callable[[Any], bytes | None]:
        return lambda raw: id_key(raw) if decode(raw) else None

    return replaced(wire, "id_key", make)


def old_close_unregisters_the_new_link() -> contextlib.AbstractContextManager[None]:
    def make(left: Callable[..., None]) -> Callable[..., None]:
        def faulty(self: Registry, tool: ToolSide, ended: Ended, now: float) -> None:
            for registration in self.registrations:
                if tool.registration is None and tool.info is not None and registration.identity == tool.info.name:
                    if registration.live is not None:
                        registration.live.registration = None
                    registration.live, tool.registration = tool, registration
            left(self, tool, ended, now)

        return faulty

    return replaced(Registry, "left", make)


def late_answer_delivered() -> contextlib.AbstractContextManager[None]:
    calls: dict[tuple[int, int], Any] = {}

    def make(receive: Callable[..., None]) -> Callable[..., None]:
        def faulty(self: ToolSide, frame: bytes, now: float) -> None:
            calls.update({(id(self), number): call for number, call in self.pending.items()})
            members = decode(frame)
            late = calls.get((id(self), members.get("id"))) if "method" not in members else None
            if late is not None and members["id"] not in self.pending:
                late.caller.link.send(wire.result(late.id, encode(members.get("result"))))
            receive(self, frame, now)

        return faulty

    return replaced(ToolSide, "receive", make)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (owner_check_gone, "the answer to another call|another tool answered|an answer that nobody waits for"),
        (answer_delivered_twice, "an answer that nobody waits for"),
        (truthiness_test_on_ids, "a good request was refused|no outcome"),
        (old_close_unregisters_the_new_link, "is there"),
        (late_answer_delivered, "an answer that nobody waits for|the answer to another call"),
    ],
)
@pytest.mark.timeout(600)
def test_the_machine_finds_a_planted_fault(
    fault: Callable[[], contextlib.AbstractContextManager[None]], found: str
) -> None:
    with fault(), pytest.raises(AssertionError, match=found):
        run_state_machine_as_test(Broker, settings=HUNT)
