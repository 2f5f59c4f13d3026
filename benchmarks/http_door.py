"""What the HTTP door adds to a call: an SDK server called directly over Streamable HTTP, and through the broker.

Run: PYTHONPATH=src .venv/bin/python benchmarks/http_door.py [--calls N] [--rounds R]
The server is the official SDK's, in one process for each way in: Streamable HTTP itself, or stdio behind `pipe`. The
client keeps one connection and one call in flight; rounds alternate, so that both see the same machine. p50 in ms.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from mcp_endpoint.tokens import Tokens

ROOT = Path(__file__).parents[1]
KEY = "0123456789abcdef0123456789abcdef"
SERVER = """
import sys
from mcp.server.mcpserver import MCPServer
server = MCPServer("Echo", log_level="WARNING")
@server.tool(structured_output=False)
def echo(text: str) -> str:
    return text
if sys.argv[1:]:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]), json_response=True)
else:
    server.run("stdio")
"""


class Client:
    """The least of a client: what is measured is the way, not a library."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.url = url
        self.headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

    async def post(self, method: str, id_: int | None, params: dict[str, Any]) -> httpx.Response:
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id_ is None else {"id": id_})
        return await self.http.post(self.url, content=json.dumps(message), headers=self.headers)

    async def open(self) -> None:
        """Wait until the server is there and has the tool."""
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                reply = await self.post("initialize", 0, about)
            except httpx.TransportError:
                await asyncio.sleep(0.2)
                continue
            self.headers["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
            await self.post("notifications/initialized", None, {})
            if "echo" in (await self.post("tools/list", 1, {})).text:
                return
            del self.headers["Mcp-Session-Id"]
        raise SystemExit(f"{self.url} did not come up")

    async def round(self, calls: int) -> list[float]:
        times = []
        for number in range(2, calls + 2):
            began = time.perf_counter()
            reply = await self.post("tools/call", number, {"name": "echo", "arguments": {"text": "x" * 200}})
            times.append((time.perf_counter() - began) * 1000)
            assert "x" * 200 in reply.text, reply.text
        return times


def start(folder: Path, processes: list[subprocess.Popen[bytes]]) -> tuple[str, str]:
    """Both servers and a broker; the URLs of the direct way and of the way through the broker."""
    script = folder / "server.py"
    script.write_text(SERVER)
    config = folder / "x.cfg"
    config.write_text(f"[server]\nhost = 127.0.0.1\nport = 0\nkey = {KEY}\n[logging]\nlog_file =\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    broker = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
    )
    processes.append(broker)
    assert broker.stdout is not None
    port = next(match[1] for line in broker.stdout if (match := re.search(rb"listens on \S+:(\d+)", line))).decode()
    token = Tokens(KEY).mint("bench")
    bridge = [str(ROOT / "main.py"), "pipe", f"ws://127.0.0.1:{port}/mcp/?token={token}", "--", sys.executable]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environ}
    processes.append(subprocess.Popen([sys.executable, *bridge, str(script)], **quiet))  # type: ignore[call-overload]
    with socket.create_server(("127.0.0.1", 0)) as free:
        direct = free.getsockname()[1]
    processes.append(subprocess.Popen([sys.executable, str(script), str(direct)], **quiet))  # type: ignore[call-overload]
    return f"http://127.0.0.1:{direct}/mcp", f"http://127.0.0.1:{port}/mcp?token={token}"


async def measure(urls: tuple[str, str], calls: int, rounds: int) -> None:
    ways = dict(zip(("direct", "through the broker"), map(Client, urls), strict=True))
    times: dict[str, list[float]] = {way: [] for way in ways}
    for client in ways.values():
        await client.open()
        await client.round(calls // 10 + 1)
    for _ in range(rounds):
        for way, client in ways.items():
            times[way] += await client.round(calls)
    medians = {way: statistics.median(taken) for way, taken in times.items()}
    for way, taken in times.items():
        print(
            f"{way}: p50 {medians[way]:.2f} ms, p99 {statistics.quantiles(taken, n=100)[98]:.2f} ms, {len(taken)} calls"
        )
    more = medians["through the broker"] - medians["direct"]
    print(f"through the broker: {more:+.2f} ms at p50 (at most +2 is the aim)")
    for client in ways.values():
        await client.http.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(measure(start(Path(folder), processes), options.calls, options.rounds))
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
