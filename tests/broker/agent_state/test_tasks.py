"""Tasks of MCP 2025-11-25: begun by a call, asked for by any client of the agent, and by nobody else."""

from typing import Any

import pytest
from msgspec.json import decode, encode

from mcp_endpoint.broker.agent_state.tasks import LONGEST_KEPT, MOST_TASKS, PAGE, Task
from mcp_endpoint.broker.tool_side.tool_side import ToolSide as BrokersToolSide
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.settings.schema import AgentSettings, ServerSettings, Settings
from support.brokers import Brokers
from support.offline import TIMEOUT, World
from support.offline import Device as Offline
from support.peers import Broker, Device, Frame, ToolSide, fault, said, spelled, text_result, tool
from support.tasks import CAPABILITY, COOK, INTRODUCTION, RELATED, REVISION, begun, client, cook, task


async def asked(device: Device, program: ToolSide, method: str, id_: str, result: Frame) -> Any:
    """What a client is told of a task, and the id that its tool side was asked for."""
    await device.send({"jsonrpc": "2.0", "id": method, "method": method, "params": {"taskId": id_}})
    request = await program.next(method)
    await program.answer(request, result)
    return (await device.reply(method))["result"], request["params"]["taskId"]


async def test_a_task_is_begun_asked_for_and_has_a_result(broker: Broker) -> None:
    agent = broker.agent()
    async with cook(agent) as program, client(agent) as device:
        assert device.capabilities["tasks"] == CAPABILITY  # type: ignore[attr-defined]
        id_ = await begun(device, program, "t1")
        assert id_ == "t1"
        assert await asked(device, program, "tasks/get", id_, task("t1", statusMessage="chopping")) == (
            task("t1", statusMessage="chopping"),
            "t1",
        )
        listed = (await device.request("tasks/list"))["result"]
        assert listed == {"tasks": [task("t1", statusMessage="chopping")]}
        result, own = await asked(device, program, "tasks/result", id_, text_result("soup", _meta={"x": 1}))
        assert own == "t1"
        assert result == text_result("soup", _meta={"x": 1, RELATED: {"taskId": "t1"}})
        assert (await agent.report())["tasks"] == 1


async def test_two_tool_sides_may_use_the_same_id(broker: Broker) -> None:
    agent = broker.agent()
    async with (
        cook(agent, server="a") as first,
        agent.tool_side(
            tool("bake", execution=COOK["execution"]), server="b", introduction=INTRODUCTION, calls=False
        ) as second,
        client(agent) as device,
    ):
        one = await begun(device, first, "1")
        other = await begun(device, second, "1", "bake")
        assert (one, other) == ("1", "1~2")
        assert await asked(device, second, "tasks/cancel", other, task("1", "cancelled")) == (
            task(other, "cancelled"),
            "1",
        )
        assert (await asked(device, first, "tasks/get", one, task("1")))[0]["status"] == "working"
        result, _ = await asked(device, second, "tasks/result", other, text_result("cake"))
        assert result["_meta"] == {RELATED: {"taskId": other}}
        states = {one["taskId"]: one["status"] for one in (await device.request("tasks/list"))["result"]["tasks"]}
        assert states == {one: "working", other: "cancelled"}


