"""The device door: ids, params and answers (docs/protocol.md, section 4), and one outcome per request."""

from typing import Any

import pytest

from support.brokers import Brokers
from support.clock import takes
from support.peers import Agent, Broker, Device, answers, fault, said, spelled, text_result


def call_of(id_: object, params: str = '{"name":"t"}') -> str:
    return spelled(id=id_, method='"tools/call"', params=params)


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


# --- ids ---

IDS = [
    "0",
    '""',
    "1",
    '"1"',
    "-7",
    "9007199254740993",
    "123456789012345678901234567890",
    '"é😀"',
    '"\\u00e9\\n\\"\\\\/"',
]


@pytest.mark.parametrize("id_", IDS)
async def test_an_id_comes_back_exactly_as_it_was_sent(agent: Agent, id_: str) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.send(spelled(id=id_, method='"ping"'))
        assert await device.text() == spelled(id=id_, result="{}")
        await device.send(call_of(id_))
        call = await tool.next("tools/call")
        await tool.send(spelled(id=call["id"], result='{"content":[]}'))
        assert await device.text() == spelled(id=id_, result='{"content":[]}')
        await device.send(call_of(id_, '{"name":"nope"}'))
        assert f'"id":{id_},"error"' in await device.text()


async def test_ids_that_look_alike_are_different(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        for id_ in (1, "1", "", 0):
            await device.begin_call("t", id_, was=repr(id_))
        for call in [await tool.next("tools/call") for _ in range(4)]:
            await tool.answer(call, text_result(call["params"]["arguments"]["was"]))
        for id_ in ("", 1, 0, "1"):
            assert said(await device.reply(id_)) == repr(id_)


@pytest.mark.parametrize(("first", "again"), [("7", "7"), ('"x"', '"x"'), ('"é"', '"\\u00e9"'), ("0", "0")])
async def test_an_id_in_flight_is_refused_and_free_again_later(agent: Agent, first: str, again: str) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.send(call_of(first))
        call = await tool.next("tools/call")
        await device.send(call_of(again))
        assert fault(await device.frame()) == (-32600, "id_in_flight")
        await tool.answer(call, text_result("one"))
        assert said(await device.frame()) == "one"
        await device.send(call_of(again))
        await tool.answer(await tool.next("tools/call"), text_result("two"))
        assert said(await device.frame()) == "two"
        assert tool.waiting("tools/call") == 0


@pytest.mark.parametrize("id_", ["null", "true", "1.5", "1e3", "[1]", '{"a":1}'])
async def test_an_id_of_another_type_is_refused(agent: Agent, id_: str) -> None:
    async with agent.tool_side("t") as tool, agent.device() as device:
        await device.send(call_of(id_))
        error = await device.frame()
        assert error["id"] is None
        assert fault(error) == (-32600, "not_a_request")
        assert await device.settled() == []
        assert tool.waiting("tools/call") == 0


async def test_two_devices_with_equal_ids_get_their_own_answers(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as one, agent.device() as two:
        await one.begin_call("t", 1, who="one")
        await two.begin_call("t", 1, who="two")
        first, second = await tool.next("tools/call"), await tool.next("tools/call")
        assert first["id"] != second["id"]
        for call in (second, first):
            await tool.answer(call, text_result(call["params"]["arguments"]["who"]))
        assert said(await one.reply(1)) == "one"
        assert said(await two.reply(1)) == "two"
        assert await one.settled() == await two.settled() == []


# --- frames that are no requests ---

NOT_JSON = (-32700, "not_json")
NOT_A_REQUEST = (-32600, "not_a_request")


@pytest.mark.parametrize(
    ("frame", "due"),
    [
        ("", NOT_JSON),
        ("hello", NOT_JSON),
        ('{"jsonrpc":"2.0","id":1,"method":"ping"', NOT_JSON),
        ('{"jsonrpc":"2.0","id":1,"method":"ping"}{}', NOT_JSON),
        ("[" * 100_000 + "]" * 100_000, NOT_JSON),
        ("[hello]", NOT_JSON),
        ('{"jsonrpc":2.0,"id":5', NOT_JSON),
        ('{"jsonrpc":2.0,"id":5,"x":' + "[" * 100_000 + "]" * 100_000 + "}", NOT_JSON),
        (r'{"jsonrpc":"2.0","id":"\ud800","method":"ping"}', NOT_JSON),
        ("[]", NOT_A_REQUEST),
        (f"[{call_of(1)},{call_of(2)}]", NOT_A_REQUEST),
        ('"text"', NOT_A_REQUEST),
        ("17", NOT_A_REQUEST),
        ("null", NOT_A_REQUEST),
        ("{}", NOT_A_REQUEST),
        ('{"jsonrpc":"2.0"}', NOT_A_REQUEST),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
async def test_junk_draws_one_error_with_id_null_and_nothing_else(agent: Agent, frame: str, due: object) -> None:
    async with agent.tool_side("t") as tool, agent.device() as device:
        seen = len(tool.texts)
        await device.send(frame)
        error = await device.frame()
        assert error["id"] is None
        assert fault(error) == due
        assert await device.settled() == []
        await tool.settled()
        assert len(tool.texts) == seen + 1, "only the answer to the ping just now"


@pytest.mark.parametrize(
    "frame",
    [
        '{"id":5,"method":"ping"}',
        '{"jsonrpc":"1.0","id":5,"method":"ping"}',
        '{"jsonrpc":2.0,"id":5,"method":"ping"}',
        '{"jsonrpc":"2.0","id":5,"method":17}',
        '{"jsonrpc":"2.0","id":5}',
    ],
)
async def test_a_bad_request_with_a_good_id_is_refused_under_its_id(agent: Agent, frame: str) -> None:
    async with agent.device() as device:
        await device.send(frame)
        error = await device.frame()
        assert error["id"] == 5
        assert fault(error) == NOT_A_REQUEST


async def test_what_leads_nowhere_is_dropped_and_counted(agent: Agent) -> None:
    async with agent.tool_side("t") as tool, agent.device() as device:
        seen = len(tool.texts)
        await device.send('{"jsonrpc":"2.0","id":5,"result":{}}')
        await device.send('{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}')
        await device.send('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}')
        await device.send('{"jsonrpc":"2.0","method":"notifications/cancelled"}')
        assert await device.settled() == []
        await tool.settled()
        assert len(tool.texts) == seen + 1
        drops = (await agent.links("device"))[0]["drops"]
        assert drops == {"answer_to_nothing": 1, "notification_not_routed": 1, "cancelled_nothing_pending": 2}


# --- bytes survive ---

PARAMS = (
    '{"name" : "t","arguments":{"n":1.50,"e":1E5,"big":12345678901234567890123,"s":"\\u00e9\\n\\/é😀"},'
    '"serialNumber":null,"unknown":[1 , 2],"name2":"t"}'
)


async def test_params_and_results_travel_byte_for_byte(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.send(spelled(method='"tools/call"', params=PARAMS, id=3, extra=1))
        call = await tool.next("tools/call")
        assert tool.texts[-1] == call_of(call["id"], PARAMS)
        await tool.send(spelled(x="[]", result=PARAMS, id=call["id"]))
        assert await device.text() == spelled(id=3, result=PARAMS)


async def test_a_tools_error_travels_byte_for_byte(agent: Agent) -> None:
    error = '{"code":-32000 ,"message":"no\\u00e9","data":{"a" : 1.0}}'
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.begin_call("t", 3)
        call = await tool.next("tools/call")
        await tool.send(spelled(id=call["id"], error=error))
        assert await device.text() == spelled(id=3, error=error)


async def test_a_frame_towards_a_tool_side_is_one_line(agent: Agent) -> None:
    async with agent.tool_side("t") as tool, agent.device() as device:
        params = '{\r\n"name":\n"t",\r"arguments":{"s":"a\\r\\nb"\n}}'
        await device.send(call_of("1\r\n", params + "\r\n") + "\n")
        await device.reply(1)
        line = params.replace("\r", " ").replace("\n", " ")
        assert tool.texts[-1] == call_of(2 + 1, line)
        tool.calls = False
        await device.send(call_of(2))
        await tool.next("tools/call")
        reason = '{"a":\n1}'
        await device.send(spelled(method='"notifications/cancelled"', params=f'{{"requestId":2,"reason":{reason}}}'))
        assert (await tool.next("notifications/cancelled"))["params"]["reason"] == {"a": 1}
        assert "\n" not in tool.texts[-1]


# --- what the broker answers itself ---


@pytest.mark.parametrize(
    ("asked", "given"),
    [("2024-11-05", "2024-11-05"), ("2025-06-18", "2025-06-18"), ("2031-01-01", "2025-11-25"), (None, "2025-11-25")],
)
async def test_initialize_answers_the_version_asked_for_if_known(agent: Agent, asked: str | None, given: str) -> None:
    async with agent.device(None) as device:
        params = {"capabilities": {}} | ({"protocolVersion": asked} if asked else {})
        result = (await device.request("initialize", params))["result"]
        assert result["protocolVersion"] == given
        assert "tools" in result["capabilities"]
        assert result["serverInfo"]["name"] == "mcp-endpoint"


async def test_one_tool_sides_words_are_passed_on_and_several_joined(agent: Agent) -> None:
    info = {"name": "calc", "version": "7", "title": "Rechner é"}
    introduction = {"serverInfo": info, "instructions": "Add."}
    async with agent.tool_side("t", introduction=introduction), agent.device(None) as device:
        alone = (await device.request("initialize", {}))["result"]
        assert alone["serverInfo"] == info
        assert alone["instructions"] == "Add."
        async with agent.tool_side("u", server="lamp", introduction={"instructions": "Switch."}):
            both = (await device.request("initialize", {}))["result"]
            assert both["serverInfo"]["name"] == "mcp-endpoint"
            assert both["instructions"] == "# calc\nAdd.\n\n# lamp\nSwitch."


async def test_a_method_the_broker_does_not_know_goes_to_the_only_tool_side(agent: Agent) -> None:
    async with agent.tool_side("t") as tool, agent.device() as device:
        await device.send({"jsonrpc": "2.0", "id": 4, "method": "odd/thing", "params": {"a": 1, "_meta": {"b": 2}}})
        asked = await tool.next("odd/thing")
        assert asked["params"] == {"a": 1, "_meta": {"b": 2}}
        await tool.answer(asked, {"odd": True})
        assert await device.reply(4) == {"jsonrpc": "2.0", "id": 4, "result": {"odd": True}}
        await device.send(spelled(id=5, method='"odd/thing"', params="null"))
        assert "params" not in await tool.next("odd/thing")
        async with agent.tool_side("u", server="other"):
            assert fault(await device.request("odd/thing")) == (-32601, "no_such_method")


async def test_a_method_the_only_tool_side_does_not_answer_ends_in_five_seconds(agent: Agent) -> None:
    async with agent.tool_side("t"), agent.device() as device:
        with takes(5, 28):
            assert fault(await device.request("odd/thing")) == (-32601, "method_not_answered")


@pytest.mark.parametrize("params", [None, [], {}, {"name": 1}, {"name": None}, "t"])
async def test_a_call_without_a_tools_name_is_refused(agent: Agent, params: object) -> None:
    async with agent.tool_side("t") as tool, agent.device() as device:
        refused = await device.request("tools/call", params)
        assert fault(refused) == (-32602, "bad_params")
        assert refused["error"]["data"]["details"] == "请求的 params 有误：缺少 name，或其值无效。"
        assert fault(await device.request("tools/call")) == (-32602, "bad_params")
        assert tool.waiting("tools/call") == 0


async def test_an_unknown_tool_is_refused_with_those_there_are(agent: Agent) -> None:
    async with agent.tool_side("plus", "minus"), agent.device() as device:
        answer = await device.call("times")
        assert fault(answer) == (-32602, "unknown_tool")
        assert "plus, minus" in answer["error"]["data"]["details"]
        assert answer["error"]["data"]["agent_id"] == agent.id


async def test_without_a_tool_side_a_call_fails_at_once(agent: Agent) -> None:
    async with agent.device() as device:
        answer = await device.call("t")
        assert fault(answer) == (-32001, "never_connected")
        assert answer["error"]["message"] == "工具端未连接"


# --- one outcome ---


@pytest.mark.parametrize(
    "members",
    [
        {"result": '{"a":1}', "error": '{"code":1,"message":"x"}'},
        {"foo": "1"},
        {"result": "null"},
        {"error": "null"},
        {"result": "null", "error": "null"},
    ],
)
async def test_a_malformed_answer_is_said_to_be_one(agent: Agent, members: dict[str, str]) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.begin_call("t", 1)
        call = await tool.next("tools/call")
        await tool.send(spelled(id=call["id"], **members))
        assert fault(await device.reply(1)) == (-32603, "malformed_answer")
        await tool.settled()
        assert (await agent.links("tool"))[0]["drops"] == {"malformed_answer": 1}


@pytest.mark.parametrize(
    ("twins", "kept"),
    [
        ({"result": '{"a" : 1}', "error": "null"}, "result"),
        ({"error": '{"code" : 1,"message":"x"}', "result": "null"}, "error"),
    ],
)
async def test_a_null_twin_is_left_out(agent: Agent, twins: dict[str, str], kept: str) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device:
        await device.begin_call("t", 1)
        await tool.send(spelled(id=(await tool.next("tools/call"))["id"], **twins))
        assert await device.text() == spelled(id=1, **{kept: twins[kept]})


async def test_progress_comes_in_order_before_the_answer_with_the_devices_token(agent: Agent) -> None:
    async def begin(device: Device, token: object) -> None:
        meta = {"progressToken": token, "other": 1}
        await device.send(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t", "_meta": meta, "x": [1]}}
        )

    async with agent.tool_side("t", calls=False) as tool, agent.device() as one, agent.device() as two:
        tokens: list[tuple[Device, Any]] = [(one, 0), (two, "0")]
        calls = []
        for device, token in tokens:
            await begin(device, token)
            call = await tool.next("tools/call")
            assert call["params"]["_meta"]["other"] == 1
            assert call["params"]["x"] == [1]
            calls.append(call)
        sent = [call["params"]["_meta"]["progressToken"] for call in calls]
        assert sent[0] != sent[1]
        for step in range(3):
            for token in sent:
                await tool.notify("notifications/progress", progressToken=token, progress=step, message="…", extra=[1])
        for call in reversed(calls):
            await tool.answer(call, text_result("done"))
        await tool.notify("notifications/progress", progressToken=sent[0], progress=9)
        await tool.notify("notifications/progress", progressToken="nobody's", progress=9)
        await tool.settled()
        for device, token in tokens:
            for step in range(3):
                params = {"progressToken": token, "progress": step, "message": "…", "extra": [1]}
                due = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
                assert await device.frame() == due
            assert said(await device.frame()) == "done"
            assert await device.settled() == []
        assert (await agent.links("tool"))[0]["drops"] == {"progress_for_nothing_pending": 2}


async def test_a_cancelled_call_has_no_answer_and_its_id_is_free(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as tool, agent.device() as device, agent.device() as other:
        await device.begin_call("t", 1)
        call = await tool.next("tools/call")
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "enough"}}
        await other.send(cancel)
        await other.settled()
        assert tool.waiting("notifications/cancelled") == 0, "another device's id is not its own"
        await device.send(cancel)
        told = await tool.next("notifications/cancelled")
        assert told["params"] == {"requestId": call["id"], "reason": "enough"}
        await device.begin_call("t", 1)
        again = await tool.next("tools/call")
        await tool.answer(call, text_result("late"))
        await tool.answer(again, text_result("right"))
        assert said(await device.reply(1)) == "right"
        await tool.settled()
        assert await device.settled() == []
        assert (await agent.links("tool"))[0]["drops"] == {"late_answer": 1}


async def test_a_device_that_leaves_takes_its_calls_along(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as tool:
        async with agent.device() as device:
            await device.begin_call("t", 1)
            call = await tool.next("tools/call")
        assert (await tool.next("notifications/cancelled"))["params"]["requestId"] == call["id"]
        await tool.answer(call, text_result("late"))
        await tool.settled()
        report = await agent.report()
        assert report["calls_in_flight"] == 0


async def test_a_call_that_takes_too_long_ends_on_both_sides(broker_with: Brokers) -> None:
    agent = broker_with(call_timeout=0.5).agent()
    async with agent.tool_side("slow", "t", calls=False) as tool, agent.device() as device:
        with takes(0.5, 28):
            await device.begin_call("slow", 1)
            call = await tool.next("tools/call")
            answer = await device.reply(1)
        assert fault(answer) == (-32003, "call_timed_out")
        assert "slow" in answer["error"]["data"]["details"]
        assert (await tool.next("notifications/cancelled"))["params"]["requestId"] == call["id"]
        await tool.answer(call, text_result("late"))
        await tool.settled()
        assert await device.settled() == []
        assert (await agent.links("tool"))[0]["drops"] == {"late_answer": 1}
        assert (await agent.links("tool"))[0]["pending"] == 0


async def test_a_tool_program_on_the_device_door_is_named(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.device(None) as silent, agent.device():
        line = await broker.logged(f"agent {agent.id} .*silent_on_device_door")
        assert "/mcp/" in line
        notes = {link["alias"]: link["notes"] for link in await agent.links("device")}
        assert notes == {"": ["silent_on_device_door"], "test": []}
        assert await silent.settled() == []


def test_the_harness_tells_ids_apart() -> None:
    assert answers('{"id":1,"result":{}}', 1)
    assert not answers('{"id":1,"result":{}}', "1")
    assert not answers('{"id":true,"result":{}}', 1)
    assert not answers('{"id":1,"method":"x"}', 1)
