"""What a call over HTTP costs, by session and without one, beside a bare uvicorn that answers the same bytes."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

from load import PATIENCE, SIZE, hang_up, join, pairs_of
from options import Options
from relays import Relay, broker, end, pin
from report import Table, figure, percentile, ratio
from support.light_links import RESULT, LightProgram
from support.peers import Agent

ECHO = """
import socket, sys, uvicorn
BODY = sys.argv[1].encode()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="off", access_log=False, log_level="warning")
uvicorn.Server(config).run(sockets=[listener])
"""
STATELESS = "2026-07-28"
CLIENT = {"name": "bench", "version": "1"}


@contextlib.contextmanager
def echo() -> Iterator[Relay]:
    """A server that reads each request and answers it with the result that the tool sides have."""
    body = (b'{"jsonrpc":"2.0","id":7,"result":%s}' % (RESULT % (b"x" * SIZE))).decode()
    process = subprocess.Popen([sys.executable, "-c", ECHO, body], stdout=subprocess.PIPE)
    try:
        pin(process.pid, 0)
        assert process.stdout is not None
        with process.stdout as stdout:
            port = int(stdout.readline())
        yield Relay("uvicorn", "127.0.0.1", port, process.pid)
    finally:
        end(process)


class HttpClient(asyncio.Protocol):
    """One connection that is kept alive, with one request in flight."""

    transport: asyncio.Transport

    def __init__(self, path: str) -> None:
        self._path = path
        self._data = b""
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self.headers: dict[str, str] = {}
        """Sent with every request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's classes

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server ended the connection"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or self._answer is None:
            return
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            whole = body.endswith(b"0\r\n\r\n")
        else:
            _, _, length = lowered.partition(b"content-length:")
            whole = len(body) >= int(length.split(b"\r\n", 1)[0] or 0)
        if whole and not self._answer.done():
            self._data = b""
            self._answer.set_result((head, body))

    def request(self, message: dict[str, object]) -> bytes:
        """A POST with this message."""
        body = json.dumps(message).encode()
        headers = {
            "Host": "127.0.0.1",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Content-Length": str(len(body)),
        } | self.headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self._path} HTTP/1.1\r\n{lines}\r\n".encode() + body

    async def post(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(PATIENCE):
            return await self._answer


async def prepared(client: HttpClient, way: str) -> bytes:
    """Everything before the calls; the request of a call."""
    params: dict[str, object] = {"name": "t", "arguments": {"pad": "x" * SIZE}}
    if way == "by session":
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
        begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
        head, _ = await client.post(client.request(begin))
        session = next(line for line in head.decode().split("\r\n") if line.lower().startswith("mcp-session-id:"))
        client.headers["Mcp-Session-Id"] = session.partition(":")[2].strip()
        await client.post(client.request({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    elif way == "stateless":
        client.headers |= {"MCP-Protocol-Version": STATELESS, "Mcp-Method": "tools/call", "Mcp-Name": "t"}
        key = "io.modelcontextprotocol/"
        params["_meta"] = {
            f"{key}protocolVersion": STATELESS,
            f"{key}clientCapabilities": {},
            f"{key}clientInfo": CLIENT,
        }
    return client.request({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})


async def load(relay: Relay, way: str, options: Options, first: int) -> dict[str, float]:
    """One call of each agent from the `first` on in flight for a while: CPU for each and latencies, in microseconds."""
    loop = asyncio.get_running_loop()
    programs: list[LightProgram] = []
    clients, requests = [], []
    if relay.broker is not None:
        programs, devices = pairs_of(relay, options.agents, SIZE, first)
        await join(relay, programs, devices)
        hang_up(devices)
    for number in range(first, first + options.agents):
        path = Agent(relay.broker, f"bench{number}").path("mcp") if relay.broker is not None else "/"
        client = HttpClient(path)
        await loop.create_connection(lambda client=client: client, relay.host, relay.port)  # type: ignore[misc]
        clients.append(client)
        requests.append(await prepared(client, way))
    took: list[float] = []
    until = loop.time() + 0.5

    async def call(client: HttpClient, request: bytes) -> None:
        while loop.time() < until:
            began = perf_counter()
            head, body = await client.post(request)
            took.append(perf_counter() - began)
            assert b" 200 " in head[:20], head
            assert b"x" * SIZE in body, body

    await asyncio.gather(*map(call, clients, requests))
    took.clear()
    until, before = loop.time() + options.seconds, relay.cpu()
    await asyncio.gather(*map(call, clients, requests))
    spent = relay.cpu() - before
    hang_up(programs)
    for client in clients:
        client.transport.abort()
    return {"cpu": spent / len(took) * 1e6, "p50": percentile(took, 0.5) * 1e6, "p99": percentile(took, 0.99) * 1e6}


def measure(options: Options, folder: Path) -> list[Table]:
    """Both doors and the bare server, in turns."""
    ways = ("bare uvicorn", "by session", "stateless")
    found: dict[str, dict[str, list[float]]] = {way: defaultdict(list) for way in ways}
    with broker(folder) as ours, echo() as bare:
        for number in range(options.rounds * len(ways)):  # each has agents of its own, whose tool sides never went away
            way = ways[number % len(ways)]
            relay = bare if way == ways[0] else ours
            for key, value in options.run(load(relay, way, options, number * options.agents)).items():
                found[way][key].append(value)
    table = Table(
        f"Per call over HTTP, {options.agents} agents × 1 in flight",
        ["way", "CPU µs per call", "way / bare", "p50 ms", "way / bare", "p99 ms"],
        notes=[
            "The bare server reads the request and answers the same bytes; no JSON is read, and nobody else is asked."
        ],
    )
    bare_figures = found[ways[0]]
    for way, figures in found.items():
        beside = way != ways[0]
        table.add(
            way,
            figure(median(figures["cpu"])),
            ratio(figures["cpu"], bare_figures["cpu"]) if beside else "",
            figure(median(figures["p50"]) / 1000, 2),
            ratio(figures["p50"], bare_figures["p50"]) if beside else "",
            figure(median(figures["p99"]) / 1000, 2),
        )
    return [table]
