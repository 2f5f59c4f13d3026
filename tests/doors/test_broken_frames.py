"""Frames that are not quite JSON-RPC at the doors: taken, or their calls end at once with the reason."""

import asyncio
import json
from typing import Any

import pytest

from mcp_endpoint.wire.repair.frames import Flaw
from support.clients.bad_requests import DOORS
from support.clients.mcp_http import McpClient, mcp_client
from support.peers import Agent, Broker, Device, Frame, ToolSide, fault, said, spelled, text_result
from support.sockets import Wire

HALF = r"\ud83d"
ASKED: Frame = {"jsonrpc": "2.0", "id": "é", "method": "ping"}
ANSWERED: Frame = {"jsonrpc": "2.0", "id": "é", "result": {}}


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


def short(value: object) -> str:
    return repr(value)[:60]


def result(text: str) -> str:
    """A result whose text is spelled like this."""
    return '{"content":[{"type":"text","text":"' + text + '"}]}'


TORN = '{"jsonrpc":"2.0","id":ID,"result":' + result("a")[:-4]


async def answered(agent: Agent, *lines: str, **behaviour: Any) -> tuple[Frame, list[str]]:
    """The answer to a call for which a program sends these lines, `ID` being its id; and what is noted of it."""
    async with agent.tool_side("t", calls=False, **behaviour) as tool, agent.device() as device:
        await device.begin_call("t", 1)
        call = await tool.next("tools/call")
        for line in lines:
            await tool.send(line.replace("ID", str(call["id"])))
        answer = await device.reply(1)
        (link,) = await agent.links("tool")
        return answer, link["notes"]


@pytest.mark.parametrize(
    ("lines", "text", "notes"),
    [
        ([spelled(id="ID", result=result("ok " + HALF))], "ok \ufffd", ["half_characters"]),
        ([spelled(id="ID", result=result(r"\ude00\ud83d \ud83d\ude00"))], "\ufffd\ufffd 😀", ["half_characters"]),
        (["\ufeff" + spelled(id="ID", result=result("ok"))], "ok", []),
        (["\x1b[32mINFO\x1b[0m up " + spelled(id="ID", result=result("ok"))], "ok", ["text_beside_frames"]),
        ([spelled(id="ID", result=result("ok")) + " done"], "ok", ["text_beside_frames"]),
        ([spelled(id="99", result="{}") + spelled(id="ID", result=result("ok"))], "ok", ["frames_not_by_line"]),
        (["[" + spelled(id="ID", result=result("ok")) + "]"], "ok", []),
        (['{"jsonrpc":"2.0","id":ID,', '"result":', result("ok"), "}"], "ok", ["frames_not_by_line"]),
        (["{", ' "jsonrpc":"2.0",', ' "id":ID,', ' "result":' + result("ok"), "}"], "ok", ["frames_not_by_line"]),
        ([TORN, 'b"}]}}'], "a\nb", ["frames_not_by_line", "broken_json"]),
        ([spelled(id='"ID"', result=result("ok"))], "ok", ["ids_respelled"]),
        ([spelled(id="ID.0", result=result("ok"))], "ok", ["ids_respelled"]),
        ([spelled(id="ID", result=result("a\u2028b\u0085c\u2029"))], "a\u2028b\u0085c\u2029", []),
        ([spelled(id="ID", result=result("a\tb\0"))], "a\tb\0", ["broken_json"]),
        ([spelled(id="ID", result=result("ok")) + "\0"], "ok", []),
        (['{"jsonrpc":2.0,"id":ID,"method":null,"result":' + result("ok") + "}"], "ok", []),
        ([spelled(id="ID", result=result("ok")[:-1] + ',"x":NaN}')], "ok", ["not_a_number"]),
        ([spelled(id="ID", result=result("ok"), error='{"code":0,"message":""}')], "ok", []),
        ([spelled(id="ID", result=result("ok"), error="false")], "ok", []),
        (["", " ", spelled(id="ID", result=result("ok"))], "ok", []),
        ([json.dumps(spelled(id="ID", result=result("ok")))], "ok", []),
        ([spelled(id="null", result=result("ok"))], "ok", ["ids_respelled"]),
        (['{"jsonrpc":"2.0","result":' + result("ok") + "}"], "ok", ["ids_respelled"]),
    ],
    ids=short,
)  # fmt: skip
async def test_an_answer_with_one_reading_is_taken(agent: Agent, lines: list[str], text: str, notes: list[str]) -> None:
    answer, noted = await answered(agent, *lines)
    assert said(answer) == text
    assert sorted(noted) == sorted(notes)


