"""Every kind of entry of mcp_servers.json, through the whole broker: a device calls what the broker opened."""

from pathlib import Path

import pytest

from mcp_endpoint.clients.doctor.broker_checks import call_through
from mcp_endpoint.clients.doctor.findings import Status
from mcp_endpoint.tokens import Tokens
from support.brokers import Brokers
from support.node import needs_node, npm_server
from support.paths import OPENAPI_DOCUMENTS
from support.peers import Broker, device, parsed, said
from support.servers.http_peers import everything, sdk
from support.servers.live import live
from support.servers.opened import server
from support.servers.petstore import Petstore

PETSTORE = OPENAPI_DOCUMENTS / "petstore-3.0.yaml"
TOOLS = """
import asyncio
from mcp_endpoint.tools import Context, ToolError, prompt, resource, tool

@tool
def whoami(ctx: Context) -> str:
    return f"{ctx.agent} {ctx.caller.client_name}"

@tool(background=True)
async def bake(minutes: int, ctx: Context) -> str:
    for minute in range(minutes):
        ctx.progress(minute, minutes, "baking")
        await asyncio.sleep(0.05)
    return "a cake"

@tool
def fail() -> str:
    raise ToolError("no flour")

@prompt
def recipe(dish: str) -> str:
    return f"How is {dish} made?"

@resource("kitchen://stock")
def stock() -> list[str]:
    return ["flour"]
"""


@pytest.mark.parametrize("mode", ["streamable", "json", "stateless", "sse"])
async def test_an_sdk_server_over_http(opening: Brokers, mode: str) -> None:
    async with sdk(mode) as peer:
        kind = "sse" if mode == "sse" else "http"
        broker = opening(counter={"type": kind, "url": f"{peer.url}/{'sse' if mode == 'sse' else 'mcp'}"})
        async with broker.agent().device() as device:
            assert "count" in await device.names()
            params = {"name": "count", "arguments": {"steps": 2}, "_meta": {"progressToken": "p"}}
            await device.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            assert said(await device.reply(1)) == "counted to 2"
            told = [frame["params"]["message"] for frame in map(parsed, device.unread) if "params" in frame]
            assert told == ([] if mode == "json" else ["步骤 1", "步骤 2"])
            device.unread.clear()
            listed = (await device.request("resources/list"))["result"]["resources"]
            assert [one["uri"] for one in listed] == ["note://one"]
            read = await device.request("resources/read", {"uri": "note://one"})
            assert read["result"]["contents"][0]["text"] == "a note"


async def test_a_websocket_server_is_another_brokers_device_door(opening: Brokers, broker: Broker) -> None:
    """What the broker itself offers on its device door can be opened by another one."""
    upstream = broker.agent()
    async with upstream.tool_side("far"):
        mine = opening(far={"url": upstream.device_url})
        async with mine.agent().device() as device:
            assert await device.names() == ["far"]
            assert said(await device.call("far", x=1)) == 'calc.far({"x": 1})'


async def test_an_openapi_document(opening: Brokers, tmp_path: Path) -> None:
    store = Petstore()
    with live(store.app) as url:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "pets.yaml").write_bytes(PETSTORE.read_bytes())
        entry = {
            "openapi": "pets.yaml",
            "base_url": f"{url}/v2",
            "tags": ["pet"],
            "env": {"api_key": "${PET_KEY:-special-key}", "petstore_auth": "t"},
        }
        broker = opening(pets=entry)
        async with broker.agent().device() as device:
            names = await device.names()
            assert {"addPet", "getPetById"} <= set(names)
            assert "deletePet" not in names
            added = await device.call("addPet", body={"id": 7, "name": "Rex", "photoUrls": []})
            assert "isError" not in added["result"], said(added)
            assert added["result"]["structuredContent"]["name"] == "Rex"
            assert "Rex" in said(await device.call("getPetById", petId=7))
            missing = await device.call("getPetById", petId=8)
            assert missing["result"]["isError"] is True
            assert "Pet not found" in said(missing)
        assert store.headers[0]["authorization"] == "Bearer t"


