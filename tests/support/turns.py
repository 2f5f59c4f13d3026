"""A broker whose turns of the event loop are counted and whose clock nobody waits for, and peers on it without sockets.

The real links, doors' fairness and broker run in this process; what happens in which turn is the same on any machine.
"""

import asyncio
import json
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.doors.limits.addresses import UNKNOWN
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.doors.websocket.link import WebSocketLink
from mcp_endpoint.doors.websocket.links import WebSocketLinks
from mcp_endpoint.settings.schema import AgentSettings, ServerSettings, Settings
from mcp_endpoint.tokens import Tokens, urls
from support.offline import Told
from support.programs.abuse import HEAD
from support.sockets import TEXT, ws_frame

A_TURN = 0.001
"""Seconds that a turn of the loop takes."""
READ = 65_536
"""Bytes that a socket has at most when it is read."""


class _Selector(selectors.BaseSelector):
    """Asked once in each turn of the loop. It waits for nothing: the clock goes on at once to what is due next."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.turns = 0
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is due, so what is waited for will never come"
        self.turns += 1
        self.now += timeout or A_TURN
        return self._inner.select(0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class TurnLoop(asyncio.SelectorEventLoop):
    """An event loop that counts its turns; its time stands still within one, as uvloop's does."""

    def __init__(self) -> None:
        self._turning = _Selector()
        super().__init__(self._turning)

    def time(self) -> float:
        return self._turning.now

    @property
    def turns(self) -> int:
        return self._turning.turns

    async def pass_turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)


def run(main: Callable[["TurnLoop"], Coroutine[Any, Any, None]]) -> None:
    """Run `main` with its loop to the end."""

    async def begin() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TurnLoop)
        await main(loop)

    with asyncio.Runner(loop_factory=TurnLoop) as runner:
        runner.run(begin())


class Port:
    """One port of a broker with the links that the test opens; `agents` are the `[agent …]` sections."""

    def __init__(self, loop: TurnLoop, **agents: AgentSettings) -> None:
        settings = Settings(server=ServerSettings(key="k"), agents=agents)
        manager = ConnectionManager(settings, Told(), "test")
        self.loop = loop
        self.state = PortState(settings, manager, Tokens("k"), loop)
        self.websockets = WebSocketLinks(self.state)

    def agent_id(self, name: str) -> str:
        return self.state.tokens.read(self.state.tokens.mint(name))

    def tool_side(self, agent: str) -> "ToolSide":
        """A tool program that has the tool `t` and answers its calls at once."""
        program = ToolSide(self, urls("http://x", self.state.tokens.mint(agent))[0])
        program.link.data_received(answer_to(1, {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}))
        program.link.data_received(answer_to(2, {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}))
        return program

    def device(self, agent: str) -> "Peer":
        return Peer(self, urls("http://x", self.state.tokens.mint(agent))[1])


class Peer:
    """One WebSocket link. What it says comes as from a socket: a piece in each turn, while the broker reads."""

    def __init__(self, port: Port, url: str) -> None:
        self.port = port
        self.inbox: list[dict[str, Any]] = []
        self._reading = True
        self._unread = b""
        self._unsaid: deque[bytes] = deque()
        self.link = WebSocketLink(port.websockets, UNKNOWN)
        self.link.connection_made(self)  # type: ignore[arg-type]
        self.link.data_received(HEAD.format(path=url.removeprefix("ws://x"), header="").encode())

    def say(self, *texts: bytes) -> None:
        """Send frames as soon as they are read."""
        data = b"".join(ws_frame(TEXT, text) for text in texts)
        self._unsaid += (data[start : start + READ] for start in range(0, len(data), READ))
        self.port.loop.call_soon(self._deliver)

    def floods(self, *texts: bytes) -> None:
        """Say these frames again and again for ever."""
        data = b"".join(ws_frame(TEXT, text) for text in texts)
        data *= max(1, 4 * READ // len(data))
        pieces = [data[start : start + READ] for start in range(0, len(data), READ)]

        def more() -> None:
            if len(self._unsaid) < 2:
                self._unsaid += pieces
            self._deliver()
            self.port.loop.call_soon(more)

        more()

    def _deliver(self) -> None:
        if self._unsaid and self._reading:
            self.link.data_received(self._unsaid.popleft())
            if self._unsaid:
                self.port.loop.call_soon(self._deliver)

    async def reply(self, id_: object, most_turns: int) -> dict[str, Any]:
        """The answer with this id, which comes within so many turns."""
        for _ in range(most_turns + 1):
            for frame in self.inbox:
                if frame.get("id") == id_ and "method" not in frame:
                    return frame
            await asyncio.sleep(0)
        raise AssertionError(f"no answer within {most_turns} turns")

    def got(self, frame: dict[str, Any]) -> None:
        self.inbox.append(frame)

    # --- the transport that the link has ---

    def write(self, data: bytes) -> None:
        self._unread += data
        if self._unread.startswith(b"HTTP/"):
            head, _, self._unread = self._unread.partition(b"\r\n\r\n")
            assert b" 101 " in head
        while len(self._unread) >= 2:
            opcode, start, length = self._unread[0], 2, self._unread[1]
            if length >= 126:
                start = 4 if length == 126 else 10
                length = int.from_bytes(self._unread[2:start])
            if len(self._unread) < start + length:
                return
            payload, self._unread = self._unread[start : start + length], self._unread[start + length :]
            if opcode == 0x80 | TEXT:
                self.got(json.loads(payload))

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self.port.loop.call_soon(self._deliver)

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("192.0.2.1", 1)

    def is_closing(self) -> bool:
        return False


class ToolSide(Peer):
    """A tool program; `result` is what its tool returns."""

    result: object = {"content": []}

    def got(self, frame: dict[str, Any]) -> None:
        super().got(frame)
        if frame.get("method") == "tools/call":
            self.say(answer_text(frame["id"], self.result))


def answer_text(id_: object, result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}).encode()


def answer_to(id_: object, result: object) -> bytes:
    return ws_frame(TEXT, answer_text(id_, result))
