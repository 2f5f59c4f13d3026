"""The tool door: the broker's handshake, what tool programs send of their own accord, and how they end."""

import asyncio
import json
import re

import pytest

from mcp_endpoint import __version__
from support.brokers import Brokers
from support.clock import takes
from support.peers import Agent, Broker, ToolSide, dialled, fault, parsed, said, spelled, text_result, tool
from support.sockets import PATIENCE, TEXT, Wire


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


@pytest.fixture
def patient(broker_with: Brokers) -> Agent:
    """Of a broker that waits for longer than any test: what ends here ends for another reason."""
    return broker_with(tools_wait=600, call_timeout=600).agent()


# --- the handshake ---


async def test_the_broker_makes_its_own_handshake(agent: Agent) -> None:
    async with agent.tool_side("t") as program:
        hello = await program.next("initialize")
        assert hello["params"] == {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "mcp-endpoint", "version": __version__},
        }
        methods = [parsed(text).get("method") for text in program.texts]
        assert methods[:3] == ["initialize", "notifications/initialized", "tools/list"]
        assert "params" not in parsed(program.texts[2])
        (link,) = await agent.links("tool")
        assert link["info"] == {"name": "calc", "version": "1"}
        assert link["protocol_version"] == "2024-11-05"
        assert link["tools"] == 1


async def test_ids_towards_a_tool_side_are_small_and_unique(agent: Agent) -> None:
    async with agent.tool_side("t") as program, agent.device() as device:
        for id_ in (2**53 + 1, "x", -1):
            assert said(await device.call("t", id_))
        ids = [frame["id"] for frame in map(parsed, program.texts) if "method" in frame and "id" in frame]
        assert len(ids) == len(set(ids)) == 5
        assert all(type(id_) is int and 0 < id_ < 2**31 for id_ in ids)


async def test_an_initialize_that_is_refused_is_tried_again_with_the_oldest_revision(agent: Agent) -> None:
    async with agent.tool_side("t", greets=False) as program:
        first = await program.next("initialize")
        await program.send(spelled(id=first["id"], error='{"code":-32602,"message":"no"}'))
        second = await program.next("initialize")
        assert second["params"]["protocolVersion"] == "2024-11-05"
        await program.answer(second, program.introduction)
        await program.listed()
        async with agent.device() as device:
            assert await device.names() == ["t"]


async def test_a_program_that_refuses_twice_is_named(agent: Agent) -> None:
    async with agent.tool_side(greets=False) as program:
        for _ in range(2):
            hello = await program.next("initialize")
            await program.send(spelled(id=hello["id"], error='{"code":-32602,"message":"no"}'))
        await agent.broker.logged(f"agent {agent.id} .*refused_initialize")


async def test_all_pages_of_a_list_are_taken(agent: Agent) -> None:
    async with agent.tool_side(lists=False) as program, agent.device() as device:
        for number, cursor in enumerate([None, "p 1", ""]):
            asked = await program.next("tools/list")
            assert asked.get("params") == (None if cursor is None else {"cursor": cursor})
            more = {"nextCursor": ["p 1", ""][number]} if number < 2 else {}
            await program.answer(asked, {"tools": [tool(f"t{number}")]} | more)
        await program.settled()
        assert await device.names() == ["t0", "t1", "t2"]


async def test_bad_definitions_are_left_out_and_the_rest_kept_byte_for_byte(agent: Agent) -> None:
    odd = '{"x" : 1.50,"name":"t","inputSchema":{"type" : "object"},"é":null}'
    listed = f'{{"tools":[{odd},{{}},{{"name":1}},{odd},"t",{{"name":""}}]}}'
    async with agent.tool_side(lists=False) as program, agent.device(None) as device:
        asked = await program.next("tools/list")
        await program.send(spelled(id=asked["id"], result=listed))
        await program.settled()
        await device.send(spelled(id=1, method='"tools/list"'))
        assert await device.text() == spelled(id=1, result=f'{{"tools":[{odd}]}}')
        assert (await agent.links("tool"))[0]["drops"] == {"bad_definition": 4, "duplicate_name": 1}


