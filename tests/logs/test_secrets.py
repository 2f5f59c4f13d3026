"""No token and no key in any line of the running broker, at the most talkative level."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed

from mcp_endpoint.tokens import Tokens
from support.brokers import Brokers
from support.peers import KEY, device, dialled, tool
from support.sockets import PATIENCE, Wire

BAD = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk="


async def test_no_secret_reaches_a_sink_at_trace(new_broker: Brokers, tmp_path: Path) -> None:
    log_file = tmp_path / "broker.log"
    broker = new_broker(log_level="TRACE", debug="true", log_file=log_file)
    agent = broker.agent()
    async with agent.tool_side(tool("lamp")) as program, agent.device() as client:
        assert await client.names() == ["lamp"]
        await client.call("lamp")
        await client.send("junk")
        await program.send("a line printed to stdout, token=" + agent.token)
        await program.settled()
    for path in (
        f"/mcp/?token={quote(BAD, safe='')}",
        f"/call?token={quote(BAD)}",
        f"/call/?token={quote(agent.token)}x",
    ):
        async with dialled(broker.url(path)) as refused, asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionClosed, match="1008"):
                await refused.recv()
    for path in (f"/health?key={KEY}", f"/mcp_endpoint/health?key={KEY}", f"/stats?key={KEY}", f"/x?key={KEY}"):
        assert KEY not in (await broker.get(path)).body
    bodies = [
        (await broker.get(f"/mcp/?token={quote(agent.token)}")).body,
        (await broker.get("/stats", Authorization=f"Bearer {KEY}")).body,
    ]
    async with Wire.open(broker) as wire:
        wire.write(f"GET /mcp/?token={quote(agent.token)} HTTP/9.9 bad\r\n\r\n".encode())
        bodies.append((await wire.rest()).decode())
    async with device(agent.device_url) as last:
        await last.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "nothing/like\nthis\x1b[31m" + "y" * 300}))
        assert "error" in await last.reply(1)
    broker.stop()
    text = "\n".join(broker.lines) + log_file.read_text("utf-8")
    secrets = [KEY, agent.token, quote(agent.token, safe=""), BAD, quote(BAD, safe=""), Tokens(KEY).mint(None)]
    for secret in secrets:
        assert secret not in text
        assert all(secret not in body for body in bodies)
    assert "\x1b" not in log_file.read_text("utf-8")
    assert re.search(r"GET /health\?key=\*\*\* HTTP", text), "the access log is there, without the key"
    assert len(re.findall(r"refused a (?:tool|device) side", text)) == 2 * 3
    assert len(re.findall(r"(?:tool|device) side open", text)) == len(re.findall(r"(?:tool|device) side ended", text))