@pytest.mark.parametrize(
    ("line", "why", "note"),
    [
        (spelled(id="ID", result='{"a":' + "[" * 5000 + "]" * 5000 + "}"), Flaw.TOO_DEEP, "broken_json"),
        (spelled(id="ID", result=result(r"C:\dir")), Flaw.NOT_JSON, "broken_json"),
        (spelled(id="ID", result='{"a":undefined}'), Flaw.NOT_JSON, "broken_json"),
        ("{'jsonrpc': '2.0', 'id': ID, 'result': {}}", Flaw.NOT_JSON, "broken_json"),
        ('{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"cut of', Flaw.CUT_SHORT, "broken_json"),
    ],
    ids=short,
)
async def test_an_answer_that_cannot_be_read_ends_its_call_at_once(
    agent: Agent, line: str, why: Flaw, note: str
) -> None:
    """A call has 30 seconds; none of them waits for that."""
    answer, noted = await answered(agent, line)
    assert fault(answer) == (-32603, "unreadable_answer")
    assert why.zh in answer["error"]["data"]["details"]
    assert noted == [note]


async def test_null_is_not_put_where_a_schema_promises_a_number(agent: Agent) -> None:
    schema = {"type": "object", "properties": {"t": {"type": "number"}}}
    tool = {"name": "t", "inputSchema": {"type": "object"}, "outputSchema": schema}
    async with agent.tool_side(tool, calls=False) as program, agent.device() as device:
        await device.begin_call("t", 1)
        call = await program.next("tools/call")
        await program.send(spelled(id=call["id"], result='{"content":[],"structuredContent":{"t":NaN}}'))
        answer = await device.reply(1)
    assert fault(answer) == (-32603, "unreadable_answer")
    assert "NaN" in answer["error"]["data"]["details"]


async def test_nan_without_a_schema_is_null(agent: Agent) -> None:
    answer, _ = await answered(agent, spelled(id="ID", result='{"content":[],"structuredContent":{"t":NaN}}'))
    assert answer["result"]["structuredContent"] == {"t": None}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ('{"code":"E1","message":null}', -32603, "E1"),
        ('"it broke"', -32603, "it broke"),
        ('{"code":-32000.0,"message":"x"}', -32000, "x"),
        ('["a"]', -32603, "a"),
        ('{"message":"no code"}', -32603, "no code"),
    ],
)
async def test_an_error_that_is_none_is_made_one(agent: Agent, error: str, code: int, message: str) -> None:
    answer, noted = await answered(agent, spelled(id="ID", error=error))
    assert (answer["error"]["code"], answer["error"]["message"]) == (code, message)
    assert noted == ["errors_respelled"]


async def test_an_error_beside_an_empty_result_is_the_error(agent: Agent) -> None:
    answer, _ = await answered(agent, spelled(id="ID", result="{}", error='{"code":7,"message":"x"}'))
    assert answer["error"] == {"code": 7, "message": "x"}


async def test_an_error_without_an_id_is_for_the_only_request_if_it_could_not_be_read(agent: Agent) -> None:
    answer, _ = await answered(agent, spelled(id="null", error='{"code":-32700,"message":"Parse error"}'))
    assert answer["error"]["code"] == -32700


@pytest.mark.parametrize(("value", "reason"), [("null", None), ('"x"', "malformed_answer"), ("[]", "malformed_answer")])
async def test_a_result_of_another_request_that_is_no_object(agent: Agent, value: str, reason: str | None) -> None:
    async with agent.tool_side("t") as tool, agent.device() as device:
        await device.send({"jsonrpc": "2.0", "id": 1, "method": "vendor/reset"})
        request = await tool.next("vendor/reset")
        await tool.send(spelled(id=request["id"], result=value))
        answer = await device.reply(1)
    assert answer.get("result") == {} if reason is None else fault(answer) == (-32603, reason)


async def test_an_error_without_an_id_ends_the_only_call(agent: Agent) -> None:
    answer, noted = await answered(agent, spelled(id="null", error='{"code":-32603,"message":"it broke"}'))
    assert (answer["error"]["code"], answer["error"]["message"]) == (-32603, "it broke")
    assert noted == ["ids_respelled"]