async def test_a_list_that_fails_is_an_empty_one_with_a_note(agent: Agent) -> None:
    async with agent.tool_side(lists=False) as program, agent.device() as device:
        asked = await program.next("tools/list")
        await program.send(spelled(id=asked["id"], error='{"code":-32601,"message":"no"}'))
        await program.settled()
        assert await device.names() == []
        assert (await agent.links("tool"))[0]["notes"] == ["list_failed"]


async def test_a_program_without_tools_is_an_answer(patient: Agent) -> None:
    async with patient.tool_side(introduction={"capabilities": {}}), patient.device() as device:
        assert await device.names() == []


async def test_a_list_changed_before_the_handshake_harms_nothing(agent: Agent) -> None:
    async with agent.tool_side("t", greets=False) as program, agent.device() as device:
        await program.notify("notifications/tools/list_changed")
        await program.answer(await program.next("initialize"), program.introduction)
        await program.listed()
        assert await device.names() == ["t"]
        assert program.waiting("tools/list") == 0


# --- what programs print or send that is no answer ---

JUNK = [
    "Starting server…",
    "[1, 2]",
    '"text"',
    "17",
    '{"jsonrpc":2.0,"id":1,"x":' + "[" * 100_000 + "]" * 100_000 + "}",
    "[" * 100_000,
]


