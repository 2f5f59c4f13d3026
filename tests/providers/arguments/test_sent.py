"""What callers write for arguments, through the whole broker: to an HTTP API, to Python functions, to a program."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.brokers import Brokers
from support.clients.mcp_http import mcp_client
from support.clients.stateless import ask, asking
from support.peers import Agent, Broker, Device, said, spelled, tool
from support.servers.echo_server import Echo, echoing
from support.servers.opened import server

TODO = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "most": {"$ref": "#/components/schemas/Count"},
        "done": {"type": "boolean"},
    },
    "required": ["title"],
    "additionalProperties": False,
}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Todos", "version": "1"},
    "servers": [{"url": "/api"}],
    "components": {"schemas": {"Count": {"type": "integer"}, "Todo": TODO}},
    "paths": {
        "/list": {
            "get": {
                "operationId": "list",
                "parameters": [
                    {"name": name, "in": "query", "schema": schema}
                    for name, schema in {
                        "status": {"type": "string", "enum": ["open", "closed"]},
                        "limit": {"type": "integer"},
                        "page": {"anyOf": [{"$ref": "#/components/schemas/Count"}, {"type": "null"}]},
                        "ids": {"type": "array", "items": {"type": "integer"}},
                        "filter[since]": {"type": "string", "format": "date"},
                    }.items()
                ],
            }
        },
        "/add": {
            "post": {
                "operationId": "add",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Todo"}}},
                },
            }
        },
        "/parts/{id}": {
            "post": {
                "operationId": "parts",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"$ref": "#/components/schemas/Count"}},
                    {"name": "X-Mode", "in": "header", "schema": {"enum": ["fast", None]}},
                    {"name": "c", "in": "cookie", "schema": {"type": "integer"}},
                ],
                "requestBody": {
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "allOf": [
                                    {"properties": {"name": {"type": "string"}, "count": {"type": "integer"}}},
                                    {"properties": {"tags": {"type": "array", "items": {"type": "string"}}}},
                                ]
                            }
                        }
                    }
                },
            }
        },
        "/form": {
            "post": {
                "operationId": "form",
                "requestBody": {
                    "content": {"application/x-www-form-urlencoded": {"schema": {"$ref": "#/components/schemas/Todo"}}}
                },
            }
        },
    },
}
PYTHON = """
from dataclasses import dataclass
from typing import Literal
from mcp_endpoint.tools import tool

@dataclass
class Todo:
    title: str
    most: int | None = None

@tool
def add(todo: Todo, at: Literal["first", "last"] = "last", most: int = 3, tags: list[str] = [], note: str = "-",
        wait: float | None = None) -> str:
    return f"{todo!r} {at} {most!r} {tags} {note} {wait}"

@tool
def none(most: int = 3) -> int:
    return most