async def test_a_file_of_python_functions(opening: Brokers, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kitchen.py").write_text(TOOLS, "utf-8")
    broker = opening({"answer_within": 0.1, "language": "en"}, kitchen={"python": "kitchen.py"})
    agent = broker.agent()
    async with agent.device("baker") as device:
        assert await device.names() == ["whoami", "bake", "fail"]
        assert said(await device.call("whoami")) == f"{agent.id} baker"
        failed = await device.call("fail")
        assert (failed["result"]["isError"], said(failed)) == (True, "no flour")
        job = (await device.call("bake", minutes=10))["result"]["structuredContent"]["job_id"]
        while (frame := await device.frame()).get("method") != "notifications/message":
            continue
        assert frame["params"]["data"]["status"] == "done"
        assert said(await device.call("job_result", job_id=job)) == "a cake"
        prompt = await device.request("prompts/get", {"name": "recipe", "arguments": {"dish": "soup"}})
        assert prompt["result"]["messages"][0]["content"]["text"] == "How is soup made?"
        read = await device.request("resources/read", {"uri": "kitchen://stock"})
        assert "flour" in read["result"]["contents"][0]["text"]


@needs_node
async def test_npm_servers(opening: Brokers, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "a.txt").write_text("你好", "utf-8")
    command, *arguments = npm_server("server-filesystem")
    node, *more = npm_server("server-everything")
    async with everything("streamableHttp") as peer:
        broker = opening(
            files={"command": command, "args": [*arguments, str(shared)]},
            all={"command": node, "args": more, "tools": {"allow": ["echo"]}},
            web={"url": f"{peer.url}/mcp", "tools": {"allow": ["echo"]}},
        )
        async with broker.agent().device() as device:
            names = await device.names()
            assert {"read_text_file", "all__echo", "web__echo"} <= set(names)
            text = said(await device.call("read_text_file", path=str(shared / "a.txt")))
            assert text == "你好"
            for name in ("all__echo", "web__echo"):
                assert "hello" in said(await device.call(name, message="hello"))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"url": "http://127.0.0.1:1/mcp"}, "unreachable"),
        ({"url": "http://no-such-host.invalid/mcp"}, "unreachable"),
        ({"type": "sse", "url": "http://127.0.0.1:1/sse"}, "unreachable"),
        ({"url": "ws://127.0.0.1:1/mcp"}, "unreachable"),
        ({"openapi": "no-such-file.json"}, "bad_document"),
        ({"python": "no_such_file.py"}, "bad_module"),
        ({"url": "http://localhost:1/mcp", "allow_private": ["10.0.0.0/7/8"]}, "bad_entry"),
        ({"url": "http://169.254.169.254.nip.invalid/mcp"}, "unreachable"),
    ],
)
async def test_why_a_server_of_another_kind_does_not_serve(opening: Brokers, entry: object, reason: str) -> None:
    broker = opening(bad=entry, good=server("t"))
    async with broker.agent().device() as device:
        await broker.logged(rf"server bad: .*\({reason}\)")
        assert await device.names() == ["t"]


async def test_doctors_call_does_not_start_servers(opening: Brokers) -> None:
    broker = opening(home=server("lamp"))
    await call_through(broker.url("", "http"), Tokens(broker.key), None)
    finding = await call_through(broker.url("", "http"), Tokens(broker.key), None)
    assert finding.status is Status.OK, finding
    assert (await broker.stats())["servers"][0]["state"] == "idle"


async def test_a_device_may_want_one_tool_side_alone(opening: Brokers) -> None:
    broker = opening(home=server("lamp"), work=server("lamp"))
    agent = broker.agent()
    async with device(broker.url(agent.path("call", provider="work"))) as alone:
        assert await alone.names() == ["lamp"]
        assert said(await alone.call("lamp")).startswith('["lamp"')
    assert [one["state"] for one in (await broker.stats())["servers"]] == ["idle", "serving"]


async def test_two_hundred_tools_of_ten_servers_are_listed_without_asking_the_servers_again(opening: Brokers) -> None:
    broker = opening(**{f"s{n}": server(*(f"tool_{n}_{m}" for m in range(20))) for n in range(10)})
    agent = broker.agent()

    async def asked() -> list[int]:
        """Frames that each server was sent."""
        agents = (await broker.stats())["agents"]
        return [link["frames_out"] for one in agents.values() for link in one["links"] if link["role"] == "tool"]

    async with agent.device() as device:
        assert len(await device.names()) == 200
        before = await asked()
        for _ in range(5):
            assert len(await device.names()) == 200
        assert await asked() == before
        assert len(before) == 10


async def test_what_is_secret_in_an_entry_is_in_no_line_of_the_log(opening: Brokers, broker: Broker) -> None:
    """Not even at the most talkative level, in which the libraries below would log requests and their headers."""
    upstream, headers = broker.agent(), {"X-Mine": "secret-in-a-header"}
    async with upstream.tool_side("far"), sdk("json") as peer:
        mine = opening(
            {"log_level": "TRACE", "debug": "true"},
            counter={"url": f"{peer.url}/mcp?code=secret-in-a-query", "headers": headers},
            far={"url": f"{upstream.device_url}&code=secret-in-a-query", "headers": headers},
        )
        async with mine.agent().device() as device:
            assert {"count", "far"} <= set(await device.names())
            assert said(await device.call("count", steps=1)) == "counted to 1"
            assert said(await device.call("far"))
        stats = await mine.stats()
    mine.stop()
    for text in ("\n".join(mine.lines), str(stats)):
        assert "secret-in" not in text
        assert upstream.token not in text


async def test_a_server_whose_list_is_longer_than_the_limits_serves_what_fits(opening: Brokers) -> None:
    long = server("a", "b", "c", "d", options={"page": 1})
    broker = opening({"max_tools": 2}, long=long, endless=server("e", options={"page": 1, "endless": True}))
    async with broker.agent().device() as caller:
        assert await caller.names() == ["a", "b", "e"]
        assert [one["state"] for one in (await broker.stats())["servers"]] == ["serving", "serving"]