async def test_stray_prints_are_dropped_counted_and_named_and_draw_no_answer(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as program, agent.device() as device:
        await device.begin_call("t", 1)
        call = await program.next("tools/call")
        seen = len(program.texts)
        for text in JUNK:
            await program.send(text)
        await program.settled()
        assert len(program.texts) == seen + 1, "only the answer to the ping just now"
        await program.answer(call, text_result("fine"))
        assert said(await device.reply(1)) == "fine"
        assert await device.settled() == []
        (link,) = await agent.links("tool")
        assert link["drops"] == {"not_json_rpc": len(JUNK)}
        assert link["notes"] == ["prints_to_stdout"]
        assert "stdout" in await agent.broker.logged(f"agent {agent.id} .*prints_to_stdout")


async def test_answers_that_nobody_waits_for_are_dropped_and_counted(agent: Agent) -> None:
    async with agent.tool_side("t") as program, agent.device() as device:
        seen = len(program.texts)
        for id_ in ("null", "99", '"1"', "-1", "1.0", "99999999999", "true", "[1]"):
            await program.send(spelled(id=id_, result="{}"))
        await program.send(spelled(result="{}"))
        await program.send(spelled(method='"notifications/message"', params='{"level":"info","data":"x"}'))
        await program.send(spelled(id="null", method='"ping"'))
        await program.settled()
        assert len(program.texts) == seen + 1
        assert await device.settled() == []
        drops = (await agent.links("tool"))[0]["drops"]
        assert drops == {"late_answer": 8, "answer_without_id": 1, "log_for_nobody": 1, "bad_id": 1}


@pytest.mark.parametrize("id_", ["0", '"é"', "7"])
async def test_requests_from_a_tool_side_are_answered(agent: Agent, id_: str) -> None:
    async with agent.tool_side("t") as program, agent.device() as device:
        await program.send(spelled(id=id_, method='"ping"'))
        await program.next("answer")
        assert program.texts[-1] == spelled(id=id_, result="{}")
        for method in ("roots/list", "sampling/createMessage", "elicitation/create", "tools/list", "nonsense"):
            await program.send(spelled(id=id_, method=f'"{method}"', params="{}"))
            reason = "no_such_method" if method in ("tools/list", "nonsense") else "nobody_to_ask"
            assert fault(await program.next("answer")) == (-32601, reason)
            assert f'"id":{id_},"error"' in program.texts[-1]
        assert await device.settled() == [], "never to a bystander"


async def test_a_device_program_on_the_tool_door_is_named(patient: Agent) -> None:
    async with patient.tool_side(greets=False) as lost, patient.device() as device:
        await lost.send(spelled(id=0, method='"initialize"', params="{}"))
        error = await lost.next("answer")
        assert error["id"] == 0
        assert fault(error) == (-32601, "device_on_tool_door")
        assert "/call/" in error["error"]["data"]["details"]
        assert "/call/" in await patient.broker.logged(f"agent {patient.id} .*device_on_tool_door")
        assert (await patient.links("tool"))[0]["notes"] == ["device_on_tool_door"]
        async with patient.tool_side("t"):
            assert await device.names() == ["t"], "nobody waits for a device program's tools"


# --- ends ---


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_tool_side_that_dies_takes_its_calls_to_errors_at_once(patient: Agent, way: str) -> None:
    async with patient.tool_side("t", calls=False) as program, patient.device() as device, patient.device() as other:
        for id_ in range(5):
            await device.begin_call("t", id_)
        await other.begin_call("t", 0)
        for _ in range(6):
            await program.next("tools/call")
        if way == "close":
            await program.connection.close(1000, "bye")
        else:
            program.connection.transport.abort()
        answers = [await device.reply(id_) for id_ in range(5)] + [await other.reply(0)]
        assert {fault(answer) for answer in answers} == {(-32003, "tool_side_lost")}
        assert "calc" in answers[0]["error"]["data"]["details"]
        assert await device.settled() == await other.settled() == []
        (end,) = await patient.ended("tool")
        assert (end["alias"], end["reason"]) == ("calc", "peer_closed" if way == "close" else "connection_lost")
        assert (end["code"], end["detail"]) == ((1000, "bye") if way == "close" else (1006, ""))


async def test_a_newcomer_serves_and_a_look_alike_that_is_silent_is_closed(broker: Broker, agent: Agent) -> None:
    async with Wire.open(broker) as old, agent.device() as device:
        assert b" 101 " in await old.upgrade(agent.path("mcp"))
        for result in (
            {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "calc"}},
            {"tools": [tool("t"), tool("u")]},
        ):
            request = {"method": "notifications/initialized"}
            while "id" not in request:
                request = json.loads((await old.frame())[1])
            old.send_frame(TEXT, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())
        assert await device.names() == ["t", "u"]
        await device.settled()
        await device.begin_call("t", 1)
        async with agent.tool_side("t", "u") as new:
            new.say = lambda call: "new"  # type: ignore[method-assign]
            assert said(await device.call("t")) == "new", "a newcomer serves at once"
            assert await old.close_frame() == (1000, "新连接替换")
            assert fault(await device.reply(1)) == (-32003, "tool_side_lost"), "a sent call is never repeated elsewhere"
            (end,) = await agent.ended("tool")
            assert end["reason"] == "replaced"
            assert said(await device.call("t")) == "new", "the end of the old link did not unregister the new one"
            assert await device.names() == ["t", "u"]
            assert len(await agent.links("tool")) == 1
            assert await device.settled() == [], "the same tools: nothing to tell"


async def test_a_look_alike_that_lives_stands_by_and_takes_over(broker: Broker, agent: Agent) -> None:
    async with agent.tool_side("t") as old, agent.device() as device:
        old.say = lambda call: "old"  # type: ignore[method-assign]
        async with agent.tool_side("t") as new:
            new.say = lambda call: "new"  # type: ignore[method-assign]
            assert said(await device.call("t")) == "new"
            await broker.logged(rf"agent {agent.id}: More than one program looks like calc: .*\?server_id=", count=1)
            assert [link["standby"] for link in await agent.links("tool")] == [True, False]
            assert all("look_alike" in link["notes"] for link in await agent.links("tool"))
        await agent.ended("tool")
        for _ in ("probe", "takeover"):
            await old.next("ping")
        await old.settled()
        assert said(await device.call("t")) == "old"
        assert await device.settled() == [], "the same tools all the time: nothing to tell"


