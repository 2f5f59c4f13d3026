"""Tool programs and devices without sockets: a broker, its time, and who is connected to it."""

from typing import Any

from msgspec.json import decode, encode

from mcp_endpoint.broker.agent import Agent
from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.broker.link import Ended, Peer, Role, Session
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.settings.schema import AgentSettings, BrokerSettings, ServerSettings, Settings

TIMEOUT = 28.0


class Told:
    """A journal that keeps what it was told."""

    def __init__(self) -> None:
        self.states: list[str] = []
        """The reasons of the states of the agent `agent`."""
        self.sentences: list[tuple[str, str]] = []
        """(agent, sentence) of every agent."""
        self.notes: list[str] = []

    def opened(self, session: Session, peer: Peer) -> None:
        pass

    def ended(self, session: Session, peer: Peer, ended: Ended, seconds: float) -> None:
        pass

    def changed(self, agent_id: str, reason: str, sentence: str) -> None:
        self.sentences.append((agent_id, sentence))
        if agent_id == "agent":
            self.states.append(reason)

    def noted(self, session: Session, peer: Peer, note: Note) -> None:
        self.notes.append(note.reason)


class Program:
    """A tool program that answers at once whatever it is asked, unless told to be silent; `mute` are methods."""

    call_timeout: float | None = None

    def __init__(
        self,
        world: "World",
        name: str = "calc",
        tools: tuple[str, ...] = ("add",),
        *,
        agent: str = "agent",
        mute: tuple[str, ...] = (),
        **peer: Any,
    ) -> None:
        self.world = world
        self.name = name
        self.tools = tools
        self.peer = Peer("test", **peer)
        self.heard = world.now
        self.closed: End | None = None
        self.bridge_alive = self.child_alive = True
        self.keeps_calls = False
        self.mute = mute
        self.asked: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.inbox: list[dict[str, Any]] = []
        session = world.manager.join(Role.TOOL, agent, self, world.now)
        assert not isinstance(session, End)
        self.session = session
        self.work()

    def ping(self, now: float) -> None:
        self.heard = now if self.bridge_alive else min(self.heard, now - 1e-6)

    def traffic(self) -> dict[str, Any]:
        return {"frames_in": 1, "last_frame": None}

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        self.inbox.append(decode(frame))

    def close(self, end: End) -> None:
        self.closed = end

    def work(self) -> None:
        while self.inbox and self.child_alive and self.bridge_alive and self.closed is None:
            frame = self.inbox.pop(0)
            if "method" not in frame:
                continue  # an answer to what it asked itself
            self.asked.append(frame["method"])
            self.requests.append(frame)
            if frame["method"] in self.mute:
                continue
            if frame["method"] == "initialize":
                self.answer(frame, {"capabilities": {"tools": {}}, "serverInfo": {"name": self.name}})
            elif frame["method"] == "tools/list":
                self.answer(
                    frame, {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]}
                )
            elif frame["method"] == "ping" or (frame["method"] == "tools/call" and not self.keeps_calls):
                self.answer(frame, {"by": id(self)})

    def answer(self, frame: dict[str, Any], result: object) -> None:
        self.heard = self.world.now
        self.session.receive(encode({"jsonrpc": "2.0", "id": frame["id"], "result": result}), self.world.now)

    def notify(self, method: str) -> None:
        self.session.receive(encode({"jsonrpc": "2.0", "method": method}), self.world.now)

    def leave(self) -> None:
        self.world.programs.remove(self)
        end = self.closed or End.CONNECTION_LOST
        self.closed = end
        self.world.manager.ended(self.session, self, Ended(end, end.code), self.world.now)


class World:
    """A broker of its own; `agents` are the `[agent …]` sections, `limits` the keys of [broker]."""

    def __init__(self, agents: dict[str, AgentSettings] | None = None, **limits: Any) -> None:
        self.now = 100.0
        self.told = Told()
        broker = BrokerSettings(**{"call_timeout": TIMEOUT, "offline_grace": 600} | limits)
        settings = Settings(server=ServerSettings(key="k"), broker=broker, agents=agents or {})
        self.manager = ConnectionManager(settings, self.told, "test")
        self.programs: list[Program] = []
        self.replies: list[dict[str, Any]] = []

    def join(self, *args: Any, **more: Any) -> Program:
        self.programs.append(Program(self, *args, **more))
        return self.programs[-1]

    def passes(self, seconds: float) -> None:
        """Time passes in small steps, and every program does its work meanwhile."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.1, end)
            self.manager.sweep(self.now)
            for program in list(self.programs):
                program.work()
                if program.closed is not None:
                    program.leave()

    def agent(self) -> Agent:
        return self.manager._agents["agent"]

    def serving(self) -> list[int]:
        return [id(tool.link) for tool in self.agent().live_tools()] if "agent" in self.manager._agents else []


class Device:
    """A device that keeps what it gets."""

    call_timeout: float | None = None

    def __init__(self, world: World, *, agent: str = "agent", **peer: Any) -> None:
        self.world = world
        self.peer = Peer("test", **peer)
        self.heard = 0.0
        self.got: list[dict[str, Any]] = []
        session = world.manager.join(Role.DEVICE, agent, self, world.now)
        assert not isinstance(session, End)
        self.session = session

    def ping(self, now: float) -> None:
        pass

    def traffic(self) -> dict[str, Any]:
        return {"frames_in": 1, "last_frame": None}

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        self.got.append(decode(frame))

    def close(self, end: End) -> None:
        raise AssertionError(end)

    def call(self, id_: int, name: str = "add", **more: Any) -> None:
        params = {"name": name, "arguments": {}} | more
        frame = {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}
        self.session.receive(encode(frame), self.world.now)

    def leave(self) -> None:
        self.world.manager.ended(self.session, self, Ended(End.PEER_CLOSED, End.PEER_CLOSED.code), self.world.now)
