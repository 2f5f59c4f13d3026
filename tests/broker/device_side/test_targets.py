"""Prompts, resources, templates, subscriptions, completion and log levels behind one endpoint, over the device door."""

import contextlib
from typing import Any

import pytest

from mcp_endpoint.broker.tool_side.subscriptions import MAX_SUBSCRIPTIONS
from support.peers import Agent, Broker, Device, Frame, ToolSide, fault, parsed, tool

LISTS = {
    "prompts": "prompts/list",
    "resources": "resources/list",
    "resourceTemplates": "resources/templates/list",
}
CAPABILITIES = {
    "tools": {},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "completions": {},
    "logging": {},
}


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


def prompt(name: str, **members: object) -> Frame:
    return {"name": name} | members


def resource(uri: str, **members: object) -> Frame:
    return {"uri": uri, "name": uri} | members


def template(uri: str, **members: object) -> Frame:
    return {"uriTemplate": uri, "name": uri} | members


@contextlib.asynccontextmanager
async def offering(agent: Agent, server: str, *, capabilities: object = None, **offers: list[Frame]) -> Any:
    """A tool side with these prompts, resources and templates; the block begins when the broker has all lists."""
    results: Frame = {method: {member: offers.get(member, [])} for member, method in LISTS.items()}
    results |= {"resources/subscribe": {}, "resources/unsubscribe": {}, "logging/setLevel": {}}
    said = CAPABILITIES if capabilities is None else capabilities
    program: ToolSide
    async with agent.tool_side(
        f"t_{server}", server=server, introduction={"capabilities": said}, results=results
    ) as program:
        for capability, methods in {
            "prompts": ["prompts/list"],
            "resources": ["resources/list", "resources/templates/list"],
        }.items():
            for method in methods if capability in said else ():
                await program.next(method)
        await program.settled()
        yield program


async def listed(device: Device, member: str) -> list[Any]:
    naming = {"prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}[member]
    return [one[naming] for one in (await device.request(LISTS[member]))["result"][member]]


async def relayed(device: Device, program: ToolSide, method: str, params: Frame, id_: int, result: Frame) -> Frame:
    """Have a request answered by a tool side; what it was asked."""
    await device.send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
    asked = await program.next(method)
    await program.answer(asked, result)
    assert (await device.reply(id_))["result"] == result
    params = asked["params"]
    assert isinstance(params, dict)
    return params


async def test_what_several_tool_sides_offer_is_one_list_of_each_kind(agent: Agent) -> None:
    odd = prompt("greet", **{"x-unknown": 1.50, "arguments": [{"name": "who"}]})
    async with (
        offering(
            agent,
            "home",
            prompts=[odd, prompt("common")],
            resources=[resource("file:///a"), resource("file:///both")],
            resourceTemplates=[template("home://{room}/lamp"), template("x://{y}")],
        ),
        offering(
            agent,
            "work",
            prompts=[prompt("common")],
            resources=[resource("file:///both", title="of work")],
            resourceTemplates=[template("x://{y}")],
        ),
        agent.device() as device,
    ):
        assert await listed(device, "prompts") == ["greet", "home__common", "work__common"]
        assert await listed(device, "resources") == [
            "file:///a",
            "endpoint://home/file:///both",
            "endpoint://work/file:///both",
        ]
        assert await listed(device, "resourceTemplates") == [
            "home://{room}/lamp",
            "endpoint://home/x://{y}",
            "endpoint://work/x://{y}",
        ]
        assert (await device.request("prompts/list"))["result"]["prompts"][0] == odd
        assert await device.names() == ["t_home", "t_work"]


async def test_a_request_goes_to_the_tool_side_that_has_it_under_its_own_name(agent: Agent) -> None:
    async with (
        offering(
            agent,
            "home",
            prompts=[prompt("common")],
            resources=[resource("file:///both")],
            resourceTemplates=[template("home://{room}/lamp"), template("home://{all}"), template("x://{y}")],
        ) as home,
        offering(
            agent,
            "work",
            prompts=[prompt("common"), prompt("own")],
            resources=[resource("file:///both")],
            resourceTemplates=[template("x://{y}")],
        ) as work,
        agent.device() as device,
    ):
        params = {"name": "work__common", "arguments": {"a": "1"}, "x": 1.5}
        asked = await relayed(device, work, "prompts/get", params, 1, {"messages": []})
        assert asked == params | {"name": "common"}
        params = {"name": "own"}
        assert await relayed(device, work, "prompts/get", params, 2, {"messages": []}) == params
        for id_, uri, own, program in [
            (3, "endpoint://home/file:///both", "file:///both", home),
            (4, "endpoint://work/file:///both", "file:///both", work),
            (5, "home://kitchen/lamp", "home://kitchen/lamp", home),
            (6, "endpoint://work/x://what ever", "x://what ever", work),
        ]:
            asked = await relayed(device, program, "resources/read", {"uri": uri}, id_, {"contents": []})
            assert asked == {"uri": own}
        ref = {"type": "ref/prompt", "name": "home__common"}
        argument = {"name": "who", "value": "m"}
        done = {"completion": {"values": ["me"]}}
        params = {"ref": ref, "argument": argument}
        asked = await relayed(device, home, "completion/complete", params, 7, done)
        assert asked == {"ref": {"type": "ref/prompt", "name": "common"}, "argument": argument}
        params = {"ref": {"type": "ref/resource", "uri": "endpoint://work/x://{y}"}, "argument": argument}
        asked = await relayed(device, work, "completion/complete", params, 8, done)
        assert asked == {"ref": {"type": "ref/resource", "uri": "x://{y}"}, "argument": argument}


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("prompts/get", {"name": "nope"}, "unknown_prompt"),
        ("prompts/get", {"name": 1}, "bad_params"),
        ("prompts/get", None, "bad_params"),
        ("resources/read", {"uri": "file:///nope"}, "unknown_resource"),
        ("resources/read", {}, "bad_params"),
        ("resources/subscribe", {"uri": "file:///nope"}, "unknown_resource"),
        ("resources/unsubscribe", {"uri": None}, "bad_params"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "nope"}}, "unknown_prompt"),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "file:///nope"}}, "unknown_resource"),
        ("completion/complete", {"ref": []}, "bad_params"),
        ("logging/setLevel", {"level": "loud"}, "bad_params"),
    ],
)
async def test_what_is_not_there_is_an_error_that_says_so(
    agent: Agent, method: str, params: object, expected: str
) -> None:
    one, two = [resource("file:///one")], [resource("file:///two")]
    async with (
        offering(agent, "home", resources=one),
        offering(agent, "work", resources=two),
        agent.device() as device,
    ):
        answer = await device.request(method, params)
        assert fault(answer) == (-32602, expected)


