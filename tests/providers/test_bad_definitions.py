"""A definition that is wrong costs no client the good tool beside it, and its owner hears which it is and why."""

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp.client.client import Client

from support.brokers import Brokers
from support.clients.xiaozhi_peer import xiaozhi
from support.doctor import of_broker
from support.node import needs_node, node
from support.paths import PROGRAMS, ROOT
from support.peers import Agent, Broker, text_result, tool
from support.sdks import CLIENT_PYTHON, PATIENCE, environ
from support.servers.bad_definitions import BAD, GOOD, OBJECT, WHEN, Fate
from support.servers.opened import server

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


@pytest.mark.parametrize(
    ("spelled", "description"),
    [
        (r'{"name":"b","description":"lamp \ud83d","inputSchema":{"type":"object"}}', "lamp \ufffd"),
        (r'{"name":"b","description":"lamp","inputSchema":{"type":"object","maxProperties":NaN}}', "lamp"),
    ],
    ids=["half an emoji", "not a number"],
)
async def test_what_is_no_json_in_one_definition_costs_nobody_the_others(
    broker: Broker, spelled: str, description: str
) -> None:
    agent = broker.agent()
    async with agent.tool_side(lists=False) as program:
        asked = await program.next("tools/list")
        listed = f'{{"tools":[{json.dumps(GOOD)},{spelled}]}}'
        await program.send(f'{{"jsonrpc":"2.0","id":{asked["id"]},"result":{listed}}}')
        await program.settled()
        async with xiaozhi(agent.device_url) as session:
            assert session.failure is None
            assert list(session.tools) == ["a", "b"]
            assert session.tools["b"]["description"] == description
            assert await session.call("a") == ANSWER