async def test_server_id_is_an_identity_before_the_programs_name(agent: Agent) -> None:
    async with (
        agent.tool_side("t", server_id="one"),
        agent.tool_side("t", server_id="two") as two,
        agent.device() as device,
    ):
        assert await device.names() == ["one__t", "two__t"]
        async with agent.tool_side("t", server_id="one", server="renamed"):
            assert said(await device.call("one__t")) == "renamed.t({})"
            assert said(await device.call("two__t")) == "calc.t({})"
            await two.settled()
        assert await device.names() == ["one__t", "two__t"]


async def test_a_tool_side_that_is_gone_stays_listed_and_says_since_when(broker_with: Brokers) -> None:
    agent = broker_with(language="en", tools_wait=600, call_timeout=600).agent()
    async with agent.tool_side("t") as program, agent.device() as device:
        assert await device.names() == ["t"]
        await program.connection.close()
        await agent.ended("tool")
        assert await device.names() == ["t"]
        answer = await device.call("t")
        assert fault(answer) == (-32001, "tool_side_offline")
        assert answer["error"]["message"] == "工具端未连接"
        details = answer["error"]["data"]["details"]
        assert re.fullmatch(r"calc went offline \d+ s ago: closed by the peer \(1000\); .*running\.", details)
        (away,) = (await agent.report())["offline"]
        assert (away["alias"], away["reason"]) == ("calc", "peer_closed")
        async with agent.tool_side("t"):
            assert said(await device.call("t")) == "calc.t({})"
        assert await device.settled() == [], "it came back with the same tools: nothing to tell"


async def test_a_grace_that_is_over_takes_the_tools_off_the_list(broker_with: Brokers) -> None:
    agent = broker_with(offline_grace=0.3, tools_wait=2).agent()
    async with agent.tool_side("stays", server="other"), agent.tool_side("t") as program, agent.device() as device:
        assert await device.names() == ["stays", "t"]
        await program.connection.close()
        assert (await device.frame())["method"] == "notifications/tools/list_changed"
        assert await device.names() == ["stays"]
        assert fault(await device.call("t"))[0] == -32001, "a name it was shown still says what happened"
    assert await forgotten(agent)


async def forgotten(agent: Agent) -> bool:
    """Nothing of an agent is kept once its last grace is over."""
    async with asyncio.timeout(PATIENCE):
        while await agent.report() is not None:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.02)
    return True


async def test_a_full_agent_refuses_one_more_and_says_so(broker_with: Brokers) -> None:
    agent = broker_with(max_tool_sides=1, max_devices=1).agent()
    async with agent.tool_side("t"), agent.device():
        for door, reason in (("mcp", "工具端数量超限"), ("call", "设备端数量超限")):
            async with dialled(agent.broker.url(agent.path(door))) as refused:
                async with asyncio.timeout(PATIENCE):
                    await refused.wait_closed()
                assert (refused.close_code, refused.close_reason) == (1013, reason)


async def test_a_program_that_never_finishes_its_handshake_is_said_to_be_starting(broker_with: Brokers) -> None:
    agent = broker_with(tools_wait=0.3).agent()
    async with agent.tool_side(greets=False) as slow, agent.device() as device:
        with takes(0.3, 8):
            assert await device.names() == []
        assert fault(await device.call("t")) == (-32001, "tool_side_starting")
        await finish(slow, "t")
        assert (await device.frame())["method"] == "notifications/tools/list_changed"
        assert said(await device.call("t")) == "calc.t({})"


async def test_a_call_waits_for_a_tool_side_that_is_starting(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a"), agent.tool_side(greets=False) as slow, agent.device() as device:
        for id_ in (1, 2):
            await device.begin_call("t", id_)
        await device.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}})
        assert said(await device.call("a")) == "calc.a({})", "what is there is not held up"
        await finish(slow, "t")
        assert said(await device.reply(1)) == "calc.t({})"
        assert said(await device.call("t")) == "calc.t({})"
        assert fault(await device.call("u")) == (-32602, "unknown_tool"), "nobody is starting any more"


async def finish(program: ToolSide, *names: str) -> None:
    """Have a program that kept silent complete its handshake."""
    program.tools = [tool(name) for name in names]
    await program.answer(await program.next("initialize"), program.introduction)
    await program.listed()