async def test_the_only_one_with_resources_is_asked_for_those_it_does_not_list(agent: Agent) -> None:
    async with (
        offering(agent, "home", capabilities={"resources": {}}) as home,
        offering(agent, "work", capabilities={}),
        agent.device() as device,
    ):
        uri = {"uri": "secret://1"}
        assert await relayed(device, home, "resources/read", uri, 1, {"contents": []}) == uri


async def test_what_a_tool_side_took_along_is_told_and_with_whom_it_was(agent: Agent) -> None:
    async with agent.device() as device:
        async with offering(agent, "home", prompts=[prompt("p")], resources=[resource("file:///a")]):
            assert await listed(device, "prompts") == ["p"]
        await agent.ended("tool")
        assert await listed(device, "prompts") == ["p"], "for offline_grace"
        for method, params in {"prompts/get": {"name": "p"}, "resources/read": {"uri": "file:///a"}}.items():
            answer = await device.request(method, params)
            assert fault(answer) == (-32001, "tool_side_offline")
            assert "home" in answer["error"]["data"]["details"]


async def test_capabilities_are_those_that_can_be_routed(agent: Agent) -> None:
    everything = {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "completions": {},
        "logging": {},
        "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
    }

    async def claimed() -> Any:
        async with agent.device(None) as device:
            return (await device.request("initialize", {"protocolVersion": "2025-11-25"}))["result"]["capabilities"]

    assert await claimed() == everything, "whoever comes later can be used"
    async with offering(agent, "home", capabilities={"tools": {}, "prompts": {}}):
        assert await claimed() == {name: everything[name] for name in ("tools", "prompts")}
        async with offering(agent, "work", capabilities={"logging": {}, "resources": {}}):
            assert await claimed() == {name: everything[name] for name in ("tools", "prompts", "resources", "logging")}