async def test_any_client_of_the_agent_may_ask_and_hears_of_it_and_no_other(broker: Broker) -> None:
    agent = broker.agent()
    async with cook(agent) as program, client(agent) as later, client(agent, "2025-06-18") as old:
        async with client(agent) as device:
            id_ = await begun(device, program, "t1")
        assert (await asked(later, program, "tasks/get", id_, task("t1")))[0] == task("t1")
        await program.notify("notifications/tasks/status", **task("t1", "completed"))
        heard = {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": task("t1", "completed")}
        assert await later.frame() == heard
        assert await old.settled() == []
        assert fault(await old.request("tasks/get", {"taskId": id_})) == (-32601, "no_such_method")
        await program.notify("notifications/tasks/status", **task("t2", "completed"))
        await program.settled()
        assert (await agent.links("tool"))[0]["drops"] == {"status_of_unknown_task": 1}
    other = broker.agent()
    async with cook(other), client(other) as stranger:
        assert fault(await stranger.request("tasks/get", {"taskId": id_})) == (-32602, "unknown_task")
        assert fault(await stranger.request("tasks/result", {})) == (-32602, "bad_params")
        assert (await stranger.request("tasks/list"))["result"] == {"tasks": []}


async def test_progress_goes_on_until_the_task_is_over(broker: Broker) -> None:
    agent = broker.agent()
    async with cook(agent) as program, client(agent) as device:
        await begun(device, program, "t1", progressToken="mine")
        token = (await device.request("tasks/list"))["result"]["tasks"]  # what was told of it has no such member
        assert "token" not in token[0]
        number = program_token(program)
        await program.notify("notifications/progress", progressToken=number, progress=1)
        told = {"progressToken": "mine", "progress": 1}
        assert (await device.frame())["params"] == told
        await program.notify("notifications/tasks/status", **task("t1", "failed"))
        await program.notify("notifications/progress", progressToken=number, progress=2)
        await program.settled()
        assert [decode(text)["method"] for text in await device.settled()] == ["notifications/tasks/status"]
        assert (await agent.links("tool"))[0]["drops"] == {"progress_for_nothing_pending": 1}


def program_token(program: ToolSide) -> int:
    """The token that the last call brought."""
    calls = [frame for text in program.texts if (frame := decode(text)).get("method") == "tools/call"]
    token = calls[-1]["params"]["_meta"]["progressToken"]
    assert isinstance(token, int)
    return token


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18"])
async def test_for_an_older_client_it_is_an_ordinary_call(broker: Broker, revision: str) -> None:
    agent = broker.agent()
    async with cook(agent, calls=True) as program, client(agent, revision) as device:
        assert "tasks" not in device.capabilities  # type: ignore[attr-defined]
        params = {"name": "cook", "task": {"ttl": 1}, "arguments": {}}
        assert said(await device.request("tools/call", params)) == "calc.cook({})"
        assert "task" not in (await program.next("tools/call"))["params"]


async def test_a_tool_side_without_tasks_is_asked_for_an_ordinary_call(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("add") as program, client(agent) as device:
        assert "tasks" not in device.capabilities  # type: ignore[attr-defined]
        params = {"name": "add", "task": {"ttl": 1}, "arguments": {}}
        assert said(await device.request("tools/call", params)) == "calc.add({})"
        assert "task" not in (await program.next("tools/call"))["params"]


async def test_a_program_that_comes_back_is_asked_for_the_tasks_it_had(broker: Broker) -> None:
    agent = broker.agent()
    async with client(agent) as device:
        async with cook(agent) as program:
            id_ = await begun(device, program, "t1")
            await device.send({"jsonrpc": "2.0", "id": 9, "method": "tasks/result", "params": {"taskId": id_}})
            await program.next("tasks/result")
        assert fault(await device.reply(9)) == (-32003, "tool_side_lost")
        assert fault(await device.request("tasks/get", {"taskId": id_})) == (-32001, "tool_side_offline")
        async with cook(agent) as program:
            assert (await asked(device, program, "tasks/get", id_, task("t1")))[0] == task("t1")


@pytest.mark.parametrize(("asked", "outcome"), [("null", "calc.cook(null)"), ("5", None), ('"x"', None), ("[]", None)])
async def test_what_asks_for_a_task(broker: Broker, asked: str, outcome: str | None) -> None:
    agent = broker.agent()
    async with cook(agent, calls=True) as program, client(agent) as device:
        await device.send(spelled(id="1", method='"tools/call"', params=f'{{"name":"cook","task":{asked}}}'))
        answer = await device.reply(1)
        if outcome is None:
            assert fault(answer) == (-32602, "bad_params")
        else:
            assert said(answer) == outcome
            assert "task" not in (await program.next("tools/call"))["params"]


async def test_who_waits_for_a_result_waits_as_long_as_for_any_call(broker_with: Brokers) -> None:
    agent = broker_with(call_timeout=2).agent()
    async with cook(agent) as program, client(agent) as device:
        id_ = await begun(device, program, "t1")
        assert fault(await device.request("tasks/result", {"taskId": id_})) == (-32003, "task_not_over")
        assert (await agent.report())["calls_in_flight"] == 0


# --- what an agent keeps, without sockets ---


def greet(device: Offline) -> None:
    params = {"protocolVersion": REVISION, "clientInfo": {"name": "test", "version": "1"}}
    frame = {"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params}
    device.session.receive(encode(frame), device.world.now)
    device.session.receive(b'{"jsonrpc":"2.0","method":"notifications/initialized"}', device.world.now)


class Begun:
    """A tool program that makes a task of every call, and a client that begins them."""

    def __init__(self, agents: dict[str, AgentSettings] | None = None, **limits: Any) -> None:
        self.world = World(agents, **limits)
        self.program = self.world.join(mute=("tools/call", "initialize"))
        capabilities = {"tools": {}, "tasks": CAPABILITY}
        self.program.answer({"id": 1}, {"capabilities": capabilities, "serverInfo": {"name": "calc"}})
        self.program.work()
        self.device = Offline(self.world)
        greet(self.device)

    def begin(self, number: int, ttl: object = 60_000) -> None:
        self.device.call(number, task={})
        self.program.work()
        self.program.answer({"id": self.program.session._last_id}, {"task": task(f"t{number}", ttl=ttl)})
        assert self.device.got[-1]["result"]["task"]["taskId"] == f"t{number}"

    def say(self, **params: object) -> None:
        """How a task is."""
        frame = {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": params}
        self.program.session.receive(encode(frame), self.world.now)

    def known(self, id_: str) -> Task | None:
        return self.world.agent().tasks.find(id_, None)


def test_no_more_tasks_than_an_agent_may_have_and_no_longer_than_promised() -> None:
    one = Begun()
    tool_side = one.program.session
    assert isinstance(tool_side, BrokersToolSide)
    assert tool_side.registration is not None
    for number in range(MOST_TASKS + 5):
        one.begin(number)
    assert (len(one.world.agent().tasks), len(tool_side.registration.tasks)) == (MOST_TASKS, MOST_TASKS)
    assert one.known("t4") is None
    assert one.known("t5") is not None
    one.world.passes(61)
    assert one.known("t5") is None
    assert (len(one.world.agent().tasks), tool_side.registration.tasks, tool_side.begun) == (0, {}, {})


@pytest.mark.parametrize("ttl", [None, 10**15, -1, "soon"])
def test_a_task_that_is_promised_for_ever_is_kept_for_a_day(ttl: object) -> None:
    one = Begun()
    one.begin(1, ttl)
    kept = one.known("t1")
    assert kept is not None
    assert kept.expires == one.world.now + LONGEST_KEPT


def test_an_agent_with_a_task_is_remembered_as_long_as_the_task() -> None:
    one = Begun()
    one.begin(1, 700_000)
    one.device.leave()
    one.program.closed = End.CONNECTION_LOST
    one.program.leave()
    one.world.passes(650)
    assert one.known("t1") is not None
    one.world.passes(60)
    assert one.world.manager._agents == {}


@pytest.mark.parametrize("odd", [{}, {"status": 5}, {"createdAt": "x" * 1000}, {"statusMessage": [1], "ttl": None}])
def test_the_list_has_only_tasks_that_clients_can_read(odd: Frame) -> None:
    one = Begun()
    one.begin(1)
    one.say(**{"taskId": "t1", "status": "working"} | odd)
    one.begin(2)
    bare = one.known("t2")
    assert bare is not None
    del bare.facts["ttl"]
    listed = decode(one.world.agent().tasks.listed(None, None) or b"")
    ttl = odd.get("ttl", 60_000)
    assert listed == {"tasks": [task("t1", ttl=ttl)]}


def test_the_list_comes_in_pages() -> None:
    one = Begun()
    for number in range(2 * PAGE + 50):
        one.begin(number)
    seen: list[str] = []
    params: Frame = {}
    while True:
        frame = {"jsonrpc": "2.0", "id": "list", "method": "tasks/list", "params": params}
        one.device.session.receive(encode(frame), one.world.now)
        page = one.device.got[-1]["result"]
        assert len(page["tasks"]) <= PAGE
        seen += [one["taskId"] for one in page["tasks"]]
        if "nextCursor" not in page:
            break
        params = {"cursor": page["nextCursor"]}
    assert seen == [f"t{number}" for number in range(2 * PAGE + 50)]
    for cursor in ("gone", 5):
        frame = {"jsonrpc": "2.0", "id": "list", "method": "tasks/list", "params": {"cursor": cursor}}
        one.device.session.receive(encode(frame), one.world.now)
        assert one.device.got[-1]["error"]["data"]["reason"] == "bad_cursor"


@pytest.mark.parametrize("is_error", [True, False])
def test_a_task_whose_result_was_told_is_over(is_error: bool) -> None:
    one = Begun()
    one.begin(1)
    frame = {"jsonrpc": "2.0", "id": "r", "method": "tasks/result", "params": {"taskId": "t1"}}
    one.device.session.receive(encode(frame), one.world.now)
    one.program.work()
    result = {"content": [], "_meta": None} | ({"isError": True} if is_error else {})
    one.program.answer({"id": one.program.session._last_id}, result)
    assert one.device.got[-1]["result"]["_meta"] == {RELATED: {"taskId": "t1"}}
    listed = decode(one.world.agent().tasks.listed(None, None) or b"")
    assert listed["tasks"][0]["status"] == ("failed" if is_error else "completed")


def test_log_messages_while_a_task_of_another_agent_goes_on_are_for_nobody() -> None:
    one = Begun({"follower": AgentSettings(tools_from="agent")})
    other = Offline(one.world, agent="follower")
    frame = {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "debug"}}
    other.session.receive(encode(frame), one.world.now)
    other.call(2)
    one.begin(1)
    heard = len(other.got)
    one.program.session.receive(
        encode({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "whose?"}}),
        one.world.now,
    )
    assert other.got[heard:] == []
    one.say(**task("t1", "completed"))
    one.program.session.receive(
        encode({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "its own"}}),
        one.world.now,
    )
    assert other.got[-1]["params"]["data"] == "its own"


def test_a_look_alike_that_gets_another_place_takes_its_tasks_along() -> None:
    one = Begun()
    one.begin(1)
    newcomer = one.world.join()
    one.world.passes(3)
    assert one.world.serving() == [id(newcomer)]
    one.program.mute = ("tools/call",)
    one.program.tools = ("other",)
    one.program.notify("notifications/tools/list_changed")
    one.world.passes(2)
    kept = one.known("t1")
    assert kept is not None
    assert kept.tool is one.program.session
    one.say(**task("t1", "completed"))
    assert one.device.got[-1]["params"]["status"] == "completed"


def test_a_program_that_was_away_for_long_is_asked_in_its_new_place() -> None:
    one = Begun(offline_grace=5)
    one.begin(1)
    one.program.closed = End.CONNECTION_LOST
    one.program.leave()
    one.world.passes(10)
    again = one.world.join()
    kept = one.known("t1")
    assert kept is not None
    assert kept.tool is again.session


def test_an_agent_that_is_kept_for_its_tasks_hears_of_new_settings() -> None:
    one = Begun({"follower": AgentSettings(tools_from="agent")})
    other = Offline(one.world, agent="follower")
    greet(other)
    other.call(1, task={})
    one.program.work()
    one.program.answer({"id": one.program.session._last_id}, {"task": task("t1")})
    other.leave()
    manager = one.world.manager
    manager.reconfigure(Settings(server=ServerSettings(key="k")), one.world.now)
    again = Offline(one.world, agent="follower")
    tasks = manager._agents["follower"].tasks
    assert len(tasks) == 1
    assert tasks.find("t1", None) is None, "its tool side serves another agent alone"
    again.call(1)
    assert again.got[-1]["error"]["data"]["reason"] == "never_connected", "tools_from is gone"


def test_a_call_that_waited_has_no_more_time_than_any_other() -> None:
    world = World(tools_wait=8)
    world.join()
    slow = world.join(name="slow", tools=("late",), mute=("initialize",))
    device = Offline(world)
    device.call(1, name="late")
    world.passes(6)
    slow.mute = ("tools/call",)
    slow.answer({"id": 1}, {"capabilities": {"tools": {}}, "serverInfo": {"name": "slow"}})
    world.passes(TIMEOUT - 6 - 1)
    assert device.got == []
    world.passes(1.2)
    assert device.got[-1]["error"]["data"]["reason"] == "call_timed_out"


def test_what_is_long_is_not_told() -> None:
    one = Begun()
    one.begin(1)
    one.say(**task("t1", statusMessage="x" * 10_000))
    kept = one.known("t1")
    assert kept is not None
    assert "statusMessage" not in kept.facts
    assert one.device.got[-1]["params"] == task("t1")


def test_a_program_that_uses_an_id_again_means_the_new_task() -> None:
    one = Begun()
    one.begin(1)
    first = one.known("t1")
    one.begin(1)
    assert one.known("t1") is not first
    assert len(one.world.agent().tasks) == 1
