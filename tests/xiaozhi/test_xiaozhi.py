"""The Xiaozhi server as a device: its byte sequence, and what it alone is told differently (docs/protocol.md, 7)."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from mcp_endpoint.wire.xiaozhi.cut import NOTES
from support.brokers import Brokers
from support.peers import Agent, Broker, Device, Frame, dialled, fault, parsed, said, spelled, text_result, tool
from support.sockets import TEXT, Wire

HELLO = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2024-11-05",
            "capabilities": {"roots": {"listChanged": True}, "sampling": {}},
            "clientInfo": {"name": "XiaozhiMCPEndpointClient", "version": "1.0.0"},
        },
    }
)
READY = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}})
LIST = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
MEBIBYTE = 1_048_576


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


@contextlib.asynccontextmanager
async def xiaozhi(agent: Agent) -> AsyncIterator[Device]:
    """A Xiaozhi server that has begun its session; the answer to its list is for the test to read."""
    async with dialled(agent.device_url, max_size=MEBIBYTE) as connection:
        device = Device(connection)
        for frame in (HELLO, READY, LIST):
            await device.send(frame)
        assert (await device.frame())["id"] == 1
        yield device


def names(answer: Frame) -> list[str]:
    assert answer["id"] == 2
    assert "nextCursor" not in answer["result"]
    return [one["name"] for one in answer["result"]["tools"]]


async def test_the_whole_byte_sequence_without_waiting(agent: Agent) -> None:
    async with agent.tool_side("calculator"), Wire.open(agent.broker) as wire:
        assert b" 101 " in await wire.upgrade(agent.path("call"))
        call = {"name": "calculator", "arguments": {"python_expression": "130000 * 130000"}, "serialNumber": None}
        first = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
        for frame in (HELLO, READY, LIST, first):
            wire.send_frame(TEXT, frame.encode())
        opened, listed, called = [parsed((await wire.frame())[1].decode()) for _ in range(3)]
        assert opened["id"] == 1
        assert opened["result"]["protocolVersion"] == "2024-11-05"
        assert "tools" in opened["result"]["capabilities"]
        assert names(listed) == ["calculator"]
        assert called["id"] == 1
        assert said(called) == 'calc.calculator({"python_expression": "130000 * 130000"})'


async def test_pages_are_followed_under_the_same_id(agent: Agent) -> None:
    tools = [tool(f"t{number}", description="x" * 100_000) for number in range(25)]
    async with agent.tool_side(*tools), xiaozhi(agent) as device:
        page = await device.reply(2)
        got = page["result"]["tools"]
        while "nextCursor" in page["result"]:
            cursor = page["result"]["nextCursor"]
            assert isinstance(cursor, str)
            page = await device.request("tools/list", {"cursor": cursor}, 2)
            got += page["result"]["tools"]
        assert got == tools


# --- lists that nobody asked for ---


async def test_tools_that_arrive_late_reach_a_session_that_was_shown_none(broker_with: Brokers) -> None:
    agent = broker_with(tools_wait=0.2).agent()
    async with xiaozhi(agent) as device:
        assert names(await device.frame()) == []
        async with agent.tool_side("t"):
            assert names(await device.frame()) == ["t"]
            assert said(await device.call("t", 1)) == "calc.t({})"
            assert await device.settled() == []


async def test_later_tools_wait_until_the_call_with_id_2_is_answered(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as program, xiaozhi(agent) as device:
        assert names(await device.frame()) == ["t"]
        await program.change("t", "u")
        assert await device.settled() == [], "the call with id 2 is still to come"
        await device.begin_call("t", 1)
        await program.answer(await program.next("tools/call"), text_result("one"))
        assert said(await device.frame()) == "one"
        await device.begin_call("t", 2)
        call = await program.next("tools/call")
        await program.change("t", "u", "v")
        assert await device.settled() == [], "it would be taken for the answer"
        await program.answer(call, text_result("two"))
        assert said(await device.frame()) == "two"
        assert names(await device.frame()) == ["t", "u", "v"]
        await program.change("t", "u", "v", "w")
        assert names(await device.frame()) == ["t", "u", "v", "w"], "from now on at once"
        await program.change("t", "u", "v", "w")
        assert await device.settled() == []


async def test_a_call_with_id_2_that_fails_is_answered_too(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as program, xiaozhi(agent) as device:
        assert names(await device.frame()) == ["t"]
        await device.begin_call("t", 2)
        call = await program.next("tools/call")
        await program.change("t", "u")
        await program.send(spelled(id=call["id"], error='{"code":1,"message":"no"}'))
        assert "error" in await device.frame()
        assert names(await device.frame()) == ["t", "u"]


async def test_a_second_late_list_is_held_back_like_any_other(broker_with: Brokers) -> None:
    agent = broker_with(tools_wait=0.2).agent()
    async with xiaozhi(agent) as device:
        assert names(await device.frame()) == []
        async with agent.tool_side("t") as program:
            assert names(await device.frame()) == ["t"]
            await program.change("t", "u")
            assert await device.settled() == []


async def test_before_its_own_list_it_is_sent_none(agent: Agent) -> None:
    async with agent.device(None) as device:
        await device.send(HELLO)
        await device.send(READY)
        await device.reply(1)
        async with agent.tool_side("t"):
            assert await device.settled() == []
            await device.send(LIST)
            assert names(await device.frame()) == ["t"]


async def test_a_list_that_waits_is_answered_once(agent: Agent) -> None:
    async with xiaozhi(agent) as device:
        assert await device.settled() == []
        async with agent.tool_side("t"):
            assert names(await device.frame()) == ["t"]
            assert await device.settled() == []


async def test_a_late_list_of_several_pages_is_not_sent(broker_with: Brokers) -> None:
    agent = broker_with(tools_wait=0.2).agent()
    async with xiaozhi(agent) as device:
        assert names(await device.frame()) == []
        async with agent.tool_side(*[tool(f"t{number}", description="x" * 100_000) for number in range(25)]):
            assert await device.settled() == []


# --- results ---


async def answered(agent: Agent, result: str) -> tuple[str, str]:
    """What the Xiaozhi server and another client get for a tool's result."""
    async with agent.tool_side("t", calls=False) as program, xiaozhi(agent) as device, agent.device() as other:
        await device.frame()
        frames = []
        for one in (device, other):
            await one.begin_call("t", 1)
            await program.send(spelled(id=(await program.next("tools/call"))["id"], result=result))
            frames.append(await one.text())
        return frames[0], frames[1]