async def test_a_client_is_told_of_the_lists_that_changed_and_of_no_others(agent: Agent) -> None:
    async with offering(agent, "home", prompts=[prompt("p")]) as home, agent.device() as device:
        assert await listed(device, "prompts") == ["p"]
        home.results["prompts/list"] = {"prompts": [prompt("q")]}
        await home.notify("notifications/prompts/list_changed")
        assert (await device.frame())["method"] == "notifications/prompts/list_changed"
        assert await listed(device, "prompts") == ["q"]
        home.results["resources/templates/list"] = {"resourceTemplates": [template("x://{y}")]}
        await home.notify("notifications/resources/list_changed")
        assert (await device.frame())["method"] == "notifications/resources/list_changed"
        assert await listed(device, "resourceTemplates") == ["x://{y}"]
        await home.notify("notifications/prompts/list_changed")
        await home.next("prompts/list")
        await home.next("prompts/list")
        await home.settled()
        assert await device.settled() == [], "the list is the same as before"


async def test_a_name_that_a_client_was_shown_goes_on_working(agent: Agent) -> None:
    offers = {"prompts": [prompt("p")], "resources": [resource("a://1")]}
    async with offering(agent, "home", **offers) as home, agent.device() as device:
        assert await listed(device, "prompts") == ["p"]
        assert await listed(device, "resources") == ["a://1"]
        async with offering(agent, "work", **offers):
            await relayed(device, home, "prompts/get", {"name": "p"}, 1, {"messages": []})
            await relayed(device, home, "resources/read", {"uri": "a://1"}, 2, {"contents": []})


async def test_subscriptions_are_counted_and_updates_reach_subscribers_only(agent: Agent) -> None:
    async with (
        offering(agent, "home", resources=[resource("a://dir")]) as home,
        offering(agent, "work", resources=[resource("a://dir")]) as work,
        agent.device() as one,
        agent.device() as two,
        agent.device() as bystander,
    ):
        uri = "endpoint://home/a://dir"
        for device in (one, two):
            assert (await device.request("resources/subscribe", {"uri": uri}))["result"] == {}
        assert (await home.next("resources/subscribe"))["params"] == {"uri": "a://dir"}
        for changed in ("a://dir", "a://dir/file", "a://director", "a://other"):
            await home.notify("notifications/resources/updated", uri=changed)
            await work.notify("notifications/resources/updated", uri=changed)
        await home.settled()
        await work.settled()
        for device in (one, two):
            heard = [await device.frame(), await device.frame()]
            assert [frame["params"]["uri"] for frame in heard] == [uri, f"{uri}/file"]
            assert await device.settled() == []
        assert await bystander.settled() == []
        assert (await one.request("resources/unsubscribe", {"uri": uri}))["result"] == {}
        await home.settled()
        assert home.waiting("resources/subscribe") == home.waiting("resources/unsubscribe") == 0
        await two.connection.close()
        assert (await home.next("resources/unsubscribe"))["params"] == {"uri": "a://dir"}


async def test_a_subscription_is_renewed_when_the_tool_side_comes_back(agent: Agent) -> None:
    async with agent.device() as device:
        async with offering(agent, "home", resources=[resource("a://1")]):
            assert (await device.request("resources/subscribe", {"uri": "a://1"}))["result"] == {}
        await agent.ended("tool")
        async with offering(agent, "home", resources=[resource("a://1")]) as home:
            assert (await home.next("resources/subscribe"))["params"] == {"uri": "a://1"}
            await home.notify("notifications/resources/updated", uri="a://1")
            await home.settled()
            heard = [frame for frame in await device.settled() if "updated" in frame]
            assert len(heard) == 1


async def test_a_session_has_only_so_many_subscriptions_and_is_told_what_the_limit_is_of(agent: Agent) -> None:
    async with offering(agent, "home", capabilities={"resources": {"subscribe": True}}), agent.device() as device:
        for number in range(MAX_SUBSCRIPTIONS):
            answer = await device.request("resources/subscribe", {"uri": f"a://{number}"})
            assert answer["result"] == {}
        answer = await device.request("resources/subscribe", {"uri": "a://more"})
        assert fault(answer) == (-32002, "too_many_subscriptions")
        assert str(MAX_SUBSCRIPTIONS) in answer["error"]["data"]["details"]
        assert (await device.request("resources/unsubscribe", {"uri": "a://0"}))["result"] == {}
        assert (await device.request("resources/subscribe", {"uri": "a://more"}))["result"] == {}


async def test_a_refused_subscription_is_none(agent: Agent) -> None:
    async with offering(agent, "home", resources=[resource("a://1")]) as home, agent.device() as device:
        del home.results["resources/subscribe"]
        await device.send({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "a://1"}})
        asked = await home.next("resources/subscribe")
        await home.send({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32603, "message": "no"}})
        assert (await device.reply(1))["error"]["message"] == "no"
        await home.notify("notifications/resources/updated", uri="a://1")
        await home.settled()
        assert await device.settled() == []
        assert (await agent.links("tool"))[0]["drops"] == {"update_for_nobody": 1}


