"""What the broker itself costs per relayed call: the real links and broker on transports that throw bytes away.

Run: PYTHONPATH=src .venv/bin/python benchmarks/in_process.py [--calls N] [--window W] [--profile]
Compare two versions by the ratio of their medians in one sitting; sockets and the kernel are not in these figures. Time
is the thread's own on the processor, so that other work on the machine counts as little as it can.
"""

import argparse
import asyncio
import cProfile
import itertools
import json
import pstats
import statistics
import struct
import time
from pathlib import Path
from typing import Any

from loguru import logger
from websockets.utils import apply_mask

from mcp_endpoint.app import loop_factory
from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.doors.limits.addresses import UNKNOWN
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.doors.websocket.link import WebSocketLink
from mcp_endpoint.doors.websocket.links import WebSocketLinks
from mcp_endpoint.link_log import LinkLog
from mcp_endpoint.settings.schema import ServerSettings, Settings
from mcp_endpoint.tokens import Tokens, urls
from options import Options
from report import Table, figure

KEY = "0123456789abcdef0123456789abcdef"
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PAD = "x" * 200
AGENTS = 20
CALLS = 20_000


class Loop:
    """The running loop, but every look at its clock is a new moment, so that each piece of input has its own turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.call_soon, self.call_later = loop.call_soon, loop.call_later
        self.time = itertools.count(1.0).__next__


class Nowhere:
    """A transport that takes everything."""

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        pass


def masked(frame: dict[str, object]) -> bytes:
    text, mask = json.dumps(frame).encode(), b"mask"
    length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack("!H", len(text))
    return b"\x81" + length + mask + apply_mask(text, mask)


async def costs_of(calls: int, window: int, profile: bool = False) -> list[float]:
    """Microseconds per call, of five runs of so many calls, `window` of which arrive in one piece."""
    logger.disable("mcp_endpoint")
    loop: Any = Loop(asyncio.get_running_loop())
    settings = Settings(server=ServerSettings(key=KEY))
    manager = ConnectionManager(settings, LinkLog(), "bench")
    port_state = PortState(settings, manager, Tokens(KEY), loop)
    links = WebSocketLinks(port_state)

    def connect(url: str) -> WebSocketLink:
        transport: Any = Nowhere()
        link = WebSocketLink(links, UNKNOWN)
        link.connection_made(transport)
        link.data_received(UPGRADE.format(path=url.removeprefix("ws://bench")).encode())
        return link

    def answer(number: int, result: object) -> bytes:
        return masked({"jsonrpc": "2.0", "id": number, "result": result})

    pairs = []
    for agent in range(AGENTS):
        tool_url, device_url = urls("http://bench", port_state.tokens.mint(f"bench{agent}"))
        tool, device = connect(tool_url), connect(device_url)
        tool.data_received(answer(1, {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}))
        tool.data_received(answer(2, {"tools": [{"name": "calculator", "inputSchema": {"type": "object"}}]}))
        pairs.append((tool, device))
    params = {"name": "calculator", "arguments": {"python_expression": "130000 * 130000", "pad": PAD}}
    asks = b"".join(
        masked({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params}) for n in range(window)
    )
    result = {"content": [{"type": "text", "text": PAD}], "isError": False}
    rounds = calls // window // AGENTS
    answers = [b"".join(answer(3 + n * window + k, result) for k in range(window)) for n in range(rounds)]

    async def relay() -> float:
        for tool, _ in pairs:
            session: Any = tool.session
            session._last_id = 2  # so that the answers, which were made beforehand, fit again
        spent = 0.0
        for reply in answers:
            await asyncio.sleep(0)  # a turn of the loop: its clock goes on
            started = time.thread_time()
            for tool, device in pairs:
                device.data_received(asks)
                tool.data_received(reply)
            spent += time.thread_time() - started
        return spent / (rounds * window * AGENTS) * 1e6

    await relay()
    costs = [await relay() for _ in range(5)]
    if profile:
        with cProfile.Profile() as profiler:
            await relay()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    return costs


def measure(options: Options, folder: Path) -> list[Table]:
    """Frames that arrive four in one piece, and one by one."""
    table = Table(
        "The broker's own code per call, without sockets and kernel",
        ["frames in one piece", "µs of the thread per call"],
        notes=[f"Median of {5 * options.rounds} runs of {CALLS:,} calls."],
    )
    costs: dict[int, list[float]] = {4: [], 1: []}
    for _ in range(options.rounds):
        for window, found in costs.items():
            found += options.run(costs_of(CALLS, window))
    for window, found in costs.items():
        table.add(str(window), figure(statistics.median(found), 2))
    return [table]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--window", type=int, default=4, help="frames that arrive in one piece")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        costs = runner.run(costs_of(options.calls, options.window, options.profile))
    print(f"window {options.window}: {statistics.median(costs):.2f} us per call, median of 5 runs of {options.calls}")