async def test_an_error_of_a_tool_is_said_in_a_member_of_its_own_for_this_client_alone(agent: Agent) -> None:
    result = '{"isError" : true,"content":[{"type":"text","text":"坏了 \\n"}],"x":1.50}'
    to_xiaozhi, to_other = await answered(agent, result)
    assert to_other == spelled(id=1, result=result)
    got = parsed(to_xiaozhi)["result"]
    assert got.pop("error") == "坏了 \n"
    assert got == json.loads(result)
    assert "1.50" in to_xiaozhi


async def test_the_first_text_is_put_first_for_this_client_alone(agent: Agent) -> None:
    result = (
        '{"content":[{"type":"image","data":"aGk=","mimeType":"image/png"},{"type":"text","text":"a","n":1.50},'
        '{"type":"text","text":"b"}]}'
    )
    to_xiaozhi, to_other = await answered(agent, result)
    assert to_other == spelled(id=1, result=result)
    first, second, third = parsed(to_xiaozhi)["result"]["content"]
    assert [first["text"], second["text"]] == ["a", "b"]
    assert third == {"type": "text", "text": "工具返回了一张图片（PNG，2 字节），无法朗读。"}
    assert '"n":1.50' in to_xiaozhi
    assert "error" not in parsed(to_xiaozhi)["result"]


async def test_both_at_once(agent: Agent) -> None:
    result = '{"isError":true,"content":[{"type":"image"},{"type":"text","text":"a"}]}'
    got = parsed((await answered(agent, result))[0])["result"]
    assert got["error"].startswith("a\n")
    assert got["content"][0]["text"] == "a"


@pytest.mark.parametrize(
    "result",
    [
        '{"content" : [{"type":"text","text":"a"}],"isError":false,"n":1.50}',
        '{"content" : [{"type":"text","text":"a"}],"isError":true,"error":"mine"}',
        '{"content" : [{"type":"text","text":"{\\"action\\":\\"RESPONSE\\",\\"response\\":\\"a\\"}"}]}',
    ],
)
async def test_other_results_travel_byte_for_byte(agent: Agent, result: str) -> None:
    assert await answered(agent, result) == (spelled(id=1, result=result), spelled(id=1, result=result))


BLOB = base64.b64encode(b"\x89PNG" + bytes(range(256)) * 600).decode()


