"""A definition that is wrong costs no client the good tool beside it, and its owner hears which it is and why."""

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp.client.client import Client

from bad_definitions import BAD, GOOD, Fate
from sources import needs_node
from support import ROOT, Agent, Broker
from test_doctor import of_broker
from test_sdk import CLIENT_PYTHON, PATIENCE, environ
from test_sdk_npm import node
from xiaozhi_peer import xiaozhi

ANSWER = "calc.a({})"


def expected(kind: str) -> list[str]:
    return ["a", "b"] if BAD[kind][1] is Fate.MENDED else ["a"]


@contextlib.asynccontextmanager
async def all_bad(broker: Broker, clients: str) -> AsyncIterator[dict[str, Agent]]:
    """An agent for each bad definition, whose program has it behind the good tool."""
    async with contextlib.AsyncExitStack() as stack:
        agents = {}
        for kind, (definition, _) in BAD.items():
            agents[kind] = Agent(broker, f"{clients} {kind}")
            await stack.enter_async_context(agents[kind].tool_side(GOOD, definition))
        yield agents


def compare(seen: dict[str, object]) -> None:
    assert seen == {kind: [expected(kind), ANSWER] for kind in BAD}


@pytest.mark.parametrize("kind", BAD)
async def test_a_xiaozhi_session_gets_ready(broker: Broker, kind: str) -> None:
    agent = broker.agent()
    definition, fate = BAD[kind]
    async with agent.tool_side(GOOD, definition), xiaozhi(agent.device_url) as session:
        assert session.failure is None
        assert list(session.tools) == expected(kind)
        assert "$ref" not in json.dumps(session.tools)
        assert await session.call("a") == ANSWER
        [link] = await agent.links("tool")
        told = link["definitions"]["tools"]
        assert (told["left_out"], told["mended"]) == ((1, 0) if fate is Fate.LEFT_OUT else (0, 1))
        [one] = told["told"]
        assert one["name"] == (definition.get("name") if expected(kind) == ["a", "b"] else one["name"])
        why = (await agent.report())["why"]
        assert why["reason"] == ("definitions_left_out" if fate is Fate.LEFT_OUT else "definitions_mended")
        for language in ("zh", "en"):
            assert one["name"] in why[language]
            assert one[language].split("、" if language == "zh" else ", ")[0] in why[language]
            assert "calc" in why[language]
        await broker.logged(rf"agent {agent.id}: .*\({why['reason']}\)$")
        checks = (await of_broker(broker, agent=agent.name)).checks
        found = [check for check in checks if check["check"] in ("agent", "definition")]
        assert [check["status"] for check in found] == ["warning", "warning"]
        assert f"calc: {one['name']} " in found[1]["en"]
        assert one["en"] in found[1]["en"]
        assert one["zh"] in found[1]["zh"]


async def test_the_python_sdk_1_lists_and_calls(broker: Broker) -> None:
    assert CLIENT_PYTHON.exists()
    async with all_bad(broker, "python 1") as agents:
        client = await asyncio.create_subprocess_exec(
            str(CLIENT_PYTHON),
            str(ROOT / "tests" / "sdk_lists.py"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environ(),
        )
        urls = "\n".join(agent.device_url for agent in agents.values())
        async with asyncio.timeout(PATIENCE):
            out, err = await client.communicate(urls.encode())
        assert client.returncode == 0, err.decode()
        compare(dict(zip(agents, json.loads(out), strict=True)))


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_python_sdk_2_lists_and_calls(broker: Broker, mode: str) -> None:
    seen: dict[str, object] = {}
    async with all_bad(broker, f"python 2 {mode}") as agents, asyncio.timeout(PATIENCE):
        for kind, agent in agents.items():
            async with Client(broker.url(agent.path("call"), "http"), mode=mode) as client:
                names = [one.name for one in (await client.list_tools()).tools]
                content = (await client.call_tool("a", {})).content[0]
                seen[kind] = [names, content.text]  # type: ignore[union-attr]
    compare(seen)


@needs_node
async def test_the_typescript_sdks_list_and_call(broker: Broker, tmp_path: Path) -> None:
    async with all_bad(broker, "typescript") as agents:
        urls = "\n".join(broker.url(agent.path("mcp"), "http") for agent in agents.values())
        client = await asyncio.create_subprocess_exec(
            node(),
            str(ROOT / "tests" / "npm" / "lists.mjs"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environ() | {"HOME": str(tmp_path)},
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await client.communicate(urls.encode())
        assert client.returncode == 0, err.decode()
    for seen in json.loads(out).values():
        compare(dict(zip(agents, seen, strict=True)))
