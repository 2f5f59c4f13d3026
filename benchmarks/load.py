"""The load: tool sides and devices of many agents in this process, which has a core of its own."""

import asyncio
import json
from collections.abc import Sequence
from time import perf_counter

from relays import Relay
from support.light_links import LightDevice, LightLink, LightProgram, id_of
from support.sockets import BINARY, ws_frame

PATIENCE = 60.0
"""Seconds that a number of links have to join, and that calls may take."""
SIZE = 200
"""Bytes of padding in arguments and results."""


class NatsLink(LightLink):
    """Frames as messages of NATS's client protocol (docs.nats.io, "NATS Protocol"), in binary frames."""

    subject = peer = b""
    """Where it listens, and where it sends to."""
    _text = b""

    def opened(self) -> None:
        self._command(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %s 1\r\n' % self.subject)

    def _command(self, text: bytes) -> None:
        self.transport.write(ws_frame(BINARY, text))

    def send(self, frame: bytes) -> None:
        self._command(b"PUB %s %d\r\n%s\r\n" % (self.peer, len(frame), frame))

    def got(self, frame: bytes) -> None:
        text = self._text + frame if self._text else frame
        at = 0
        while (end := text.find(b"\r\n", at)) >= 0:
            if text.startswith(b"MSG ", at):
                start, length = end + 2, int(text[text.rindex(b" ", at, end) : end])
                if len(text) < start + length + 2:
                    break
                super().got(text[start : start + length])
                end = start + length
            elif text.startswith(b"PING", at):
                self._command(b"PONG\r\n")
            at = end + 2
        self._text = text[at:]


class Caller(LightDevice):
    """A device that calls the tool `t`, as many times at once as it is told, and keeps how long each call took."""

    greets = True
    """Whether it speaks to a broker, which wants to be greeted and says which tools there are."""

    def __init__(self, path: str, size: int = SIZE) -> None:
        super().__init__(path)
        params = {"name": "t", "arguments": {"expression": "130000 * 130000", "pad": "x" * size}}
        tail = json.dumps(params).encode().replace(b"%", b"%%")
        self._call = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":' + tail + b"}"
        self._number = 10
        self._sent: dict[bytes, float] = {}
        self._left: float = 0
        self._all = asyncio.Event()
        self.took: list[float] = []
        """Seconds."""
        self.errors = 0

    def opened(self) -> None:
        if self.greets:
            super().opened()
        else:
            self.ready.set()

    def got(self, frame: bytes) -> None:
        id_ = id_of(frame)
        began = self._sent.pop(id_, None)
        if began is None:
            if not self.ready.is_set():
                super().got(frame)
            return
        self.took.append(perf_counter() - began)
        self.errors += b'"error"' in frame[:200]
        if self._left > 0:
            self._fire()
        elif not self._sent:
            self._all.set()

    def _fire(self) -> None:
        self._left -= 1
        self._number += 1
        self._sent[b"%d" % self._number] = perf_counter()
        self.send(self._call % self._number)

    def begin(self, calls: float, window: int = 1) -> None:
        """Make so many calls, `window` at a time."""
        self._left = calls
        self._all.clear()
        for _ in range(window):
            self._fire()

    async def end(self) -> None:
        """Begin no more calls; returns when all are answered."""
        self._left = 0
        await self.answered()

    async def answered(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._all.wait()
        assert self.errors == 0, f"{self.errors} calls were answered by an error"


class _NatsProgram(NatsLink, LightProgram):
    pass


class _NatsCaller(NatsLink, Caller):
    greets = False

    def opened(self) -> None:
        super().opened()
        self.ready.set()


class _PlainCaller(Caller):
    greets = False


def links_of(relay: Relay, number: int, size: int = SIZE) -> tuple[LightProgram, Caller]:
    """Tool side and device of one agent, not connected yet."""
    paths = relay.path("tool", number), relay.path("device", number)
    if relay.name != "nats":
        return LightProgram(paths[0], size), (Caller if relay.broker else _PlainCaller)(paths[1], size)
    program, caller = _NatsProgram(paths[0], size), _NatsCaller(paths[1], size)
    program.subject = caller.peer = b"to_tool_%d" % number
    caller.subject = program.peer = b"to_device_%d" % number
    return program, caller


async def connect(relay: Relay, links: Sequence[LightLink], at_once: int = 64) -> None:
    """Dial for these links, so many at a time."""
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(at_once)

    async def dial(link: LightLink) -> None:
        async with gate:
            await loop.create_connection(lambda: link, relay.host, relay.port)
            await link.upgraded.wait()

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*map(dial, links))


def pairs_of(relay: Relay, agents: int, size: int = SIZE, first: int = 0) -> tuple[list[LightProgram], list[Caller]]:
    """The tool sides and the devices of so many agents from the `first` on, not connected yet."""
    pairs = [links_of(relay, number, size) for number in range(first, first + agents)]
    return [program for program, _ in pairs], [caller for _, caller in pairs]


async def join(relay: Relay, programs: Sequence[LightProgram], callers: Sequence[Caller]) -> None:
    """Connect them, the tool sides first; returns when every device is ready."""
    await connect(relay, programs)
    await connect(relay, callers)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(caller.ready.wait() for caller in callers))


async def call_in_turn(callers: Sequence[Caller], calls: int) -> list[float]:
    """How long each call took, seconds, when every caller has one in flight."""
    for caller in callers:
        caller.took.clear()
        caller.begin(calls)
    for caller in callers:
        await caller.answered()
    return [seconds for caller in callers for seconds in caller.took]


def hang_up(links: Sequence[LightLink]) -> None:
    for link in links:
        link.transport.abort()
