"""The official SDK's 2.x client in its stateless mode, with a real server and a scripted one, and beside the others."""

import asyncio
import warnings

import anyio
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from support.clients.mcp_http import gone
from support.clients.stateless import RESOURCES, RESULTS, REVISION, served
from support.paths import PROGRAMS, ROOT
from support.peers import Broker, text_result, tool
from support.sdks import PATIENCE, piped

SERVERS = (ROOT / "examples" / "calculator.py", PROGRAMS / "sdk_server.py")


async def listed(client: Client, *names: str) -> None:
    """The client is shown these tools."""
    async with asyncio.timeout(PATIENCE):
        while not set(names) <= {one.name for one in (await client.list_tools()).tools}:
            continue


async def test_the_sdk_finds_the_stateless_era_by_itself_and_calls(broker: Broker) -> None:
    agent = broker.agent()
    done: list[object] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        done.append((progress, total, message))

    async with (
        piped(agent, SERVERS[0]),
        piped(agent, SERVERS[1]),
        served(agent, "text", calls=False) as program,
        Client(broker.url(agent.path("mcp"), "http")) as client,
    ):
        assert client.protocol_version == REVISION
        await listed(client, "calculator", "count", "text")
        product = await client.call_tool("calculator", {"python_expression": "130000 * 130000"})
        assert product.content[0].text == "16900000000"  # type: ignore[union-attr]
        await client.call_tool("count", {"steps": 3}, progress_callback=on_progress)
        assert done == [(step, 3, f"步骤 {step}") for step in (1, 2, 3)]
        several = await asyncio.gather(
            *(client.call_tool("calculator", {"python_expression": f"{n}+1"}) for n in range(20))
        )
        assert [one.content[0].text for one in several] == [str(n + 1) for n in range(20)]  # type: ignore[union-attr]
        for text in ("汉" * 2000, "x" * 900_000):
            calling = asyncio.create_task(client.call_tool("text", {}))
            await program.answer(await program.next("tools/call"), text_result(text))
            assert (await calling).content[0].text == text  # type: ignore[union-attr]
        assert [one.name for one in (await client.list_prompts()).prompts] == ["greet"]
        assert (await client.get_prompt("greet")).messages == []
        assert [one.uri for one in (await client.list_resources()).resources] == ["note:1"]
        assert len((await client.list_resource_templates()).resource_templates) == 1
        assert (await client.read_resource("note:1")).contents[0].text == "x"  # type: ignore[union-attr]
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("nothing", {})
        assert unknown.value.error.code == -32602
    await gone(broker)


async def test_giving_up_a_call_cancels_it(broker: Broker) -> None:
    agent = broker.agent()
    async with (
        agent.tool_side("wait", calls=False) as program,
        Client(broker.url(agent.path("call"), "http"), mode=REVISION) as client,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "wait", {})
            call = await program.next("tools/call")
            group.cancel_scope.cancel()
        assert (await program.next("notifications/cancelled"))["params"]["requestId"] == call["id"]
    await gone(broker)


async def test_the_sdk_hears_of_changes(broker: Broker) -> None:
    agent = broker.agent()
    async with served(agent) as program, Client(broker.url(agent.path("mcp"), "http")) as client:
        async with client.listen(tools_list_changed=True, resource_subscriptions=["note:1"]) as subscription:
            assert subscription.honored.tools_list_changed
            await program.notify("notifications/resources/updated", uri="note:1")
            async with asyncio.timeout(PATIENCE):
                assert await anext(subscription) == ResourceUpdated("note:1")
                await program.change("sub")
                assert await anext(subscription) == ToolsListChanged()
            await listed(client, "sub")
        await program.next("resources/unsubscribe")
    await gone(broker)


async def test_arguments_that_a_tool_wants_as_headers_pass(broker: Broker) -> None:
    agent = broker.agent()
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    async with (
        agent.tool_side(tool("query") | {"inputSchema": schema}) as program,
        Client(broker.url(agent.path("mcp"), "http")) as client,
    ):
        await listed(client, "query")
        await client.call_tool("query", {"region": "华北"})
        assert (await program.next("tools/call"))["params"]["arguments"] == {"region": "华北"}


async def test_clients_of_both_eras_at_once(broker: Broker) -> None:
    agent = broker.agent()
    url = broker.url(agent.path("mcp"), "http")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        async with (
            agent.tool_side("add", introduction=RESOURCES, results=RESULTS),
            Client(url, mode="legacy") as old,
            Client(url) as new,
        ):
            assert (old.protocol_version, new.protocol_version) == ("2025-11-25", REVISION)
            several = await asyncio.gather(*(one.call_tool("add", {"n": 1}) for one in (old, new) * 10))
            assert {one.content[0].text for one in several} == {'calc.add({"n": 1})'}  # type: ignore[union-attr]
    await gone(broker)