"""


@pytest.fixture
def api(opening: Brokers) -> Iterator[tuple[Broker, Echo]]:
    """A broker whose file has an HTTP API, and the server of that."""
    with echoing() as (echo, url):
        echo.document = DOCUMENT
        yield opening({"language": "en"}, todos={"openapi": f"{url}/openapi.json"}), echo


async def sent(device: Device, name: str, arguments: Any) -> Any:
    """What the API was sent, or the text of a refusal."""
    answer = await device.request("tools/call", {"name": name, "arguments": arguments})
    result = answer["result"]
    return said(answer) if result.get("isError") else result["structuredContent"]


async def test_an_http_api_gets_what_was_meant(api: tuple[Broker, Echo]) -> None:
    broker, _ = api
    async with broker.agent().device() as device:
        assert sorted(await device.names()) == ["add", "form", "list", "parts"]
        for arguments, query in (
            ({"status": "", "limit": "", "page": "", "ids": ""}, ""),
            ({"status": None, "limit": None, "page": None, "ids": None, "filter_since": ""}, ""),
            ({"status": "null", "limit": "None", "filter_since": "undefined"}, ""),
            ({"limit": "5", "page": "2"}, "limit=5&page=2"),
            ({"limit": 5.0, "page": 12345678901234567890}, "limit=5&page=12345678901234567890"),
            ({"ids": "[1, 2]", "status": "Open"}, "status=open&ids=1&ids=2"),
            ({"limit": 3, "toolCallId": "t1", "sessionId": None}, "limit=3"),
            ({"filter[since]": "2026-01-02"}, "filter%5Bsince%5D=2026-01-02"),
            ('{"limit": "4"}', "limit=4"),
            ("", ""),
            (None, ""),
            ([], ""),
        ):
            assert (await sent(device, "list", arguments))["query"] == query, arguments
        assert "limit: 'many' is not of type 'integer'" in await sent(device, "list", {"limit": "many", "status": ""})
        line = await broker.logged("has no argument 'toolCallId'")
        assert "list" in line
        assert "t1" not in line
        assert len([line for line in broker.lines if "toolCallId" in line]) == 1


async def test_bodies_and_forms_get_what_was_meant(api: tuple[Broker, Echo]) -> None:
    broker, _ = api
    milk = {"title": "milk", "most": 2}
    async with broker.agent().device() as device:
        await device.names()
        for body in (
            milk,
            json.dumps(milk),
            {"title": "milk", "most": "2", "done": ""},
            {"title": "milk", "most": 2.0, "done": None},
            str({"title": "milk", "most": 2, "done": None}),
        ):
            assert json.loads((await sent(device, "add", {"body": body}))["body"]) == milk
            assert "2.0" not in (await sent(device, "add", {"body": body}))["body"]
            assert (await sent(device, "form", {"body": body}))["body"] == "title=milk&most=2"
        assert json.loads((await sent(device, "add", milk | {"toolCallId": "t"}))["body"]) == milk
        for body in ({"title": "milk"}, '{"title": "milk"}', None):
            beside = {"body": body, "most": "2"} | ({} if body else {"title": "milk"})
            assert json.loads((await sent(device, "add", beside))["body"]) == milk
        assert "unexpected" not in await sent(device, "add", {"body": milk, "most": 3})
        assert (await sent(device, "form", {"body": ""}))["body"] == ""
        assert "unexpected" in await sent(device, "add", {"body": milk | {"toolCallId": "t"}})
        assert "'title' is a required property" in await sent(device, "add", {"body": {"title": None} and {"most": 1}})
        assert "body: None is not of type 'object'" in await sent(device, "add", {"body": None})
        assert "'' is not of type 'object'" in await sent(device, "add", {"body": ""})


async def test_every_place_of_a_request_gets_what_was_meant(api: tuple[Broker, Echo]) -> None:
    broker, _ = api
    async with broker.agent().device() as device:
        await device.names()
        seen = await sent(device, "parts", {"id": "7", "X-Mode": "", "c": None, "body": '{"name":"a","count":"2"}'})
        assert seen["path"] == "/api/parts/7"
        assert not {"x-mode", "cookie"} & seen["headers"].keys()
        assert re.findall(r'name="(\w+)"\r\n\r\n(.*)\r\n', seen["body"]) == [("name", "a"), ("count", "2")]
        body = {"name": "a", "count": None, "tags": '["x"]'}
        seen = await sent(device, "parts", {"id": 7.0, "x_mode": None, "c": "3", "body": body})
        assert (seen["path"], seen["headers"]["cookie"]) == ("/api/parts/7", "c=3")
        assert "x-mode" not in seen["headers"], "null is no value of a header"
        assert re.findall(r'name="(\w+)"\r\n\r\n(.*)\r\n', seen["body"]) == [("name", "a"), ("tags", "x")]
        assert (await sent(device, "parts", {"id": 7, "X-Mode": "FAST"}))["headers"]["x-mode"] == "fast"
        assert "id: None is not of type 'integer'" in await sent(device, "parts", {"id": None})


async def test_python_functions_get_what_was_meant(opening: Brokers, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.py").write_text(PYTHON, "utf-8")
    broker = opening({"language": "en"}, mine={"python": "mine.py"})
    async with broker.agent().device() as device:
        assert await device.names() == ["add", "none"]
        plain = "Todo(title='milk', most=None) last 3 [] - None"
        for arguments, text in (
            ({"todo": {"title": "milk"}}, plain),
            ({"todo": '{"title": "milk"}', "at": "", "most": None, "tags": "", "wait": ""}, plain),
            ({"todo": {"title": "milk", "most": ""}, "most": "null", "toolCallId": "t1"}, plain),
            (
                {"todo": "{'title': 'milk', 'most': '2'}", "at": "First", "most": 5.0, "tags": '["a"]', "note": 7},
                "Todo(title='milk', most=2) first 5 ['a'] 7 None",
            ),
            ({"todo": {"title": "milk"}, "note": "", "wait": "1.5"}, plain.replace("- None", " 1.5")),
            ({"Todo": {"title": "milk"}, "tags": "a"}, plain.replace("[]", "['a']")),
        ):
            answer = await device.request("tools/call", {"name": "add", "arguments": arguments})
            assert said(answer) == text, arguments
        for nothing in (None, "", " ", [], "{}", {"most": ""}):
            assert said(await device.request("tools/call", {"name": "none", "arguments": nothing})) == "3"
        for arguments, complaint in (
            ({"todo": {"title": None}}, "todo.title"),
            ({"todo": ""}, "todo"),
            ({"note": "x"}, "todo is missing"),
            ({"todo": {"title": "milk"}, "most": "many"}, "most = 'many'"),
            ({"toDoList": {"title": "milk"}}, "toDoList is no parameter"),
        ):
            answer = await device.request("tools/call", {"name": "add", "arguments": arguments})
            assert answer["result"]["isError"]
            assert complaint in said(answer)
        await broker.logged("add has no argument 'toolCallId'")


# --- programs that the broker does not own ---


def params_of(text: str) -> str:
    """The params of a frame, as they are spelled."""
    found = re.fullmatch(r'\{"jsonrpc":"2\.0","id":\d+,"method":"[a-z/]+","params":(.*)\}', text)
    assert found, text
    return found[1]


async def passed(program: Any, device: Device, method: str, params: str) -> str:
    """The params that the program sees of a request with these."""
    await device.send(spelled(id=7, method=f'"{method}"', params=params))
    await device.reply(7)
    return params_of([text for text in program.texts if f'"{method}"' in text][-1])


CLEAN = [
    '{"name":"t","arguments":{"a": 1.0,"b":"" , "c":null,"d":"\\u00e9"}}',
    '{ "arguments" : {} , "name" : "t" }',
    '{"name":"t"}',
    '{"name":"t","arguments":[]}',
    '{"name":"t","arguments":"{}"}',
    '{"name":"t","arguments":"null"}',
    '{"name":"t","arguments":0,"other":null}',
]


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


async def test_a_program_gets_the_bytes_of_its_caller(agent: Agent) -> None:
    async with agent.tool_side("t") as program, agent.device() as device:
        for params in CLEAN:
            assert await passed(program, device, "tools/call", params) == params


@pytest.mark.parametrize("nothing", ["null", '""', '" "', '"\\n"', '"\\u0020"'])
async def test_arguments_that_say_nothing_reach_no_program(agent: Agent, nothing: str) -> None:
    prompts = {"prompts/list": {"prompts": [{"name": "p"}]}, "prompts/get": {"messages": []}}
    can = {"capabilities": {"tools": {}, "prompts": {}}}
    async with agent.tool_side("t", introduction=can, results=prompts) as program, agent.device() as device:
        await device.names()
        params = f'{{"name":"t","arguments":{nothing},"serialNumber":null}}'
        assert await passed(program, device, "tools/call", params) == '{"name":"t","serialNumber":null}'
        params = f'{{"arguments": {nothing},"name":"t","_meta":{{"a":1.0}}}}'
        assert await passed(program, device, "tools/call", params) == '{"name":"t","_meta":{"a":1.0}}'
        await device.request("prompts/list")
        params = f'{{"name":"p","arguments":{nothing}}}'
        assert await passed(program, device, "prompts/get", params) == '{"name":"p"}'


@pytest.mark.parametrize("nothing", [None, "", " "])
async def test_arguments_that_say_nothing_by_http(agent: Agent, nothing: object) -> None:
    async with agent.tool_side("t") as program, mcp_client(agent) as client:
        await client.initialize()
        call = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "t", "arguments": nothing}}
        assert (await client.post(call)).status_code == 200
        assert (await program.next("tools/call"))["params"] == {"name": "t"}
        await client.delete()
    async with agent.tool_side("t") as program, mcp_client(agent) as client:
        assert (await ask(client, asking("tools/call", name="t", arguments=nothing))).status_code == 200
        assert "arguments" not in (await program.next("tools/call"))["params"]


async def test_arguments_that_say_nothing_of_a_tool_that_is_called_otherwise(broker_with: Brokers) -> None:
    agent = broker_with(more="[agent agent 0]\nrename = t: lamp\n").agent()
    async with agent.tool_side("t") as program, agent.device() as device:
        assert await passed(program, device, "tools/call", '{"name":"lamp","arguments":null}') == '{"name":"t"}'
        called = '{"name":"lamp","arguments":"","task":null}'
        assert await passed(program, device, "tools/call", called) == '{"name":"t"}'


NUMBERS = tool(
    "t",
    inputSchema={
        "type": "object",
        "properties": {"n": {"type": "integer"}, "must": {"type": "integer"}, "text": {"type": "string"}},
        "required": ["must"],
    },
)
EMPTY = '{"name":"t","arguments":{"n":null,"must":"","text":"","other":null,"k":1.0}}'
DROPPED = '{"name":"t","arguments":{"must":"","text":"","other":null,"k":1.0}}'


async def test_empty_arguments_are_left_out_for_an_agent_that_wants_it(broker_with: Brokers) -> None:
    agent = broker_with(more="[agent agent 0]\ndrop_empty = true\n").agent()
    async with agent.tool_side(NUMBERS) as program, agent.device() as device:
        assert await passed(program, device, "tools/call", EMPTY) == DROPPED
        for params in CLEAN:
            assert await passed(program, device, "tools/call", params) == params
        assert await passed(program, device, "tools/call", '{"name":"t","arguments":{"n":""}}') == (
            '{"name":"t","arguments":{}}'
        )


async def test_empty_arguments_are_left_out_for_the_agent_that_calls(broker_with: Brokers) -> None:
    broker = broker_with(more="[agent agent 0]\ntools_from = agent 1\n[agent agent 1]\ndrop_empty = true\n")
    caller, owner = broker.agent(), broker.agent()
    async with owner.tool_side(NUMBERS) as program, caller.device() as device, owner.device() as own:
        assert await passed(program, device, "tools/call", EMPTY) == EMPTY
        assert await passed(program, own, "tools/call", EMPTY) == DROPPED


@pytest.mark.parametrize(("wanted", "left"), [(True, {"must": ""}), (False, {"n": None, "must": ""})])
async def test_empty_arguments_are_left_out_for_an_entry_that_wants_it(
    opening: Brokers, wanted: bool, left: Any
) -> None:
    tools = {"rename": {"t": "count"}, "drop_empty": wanted}
    broker = opening(mine=server(NUMBERS, tools=tools))
    async with broker.agent().device() as device:
        assert await device.names() == ["count"]
        answer = await device.call("count", n=None, must="")
        assert json.loads(said(answer))[:2] == ["t", left]