async def test_the_python_sdk_1_lists_and_calls(broker: Broker) -> None:
    assert CLIENT_PYTHON.exists()
    async with all_bad(broker, "python 1") as agents:
        client = await asyncio.create_subprocess_exec(
            str(CLIENT_PYTHON),
            str(PROGRAMS / "sdk_lists.py"),
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


def numbered() -> list[tuple[object, Fate]]:
    """All bad definitions, each under a name of its own."""
    return [
        (
            {**definition, "name": f"b{number}"}
            if isinstance(definition, dict) and definition.get("name") == "b"
            else definition,
            fate,
        )
        for number, (definition, fate) in enumerate(BAD.values())
    ]


async def test_a_server_that_the_broker_opens_and_no_repair_is_a_change_of_it(opening: Brokers) -> None:
    bad = numbered()
    hidden = tool("hid\u202eden")
    broker = opening({"pin_tools": "block"}, home=server(GOOD, *(one for one, _ in bad), hidden))
    shown = ["a", *(one["name"] for one, fate in bad if fate is Fate.MENDED)]  # type: ignore[index]
    agent = broker.agent()
    async with xiaozhi(agent.device_url) as session:
        assert session.failure is None
        assert list(session.tools) == shown
        assert await session.call("a")
        report = await agent.report()
        assert report["why"]["reason"] == "definitions_left_out"
        assert report["why"]["en"].startswith("home has definitions that cannot be used")
        [link] = (await broker.stats())["agents"]["@home"]["links"]
        told = link["definitions"]["tools"]
        assert told["left_out"] == sum(fate is Fate.LEFT_OUT for _, fate in bad) + 1
        assert told["mended"] == sum(fate is Fate.MENDED for _, fate in bad)
        reasons = {one["name"]: one["reasons"] for one in told["told"]}
        assert ["hidden_characters"] in reasons.values()
        pins = json.loads((broker.config.parent / ".mcp_tools.json").read_text("utf-8"))["servers"]["home"]
        for one, fate in bad:
            if fate is Fate.MENDED:
                assert pins[one["name"]]["definition"] == one, "as it came"  # type: ignore[index]
        assert not any(pin["changed"] for pin in pins.values())
    checks = (await of_broker(broker)).checks
    named = [check["en"] for check in checks if check["check"] == "definition"]
    assert any(line.startswith("home: hid\ufffdden is left out: name has control characters") for line in named)


async def test_what_may_become_a_job_promises_no_output(opening: Brokers) -> None:
    tools = {"background": ["slow*"]}
    broker = opening(home=server(tool("slow", outputSchema=OBJECT), tool("fast", outputSchema=OBJECT), tools=tools))
    url = broker.url(broker.agent().path("mcp"), "http")
    async with Client(url, mode="legacy") as client:
        listed = {one.name: one.output_schema for one in (await client.list_tools()).tools}
        assert listed == {"slow": None, "fast": OBJECT}


@pytest.mark.parametrize(("limit", "promised"), [("4MB", True), ("2KB", False)])
async def test_what_may_be_cut_promises_no_output(broker_with: Brokers, limit: str, promised: bool) -> None:
    broker = broker_with(max_result_bytes=limit)
    agent = broker.agent()
    async with (
        agent.tool_side(tool("t", outputSchema=OBJECT), calls=False) as program,
        agent.device() as device,
        Client(broker.url(agent.path("mcp"), "http"), mode="legacy") as client,
    ):
        [one] = (await device.request("tools/list"))["result"]["tools"]
        assert ("outputSchema" in one) is promised
        [seen] = (await client.list_tools()).tools
        assert seen.output_schema == OBJECT, "what comes by HTTP is not cut"
        calling = asyncio.create_task(device.call("t"))
        result = text_result("x" * 4000, structuredContent={"x": "y" * 4000})
        await program.answer(await program.next("tools/call"), result)
        assert ("structuredContent" in (await calling)["result"]) is promised


async def test_the_arguments_of_a_tool_stand_where_a_xiaozhi_server_looks(broker: Broker) -> None:
    agent = broker.agent()
    schema = OBJECT | {"properties": {"when": {"$ref": "#/$defs/When"}}, "required": ["when"], "$defs": {"When": WHEN}}
    async with agent.tool_side(tool("plan", inputSchema=schema)), agent.device() as device:
        async with xiaozhi(agent.device_url) as session:
            when = {"type": "object", "properties": {"day": {"type": "string"}, "then": {"type": "object"}}}
            assert session.tools["plan"]["parameters"] == {
                "type": "object",
                "properties": {"when": when},
                "required": ["when"],
            }
        [one] = (await device.request("tools/list"))["result"]["tools"]
        assert one["inputSchema"] == schema, "nobody else is shown another one"
        assert (await agent.report())["why"]["reason"] == "serving"


async def test_an_openapi_document_that_refers_in_circles_is_read_by_xiaozhi_too(
    opening: Brokers, tmp_path: Path
) -> None:
    when = WHEN | {"properties": WHEN["properties"] | {"then": {"$ref": "#/components/schemas/When"}}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/When"}}}, "required": True}
    operation = {"operationId": "plan", "requestBody": body, "responses": {"200": {"description": "planned"}}}
    document = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "servers": [{"url": "http://localhost:9"}]}
    document |= {"paths": {"/plan": {"post": operation}}, "components": {"schemas": {"When": when}}}
    (tmp_path / "api.json").write_text(json.dumps(document), "utf-8")
    broker = opening(api={"openapi": str(tmp_path / "api.json"), "allow_private": ["localhost"]})
    agent = broker.agent()
    async with agent.device() as device, xiaozhi(agent.device_url) as session:
        [one] = (await device.request("tools/list"))["result"]["tools"]
        assert "$ref" in json.dumps(one)
        assert session.failure is None
        then = {"type": "object", "properties": {"day": {"type": "string"}, "then": {"type": "object"}}}
        assert session.tools["plan"]["parameters"]["properties"]["body"] == then


async def test_prompts_and_resources_are_mended_one_by_one_too(broker: Broker) -> None:
    agent = broker.agent()
    results = {
        "prompts/list": {"prompts": [{"name": "p", "arguments": None, "description": None}, {"name": None}]},
        "resources/list": {"resources": [{"uri": "note:1", "mimeType": None}, {"uri": "nowhere", "name": "n"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "note:{n}", "name": 5, "icons": {}}]},
    }
    introduction = {"capabilities": {"tools": {}, "prompts": {}, "resources": {}}}
    async with agent.tool_side(GOOD, results=results, introduction=introduction) as program:
        await program.settled()
        for mode in ("legacy", "2026-07-28"):
            async with Client(broker.url(agent.path("mcp"), "http"), mode=mode) as client:
                assert [one.name for one in (await client.list_prompts()).prompts] == ["p"]
                assert [one.uri for one in (await client.list_resources()).resources] == ["note:1"]
                [template] = (await client.list_resource_templates()).resource_templates
                assert template.name == "note:{n}"
        [link] = await agent.links("tool")
        told = {kind: (one["left_out"], one["mended"]) for kind, one in link["definitions"].items()}
        assert told == {"prompts": (1, 1), "resources": (1, 1), "resourceTemplates": (0, 1)}
