"""The official SDKs at both ends: a 1.x client over WebSocket, and 2.x servers dialled in through `pipe`."""

import asyncio
import json
from asyncio.subprocess import PIPE

from support.paths import PROGRAMS, ROOT
from support.peers import Broker
from support.sdks import CLIENT_PYTHON, PATIENCE, both_listed, environ, piped


async def test_an_sdk_client_calls_sdk_servers_through_the_bridge(broker: Broker) -> None:
    assert CLIENT_PYTHON.exists(), (
        "The environment of the official 1.x client is missing: run `make test`, or `make .venv-mcp1/stamp` first."
    )
    agent = broker.agent()
    async with (
        piped(agent, ROOT / "examples" / "calculator.py"),
        piped(agent, PROGRAMS / "sdk_server.py"),
    ):
        await both_listed(agent)
        script = str(PROGRAMS / "sdk_client.py")
        client = await asyncio.create_subprocess_exec(
            str(CLIENT_PYTHON), script, agent.device_url, stdout=PIPE, stderr=PIPE, env=environ()
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await client.communicate()
        assert client.returncode == 0, err.decode()
        said = json.loads(out)
        links = (await agent.report())["links"]
    assert said["unknown"], "an unknown tool is an error the SDK raises"
    assert "9**9**9" not in said["refused"]
    del said["unknown"], said["refused"]
    assert said == {
        "server": "mcp-endpoint",
        "version": "2025-11-25",
        "tools": ["calculator", "count"],
        "product": "16900000000",
        "product failed": False,
        "refused failed": True,
        "counted": "counted to 3",
        "progress": [[1, 3, "步骤 1"], [2, 3, "步骤 2"], [3, 3, "步骤 3"]],
        "several": [str(number + 1) for number in range(20)],
    }
    assert {link["info"]["name"] for link in links} == {"Calculator", "Counter"}
    (end, *_) = await agent.ended("device")
    assert end["reason"] == "peer_closed"