async def test_an_answer_without_an_id_is_nobodys_while_another_may_still_come(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.begin_call("t", 1)
        await tool.next("tools/call")
        await device.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await tool.next("notifications/cancelled")
        await device.begin_call("t", 2)
        call = await tool.next("tools/call")
        await tool.send(spelled(id="null", result=result("of the first")))
        await tool.send(spelled(id=call["id"], result=result("of the second")))
        assert said(await device.reply(2)) == "of the second"


@pytest.mark.parametrize("value", ['"done"', "42", '["done"]', "true"])
async def test_a_result_that_is_no_object_is_content_for_who_reads_results(agent: Agent, value: str) -> None:
    """SDK clients drop an answer with any other result, and wait for it for ever."""
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.begin_call("t", 1)
        call = await tool.next("tools/call")
        await tool.send(spelled(id=call["id"], result=value))
        answer = await device.reply(1)
    assert said(answer) == ("done" if "done" in value else value)


async def test_a_frame_of_a_log_that_is_our_own_request_is_not_taken_for_the_programs(agent: Agent) -> None:
    log = "DEBUG got " + spelled(id="ID", method='"tools/call"', params='{"name":"t"}')
    answer, noted = await answered(agent, log, spelled(id="ID", result=result("ok")))
    assert said(answer) == "ok"
    assert "device_on_tool_door" not in noted


async def test_a_program_in_a_terminal_is_known_by_its_echo(agent: Agent) -> None:
    echo = spelled(id="ID", method='"tools/call"', params='{"name":"t"}')
    answer, noted = await answered(agent, echo, spelled(id="ID", result=result("ok")))
    assert said(answer) == "ok"
    assert noted == ["echoes"]


# --- callers ---


async def heard(tool: ToolSide) -> Any:
    call = await tool.next("tools/call")
    await tool.answer(call, text_result("done"))
    return call["params"]["arguments"]


async def asked(device: Device, arguments: str) -> None:
    params = '{"name":"t","arguments":' + arguments + "}"
    await device.send('{"jsonrpc":"2.0","id":7,"method":"tools/call","params":' + params + "}")


async def test_half_a_character_of_a_caller_is_replaced_and_its_call_is_served(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await asked(device, '{"text":"hi ' + HALF + '"}')
        assert await heard(tool) == {"text": "hi \ufffd"}
        assert said(await device.reply(7)) == "done"
        await device.send("\ufeff" + spelled(id=8, method='"ping"'))
        assert (await device.reply(8))["result"] == {}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ('{"a":NaN}', Flaw.NOT_A_NUMBER),
        ('{"a":' + "[" * 5000 + "]" * 5000 + "}", Flaw.TOO_DEEP),
        (r'{"a":"\x"}', Flaw.NOT_JSON),
        ('{"a":"b\tc\nd"}', Flaw.LOOSE),
        ('{"a":True,}', Flaw.LOOSE),
    ],
    ids=short,
)
async def test_what_a_caller_sends_that_cannot_be_read_is_refused_under_its_id(
    agent: Agent, arguments: str, why: Flaw
) -> None:
    async with agent.tool_side("t") as _, agent.device() as device:
        await asked(device, arguments)
        answer = await device.reply(7)
        assert fault(answer) == (-32700, "unreadable")
        assert why.zh in answer["error"]["data"]["details"]


@pytest.mark.parametrize("door", DOORS)
async def test_half_a_character_and_a_bom_at_the_http_doors(agent: Agent, door: str) -> None:
    async with DOORS[door](agent) as client, Wire.open(agent.broker) as wire:
        message = json.dumps({name: value for name, value in client.message.items() if door != "sse" or name != "id"})
        body = b"\xef\xbb\xbf" + message.replace('"method"', r'"\ud83d": "\ude00", "method"', 1).encode()
        wire.write(client.head(f"Content-Length: {len(body)}") + body)
        assert (await wire.reply()).status in (200, 202)


@pytest.mark.parametrize(
    ("codec", "mark"), [("utf-16-le", ""), ("utf-16-le", "\ufeff"), ("utf-16-be", "\ufeff"), ("utf-8", "\ufeff")]
)
@pytest.mark.parametrize("batch", [False, True])
async def test_one_message_in_another_encoding_is_no_batch(agent: Agent, codec: str, mark: str, batch: bool) -> None:
    """PowerShell writes UTF-16 with a mark."""
    async with mcp_client(agent) as client:
        await client.initialize("2025-03-26" if batch else "2025-06-18")
        text = json.dumps([ASKED] if batch else ASKED, ensure_ascii=False)
        reply = await client.post((mark + text).encode(codec))
        assert reply.json() == ([ANSWERED] if batch else ANSWERED)
        await client.delete()


@pytest.mark.parametrize("half", [b"\xed\xa0\xbd", b"\xf0\x9f"], ids=["surrogate", "cut"])
async def test_half_a_character_in_bytes_at_the_http_door(agent: Agent, half: bytes) -> None:
    """As Java writes it, and whoever cuts a text by its bytes."""
    async with agent.tool_side("t", calls=False) as tool, mcp_client(agent) as client:
        await client.initialize()
        text = json.dumps(McpClient.calling("t", text="你好 HALF"), ensure_ascii=False)
        asking = asyncio.create_task(client.post(text.encode().replace(b"HALF", half)))
        assert (await heard(tool))["text"].rstrip("\ufffd") == "你好 "
        assert said((await asking).json()) == "done"
        await client.delete()


@pytest.mark.parametrize("door", DOORS)
async def test_nan_at_the_http_doors_is_refused_under_the_requests_id(agent: Agent, door: str) -> None:
    async with DOORS[door](agent) as client, Wire.open(agent.broker) as wire:
        message = json.dumps(client.message | {"id": 5})
        body = message.replace('"method"', '"x": NaN, "method"', 1).encode()
        wire.write(client.head(f"Content-Length: {len(body)}") + body)
        reply = await wire.reply()
        answer = json.loads(reply.body)
        assert (reply.status, answer["id"], answer["error"]["data"]["reason"]) == (400, 5, "body_not_json")
        assert "NaN" in answer["error"]["data"]["details"]
