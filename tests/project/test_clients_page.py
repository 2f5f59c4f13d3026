"""What docs/clients.md says to MCP clients works as it stands there: commands, and files of desktop programs."""

import asyncio
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_endpoint.settings.schema import Language
from support.brokers import Brokers
from support.clients.mcp_http import BOTH, initialize
from support.documents import LANGUAGES, blocks, of_docs, page_text
from support.node import INSPECTOR, OF_INSPECTOR, needs_node, ran
from support.peers import Agent, Broker, text_result
from support.sdks import PATIENCE

pytestmark = pytest.mark.parametrize("language", LANGUAGES)


def snippets(language: Language, agent: Agent) -> list[str]:
    """The blocks of the page, for this broker and with this agent's token."""
    where = f"{agent.broker.host}:{agent.broker.port}"
    page = page_text(of_docs("clients")[language])
    return [block.replace("HOST:8004", where).replace("TOKEN", agent.token) for block in blocks(page)]


def one(blocks: list[str], *words: str) -> str:
    (found,) = [block for block in blocks if all(word in block for word in words)]
    return found


async def shell(script: str) -> list[Any]:
    """The JSON texts that a script printed."""
    process = await asyncio.create_subprocess_exec("bash", "-ec", script, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    decoder, text, found = json.JSONDecoder(), out.decode().strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
async def test_curl_lists_and_calls(broker: Broker, language: Language) -> None:
    agent = broker.agent()
    async with agent.tool_side("calculator", calls=False) as program:
        running = asyncio.create_task(shell(one(snippets(language, agent), "curl -sS")))
        call = await program.next("tools/call")
        await program.answer(call, text_result("42"))
        listed, called = await running
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["calculator"]
    assert call["params"]["arguments"] == {"python_expression": "6*7"}
    assert called["result"]["content"][0]["text"] == "42"


@needs_node
async def test_inspector_lists_and_calls(broker_with: Brokers, language: Language, tmp_path: Path) -> None:
    agent = broker_with(**OF_INSPECTOR).agent()
    block = one(snippets(language, agent), "inspector --cli").replace("\\\n", " ")
    (url,) = re.findall(r"^URL='(.*)'$", block, re.MULTILINE)
    commands = [line.split(" --cli ")[1] for line in block.splitlines() if " --cli " in line]
    async with agent.tool_side("calculator"):
        said = []
        for command in commands:
            words = [word.strip("'\"").replace("$URL", url) for word in command.split()]
            said.append(json.loads(await ran(str(INSPECTOR), "--cli", *words, home=tmp_path)))
    assert [tool["name"] for tool in said[0]["tools"]] == ["calculator"]
    assert said[1]["content"][0]["text"] == 'calc.calculator({"python_expression": "6*7"})'


async def test_the_files_of_desktop_programs_are_json_and_their_urls_open(broker: Broker, language: Language) -> None:
    agent = broker.agent()
    files = [json.loads(block) for block in snippets(language, agent) if block.startswith("{")]
    (desktop,), (cursor,), (code,) = (tuple((one.get("mcpServers") or one["servers"]).values()) for one in files)
    (remote,) = [word for word in desktop["args"] if word.startswith("http")]
    ways = [(remote, {}), (cursor["url"], {}), (code["url"], code["headers"])]
    claude = one(snippets(language, agent), "claude mcp add")
    url, name, value = re.search(r"'(http[^']*)' --header '(\S+): ([^']*)'", claude).groups()  # type: ignore[union-attr]
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        for where, headers in [*ways, (url, {name: value})]:
            reply = await http.post(where, json=initialize(), headers={"Accept": BOTH} | headers)
            assert reply.status_code == 200
            ended = {"Mcp-Session-Id": reply.headers["mcp-session-id"]} | headers
            assert (await http.delete(where, headers=ended)).status_code == 204
    assert code["type"] == "http"


async def test_older_clients_find_their_stream(broker: Broker, language: Language) -> None:
    url = one(snippets(language, broker.agent()), "/sse/").strip()
    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http,
        http.stream("GET", url, headers={"Accept": "text/event-stream"}) as response,
    ):
        assert response.status_code == 200
