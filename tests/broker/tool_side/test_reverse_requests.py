"""What tool sides ask clients: their model, their user, their roots; of the one client that it can be meant for."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.json import decode, encode

from mcp_endpoint.broker.tool_side.tool_side import MOST_ASKED
from mcp_endpoint.settings.schema import AgentSettings
from support.brokers import Brokers
from support.offline import TIMEOUT, World
from support.offline import Device as Offline
from support.peers import Agent, Broker, Device, Frame, ToolSide, said, spelled, text_result
from support.tasks import begun, cook

REVISION = "2025-11-25"
ABLE = {"sampling": {}, "elicitation": {}, "roots": {"listChanged": True}}
EVERYTHING = "sampling, elicitation, roots"
PARAMS = {"messages": [], "maxTokens": 10, "odd": 1.0}


@pytest.fixture
def broker(broker_with: Brokers) -> Broker:
    return broker_with(ask_clients=EVERYTHING)


@contextlib.asynccontextmanager
async def client(agent: Agent, name: str = "test", capabilities: object = ABLE) -> AsyncIterator[Device]:
    async with agent.device(None) as device:
        info = {
            "protocolVersion": REVISION,
            "capabilities": capabilities,
            "clientInfo": {"name": name, "version": "1"},
        }
        await device.request("initialize", info)
        await device.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield device


async def asks(program: ToolSide, method: str, id_: object = "mine", params: object = PARAMS) -> None:
    await program.send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})


async def answer_of(program: ToolSide, id_: object = "mine") -> Frame:
    """What came for a request of the program."""
    answer = await program.next("answer")
    assert answer["id"] == id_
    return answer


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list"])
async def test_the_client_whose_call_it_is_is_asked_and_answers(broker: Broker, method: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, client(agent) as device:
        assert (await program.next("initialize"))["params"]["capabilities"] == {ability: {} for ability in ABLE}
        await device.begin_call("t", 7)
        call = await program.next("tools/call")
        await asks(program, method)
        asked = await device.frame()
        assert (asked["method"], asked["params"]) == (method, PARAMS)
        await device.send(spelled(id=str(asked["id"]), result='{"role":"assistant","odd":1.0}'))
        assert await answer_of(program) == {
            "jsonrpc": "2.0",
            "id": "mine",
            "result": {"role": "assistant", "odd": 1.0},
        }
        await asks(program, method, 2)
        error = {"code": -1, "message": "The user said no."}
        await device.send({"jsonrpc": "2.0", "id": (await device.frame())["id"], "error": error})
        assert (await answer_of(program, 2))["error"] == error
        await program.answer(call, text_result("done"))
        assert said(await device.reply(7)) == "done"


async def test_nobody_is_asked_where_the_settings_do_not_allow_it(broker_with: Brokers) -> None:
    agent = broker_with(ask_clients="roots").agent()
    async with agent.tool_side("t", calls=False) as program, client(agent) as device:
        assert (await program.next("initialize"))["params"]["capabilities"] == {"roots": {}}
        await device.begin_call("t", 1)
        await program.next("tools/call")
        await asks(program, "sampling/createMessage")
        refused = (await answer_of(program))["error"]
        assert (refused["code"], refused["data"]["reason"]) == (-32601, "nobody_to_ask")
        assert await device.settled() == []


@pytest.mark.parametrize(
    ("others", "able"),
    [
        ({"test": ABLE}, False),
        ({"test": {"roots": {}}}, True),
        ({"test": None}, True),
        ({"XiaozhiMCPEndpointClient": ABLE}, True),
    ],
    ids=["another that can", "another that cannot", "one that says nothing", "a Xiaozhi server"],
)
async def test_one_of_several_callers_is_asked_only_if_it_alone_can_answer(
    broker: Broker, others: dict[str, Any], able: bool
) -> None:
    agent = broker.agent()
    ((name, capabilities),) = others.items()
    async with (
        agent.tool_side("t", calls=False) as program,
        client(agent) as device,
        client(agent, name, capabilities) as other,
        client(agent) as bystander,
    ):
        for one in (device, other):
            await one.begin_call("t", 1)
            await program.next("tools/call")
        await asks(program, "sampling/createMessage")
        if able:
            asked = await device.frame()
            await device.send({"jsonrpc": "2.0", "id": asked["id"], "result": {}})
            assert (await answer_of(program))["result"] == {}
        else:
            assert (await answer_of(program))["error"]["data"]["reason"] == "nobody_to_ask"
            assert await device.settled() == []
        assert await other.settled() == await bystander.settled() == []


async def test_nobody_calls_so_nobody_is_asked(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("t") as program, client(agent) as device:
        assert said(await device.call("t"))
        await asks(program, "roots/list")
        assert (await answer_of(program))["error"]["data"]["reason"] == "nobody_to_ask"
        await device.send({"jsonrpc": "2.0", "id": 1, "result": {}})
        assert await device.settled() == []
        (link,) = await agent.links("device")
        assert link["drops"] == {"answer_to_nothing": 1}


@pytest.mark.parametrize("way", ["the program gives up", "the call is cancelled", "the client goes", "it is answered"])
async def test_what_was_asked_ends_with_its_call(broker: Broker, way: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program:
        async with client(agent) as device:
            await device.begin_call("t", 1)
            call = await program.next("tools/call")
            await asks(program, "elicitation/create")
            asked = await device.frame()
            if way == "the program gives up":
                await program.notify("notifications/cancelled", requestId="mine", reason="enough")
                cancelled = {"requestId": asked["id"], "reason": "enough"}
                assert (await device.frame())["params"] == cancelled
            elif way == "the call is cancelled":
                await device.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
                assert (await device.frame())["params"] == {"requestId": asked["id"]}
            elif way == "it is answered":
                await program.answer(call, text_result("never mind"))
                assert (await device.frame())["params"] == {"requestId": asked["id"]}
                assert said(await device.reply(1)) == "never mind"
            if way != "the client goes":
                await device.send({"jsonrpc": "2.0", "id": asked["id"], "result": {}})
                assert await device.settled() == []
        if way == "the program gives up":
            await program.settled()
        else:
            refused = (await answer_of(program))["error"]
            assert (refused["code"], refused["data"]["reason"]) == (-32002, "no_answer")


@pytest.mark.parametrize("odd", ['"result":null', '"error":5', '"error":null', '"result":null,"error":null'])
async def test_an_answer_that_is_none_is_an_error_to_the_program(broker: Broker, odd: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, client(agent) as device:
        await device.begin_call("t", 1)
        await program.next("tools/call")
        await asks(program, "roots/list")
        asked = await device.frame()
        await device.send(f'{{"jsonrpc":"2.0","id":{asked["id"]},{odd}}}')
        answer = await answer_of(program)
        if odd == '"result":null':
            assert answer["result"] is None
        elif odd == '"error":5':
            assert answer["error"] == {"code": 5, "message": "5"}
        else:
            assert answer["error"]["data"]["reason"] == "no_answer"


async def test_a_program_asks_so_much_at_a_time_and_each_thing_once(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, client(agent) as device:
        await device.begin_call("t", 1)
        await program.next("tools/call")
        for number in range(MOST_ASKED + 1):
            await asks(program, "roots/list", number)
        assert (await answer_of(program, MOST_ASKED))["error"]["data"]["reason"] == "too_many_questions"
        await asks(program, "roots/list", 0)
        assert (await answer_of(program, 0))["error"]["data"]["reason"] == "id_in_flight"
        numbers = [decode(text)["id"] for text in await device.settled()]
        assert len(set(numbers)) == MOST_ASKED


def test_what_may_be_meant_for_another_agent_is_for_nobody() -> None:
    """Its client may be a device that nobody can ask, or its call a task by now."""
    allowed = {"follower": AgentSettings(tools_from="agent"), "agent": AgentSettings()}
    world = World(allowed, ask_clients="roots")
    program = world.join(mute=("tools/call",))
    silent = Offline(world, agent="follower")
    silent.call(1)
    device = Offline(world)
    greet(device)
    device.call(1)
    program.work()
    program.session.receive(encode({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}), world.now)
    assert "roots/list" not in [frame.get("method") for frame in device.got]
    assert program.inbox[-1]["error"]["data"]["reason"] == "nobody_to_ask"
    silent.leave()
    program.session.receive(encode({"jsonrpc": "2.0", "id": 2, "method": "roots/list"}), world.now)
    assert device.got[-1]["method"] == "roots/list"


async def test_what_is_asked_for_a_task_goes_to_who_waits_for_its_result(broker: Broker) -> None:
    agent = broker.agent()
    async with (
        cook(agent) as program,
        client(agent) as device,
        client(agent) as other,
    ):
        id_ = await begun(device, program, "t1")
        await other.send({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "cook"}})
        await program.next("tools/call")
        related = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t1"}}}
        await asks(program, "elicitation/create", 1, related)
        assert (await answer_of(program, 1))["error"]["data"]["reason"] == "nobody_to_ask"
        await device.send({"jsonrpc": "2.0", "id": 9, "method": "tasks/result", "params": {"taskId": id_}})
        await program.next("tasks/result")
        await asks(program, "elicitation/create", 2, related)
        asked = await device.frame()
        assert asked["params"] == related
        await device.send({"jsonrpc": "2.0", "id": asked["id"], "result": {}})
        assert (await answer_of(program, 2))["result"] == {}
        assert await other.settled() == []


@pytest.mark.parametrize("offered", [None, 5, [], "x"])
async def test_what_a_client_offers_is_an_object(broker: Broker, offered: object) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, client(agent, "test", {"roots": offered}) as device:
        await device.begin_call("t", 1)
        await program.next("tools/call")
        await asks(program, "roots/list")
        assert (await answer_of(program))["error"]["data"]["reason"] == "nobody_to_ask"


def test_a_shared_tool_side_asks_only_clients_of_agents_that_allow_it() -> None:
    world = World({"follower": AgentSettings(tools_from="agent"), "agent": AgentSettings(ask_clients="roots")})
    program = world.join(mute=("tools/call",))
    for agent in ("follower", "agent"):
        device = Offline(world, agent=agent)
        greet(device)
        device.call(1)
        program.work()
        program.session.receive(encode({"jsonrpc": "2.0", "id": agent, "method": "roots/list"}), world.now)
        told = [frame for frame in device.got if frame.get("method") == "roots/list"]
        assert len(told) == (agent == "agent")
        device.leave()


def test_a_call_has_its_time_anew_when_its_client_is_asked_and_when_it_answers() -> None:
    world = World(ask_clients="elicitation")
    program = world.join(mute=("tools/call",))
    device = Offline(world)
    device.call_timeout = TIMEOUT
    greet(device)
    device.call(1)
    world.passes(TIMEOUT - 1)
    program.session.receive(encode({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create"}), world.now)
    world.passes(TIMEOUT - 1)
    asked = device.got[-1]
    assert asked["method"] == "elicitation/create"
    device.session.receive(encode({"jsonrpc": "2.0", "id": asked["id"], "result": {}}), world.now)
    world.passes(TIMEOUT - 1)
    assert device.got[-1] is asked, "no outcome yet"
    world.passes(2)
    assert device.got[-1]["error"]["data"]["reason"] == "call_timed_out"


class AnswersAtOnce(Offline):
    """A client whose answer is there before its link has sent the question."""

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        super().send(frame, about)
        if self.got[-1].get("method") == "roots/list":
            self.session.receive(encode({"jsonrpc": "2.0", "id": self.got[-1]["id"], "result": {}}), self.world.now)


def test_an_answer_may_be_there_before_the_question_is_sent() -> None:
    world = World(ask_clients="roots")
    program = world.join(mute=("tools/call",))
    device = AnswersAtOnce(world)
    greet(device)
    device.call(1)
    program.work()
    for _ in range(MOST_ASKED + 1):  # under one id: none of them is left over
        program.session.receive(encode({"jsonrpc": "2.0", "id": "mine", "method": "roots/list"}), world.now)
        assert program.inbox.pop() == {"jsonrpc": "2.0", "id": "mine", "result": {}}


def greet(device: Offline) -> None:
    params = {
        "protocolVersion": REVISION,
        "capabilities": ABLE,
        "clientInfo": {"name": "test", "version": "1"},
    }
    frame = {"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params}
    device.session.receive(encode(frame), device.world.now)