@pytest.mark.parametrize(
    ("language", "result", "words"),
    [
        ("zh", {"content": [{"type": "image", "data": BLOB, "mimeType": "image/png"}]}, "一张图片（PNG，150 KB）"),
        ("en", {"content": [{"type": "audio", "data": BLOB, "mimeType": "audio/mpeg"}]}, "a sound (MPEG, 150 KB)"),
        ("zh", {"content": [{"type": "resource_link", "uri": "x://a.pdf", "name": "a", "size": 200_000}]}, "195 KB"),
        ("zh", {"content": [{"type": "resource", "resource": {"uri": "x://a", "blob": BLOB}}]}, "150 KB"),
        ("zh", {"content": []}, "已完成。"),
        ("en", {"content": []}, "Done."),
        ("en", {"no": "content"}, '{"no":"content"}'),
        ("en", {"content": "odd"}, "odd"),
        ("zh", text_result('{"action":"turn_on","ok":true}'), '结果：{"action":"turn_on","ok":true}'),
    ],
)
async def test_a_device_gets_what_can_be_said_and_others_what_came(
    broker_with: Brokers, language: str, result: object, words: str
) -> None:
    agent = broker_with(language=language).agent()
    sent = json.dumps(result, ensure_ascii=False)
    to_xiaozhi, to_other = await answered(agent, sent)
    assert to_other == spelled(id=1, result=sent)
    assert words in said(parsed(to_xiaozhi))
    assert len(to_xiaozhi) < 500


async def test_a_result_that_would_close_its_socket_is_cut_and_both_links_live_on(agent: Agent) -> None:
    def result_of(size: int, id_: int) -> str:
        bare = spelled(id=id_, result=json.dumps(text_result(""), separators=(",", ":")))
        return json.dumps(text_result("x" * (size - len(bare))), separators=(",", ":"))

    async with agent.tool_side("t", calls=False) as program, xiaozhi(agent) as device, agent.device() as other:
        await device.frame()

        async def give(to: Device, result: str) -> Frame:
            await to.begin_call("t", 1)
            await program.send(spelled(id=(await program.next("tools/call"))["id"], result=result))
            return await to.reply(1)

        assert len(said(await give(device, result_of(MEBIBYTE, 1)))) > MEBIBYTE - 100
        cut = said(await give(device, result_of(MEBIBYTE + 1, 1)))
        assert cut.endswith(NOTES["zh"])
        assert len(cut) > MEBIBYTE - 500
        assert len(said(await give(other, result_of(MEBIBYTE + 1, 1)))) > MEBIBYTE - 100, "others have no such limit"
        picture = {"type": "image", "data": BLOB * 8, "mimeType": "image/png"}
        result = json.dumps({"content": [picture, {"type": "text", "text": "门口有人。"}]})
        assert len(result) > MEBIBYTE
        assert said(await give(device, result)) == "门口有人。"
        assert said(await give(device, result_of(100, 1)))
        assert await agent.ends() == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"code": -1, "message": f"no: data:image/png;base64,{BLOB}"}, "no: [一张图片（PNG，150 KB）]"),
        ({"code": -1, "message": "满了。" * (MEBIBYTE // 4)}, "满了。" + NOTES["zh"]),
        ({"code": -1, "message": "disk full", "data": "x" * MEBIBYTE}, "disk full"),
        ({"code": -1, "message": "", "data": {"detail": "disk full"}}, "disk full"),
        ({"code": -1, "message": "disk full", "data": {"left": 0}}, "disk full"),
    ],
    ids=["picture", "long", "long beside it", "empty", "well"],
)
async def test_the_error_of_a_tool_is_said_too(agent: Agent, error: Frame, message: str) -> None:
    async with agent.tool_side("t", calls=False) as program, xiaozhi(agent) as device:
        await device.frame()
        await device.begin_call("t", 1)
        call = await program.next("tools/call")
        await program.send({"jsonrpc": "2.0", "id": call["id"], "error": error})
        told = (await device.reply(1))["error"]
        assert told["code"] == -1
        assert told["message"].endswith(message)
        assert error["message"][:4] in told["message"]
        assert told.get("data", "x") in (error.get("data"), "x")
        assert await agent.ends() == []


async def test_what_is_too_large_and_cannot_be_cut_is_refused(agent: Agent) -> None:
    results = {"resources/read": {"contents": [{"uri": "x://a", "text": "x" * MEBIBYTE}]}}
    introduction = {"capabilities": {"tools": {}, "resources": {}}}
    async with agent.tool_side("t", introduction=introduction, results=results), xiaozhi(agent) as device:
        await device.frame()
        too_large = await device.request("resources/read", {"uri": "x://a"}, 5)
        assert fault(too_large) == (-32003, "result_too_large")
        assert str(MEBIBYTE) in too_large["error"]["data"]["details"]
        assert await agent.ends() == []