async def test_each_client_hears_the_log_from_its_own_level_on(agent: Agent) -> None:
    async with (
        offering(agent, "home") as home,
        agent.device() as curious,
        agent.device() as calm,
        agent.device() as silent,
    ):
        assert (await calm.request("logging/setLevel", {"level": "error"}))["result"] == {}
        assert (await home.next("logging/setLevel"))["params"] == {"level": "error"}
        assert (await curious.request("logging/setLevel", {"level": "debug"}))["result"] == {}
        assert (await home.next("logging/setLevel"))["params"] == {"level": "debug"}
        for level in ("debug", "error", "loud"):
            await home.notify("notifications/message", level=level, data={"x": 1})
        await home.settled()
        assert [frame["params"]["level"] for frame in [await curious.frame(), await curious.frame()]] == [
            "debug",
            "error",
        ]
        assert (await calm.frame())["params"] == {"level": "error", "data": {"x": 1}}
        for device in (curious, calm, silent):
            assert await device.settled() == []
        async with offering(agent, "work") as work:
            assert (await work.next("logging/setLevel"))["params"] == {"level": "debug"}, "a newcomer is told"


async def test_a_client_that_chose_no_level_hears_the_log_of_its_own_calls(agent: Agent) -> None:
    async with (
        agent.tool_side("t", calls=False) as program,
        agent.device() as caller,
        agent.device() as bystander,
        agent.device("XiaozhiMCPEndpointClient") as xiaozhi,
    ):
        await caller.begin_call("t", 1)
        first = await program.next("tools/call")
        await xiaozhi.begin_call("t", 1)
        second = await program.next("tools/call")
        await program.notify("notifications/message", level="info", data="working")
        for asked in (first, second):
            await program.answer(asked, {"content": []})
        await program.notify("notifications/message", level="info", data="done")
        await program.settled()
        assert (await caller.frame())["params"]["data"] == "working"
        assert (await caller.frame())["id"] == 1
        assert (await xiaozhi.frame())["id"] == 1
        for device in (caller, bystander, xiaozhi):
            assert await device.settled() == []


async def test_a_list_of_prompts_waits_for_a_tool_side_that_is_still_starting(agent: Agent) -> None:
    results = {"prompts/list": {"prompts": [prompt("late")]}}
    said = {"capabilities": {"prompts": {}}}
    async with agent.device() as device, agent.tool_side(greets=False, introduction=said, results=results) as program:
        greeting = await program.next("initialize")
        await device.send({"jsonrpc": "2.0", "id": 1, "method": "prompts/list"})
        assert await device.settled() == []
        await program.answer(greeting, program.introduction)
        assert (await device.reply(1))["result"] == {"prompts": [prompt("late")]}


async def test_tools_of_a_tool_side_alone_stay_when_other_lists_fail(agent: Agent) -> None:
    said = {"capabilities": {"tools": {}, "prompts": {}, "resources": {}}}
    async with agent.tool_side(tool("t"), introduction=said) as program, agent.device() as device:
        for method in LISTS.values():
            asked = await program.next(method)
            await program.send({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "no"}})
        await program.settled()
        assert await device.names() == ["t"]
        for member in LISTS:
            assert await listed(device, member) == []


async def test_what_a_tool_side_logs_during_one_agents_call_is_not_for_another_agent(tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("levels")
    more = "[agent follower]\ntools_from = source\n"
    broker = Broker(folder, more)
    try:
        source, follower = Agent(broker, "source"), Agent(broker, "follower")
        async with (
            source.tool_side("t", calls=False, introduction={"capabilities": CAPABILITIES}) as program,
            source.device() as owner,
            follower.device() as guest,
        ):
            program.results["logging/setLevel"] = {}
            for device in (owner, guest):
                assert (await device.request("logging/setLevel", {"level": "debug"}))["result"] == {}
            await program.notify("notifications/message", level="info", data="nobody calls")
            await guest.begin_call("t", 1)
            await program.next("tools/call")
            await program.notify("notifications/message", level="info", data="for the guest")
            await owner.begin_call("t", 1)
            await program.next("tools/call")
            await program.notify("notifications/message", level="info", data="for one of two")
            await program.settled()
            assert [parsed(text)["params"]["data"] for text in await owner.settled()] == ["nobody calls"]
            assert [parsed(text)["params"]["data"] for text in await guest.settled()] == ["for the guest"]
    finally:
        broker.stop()
    broker.check()
