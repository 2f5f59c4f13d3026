"""What tool sides ask clients of 2026-07-28: a result that wants something, and the request made again with it."""

import asyncio
from typing import Any

import httpx
import pytest

from support.brokers import Brokers
from support.clients.mcp_http import McpClient, gone, mcp_client
from support.clients.stateless import PREFIX, ask, asking
from support.peers import Agent, Broker, Frame, ToolSide, said, text_result
from support.tasks import begun, cook
from support.tasks import client as tasking

ABLE = {f"{PREFIX}clientCapabilities": {"sampling": {}, "elicitation": {}, "roots": {}}}


@pytest.fixture
def broker(broker_with: Brokers) -> Broker:
    return broker_with(ask_clients="sampling, elicitation, roots")


def call(meta: Frame = ABLE, id_: object = 1, tool: str = "t", **more: object) -> Frame:
    return asking("tools/call", id_, meta=meta, name=tool, arguments={}, **more)


async def question(client: McpClient, program: ToolSide, *ids: object, **more: object) -> tuple[Frame, Frame]:
    """The call as the tool side got it, and the result that asks for something: for one thing for each of its ids."""
    asked = asyncio.ensure_future(ask(client, call(**more)))
    received = await program.next("tools/call")
    for id_ in ids:
        await wants(program, id_)
    return received, result_of(await asked)


async def wants(program: ToolSide, id_: object) -> None:
    await program.send({"jsonrpc": "2.0", "id": id_, "method": "elicitation/create", "params": {"message": str(id_)}})


def result_of(response: httpx.Response) -> Frame:
    assert response.status_code == 200, response.text
    result = response.json()["result"]
    assert isinstance(result, dict)
    return result


def answers(result: Frame, **more: object) -> Frame:
    """The request again, with an answer to each thing that was asked."""
    given = {key: {"action": "accept", "content": {"for": key}} for key in result["inputRequests"]}
    return call(requestState=result["requestState"], inputResponses=given | more)


async def test_a_call_that_wants_something_is_made_again_with_it(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        received, result = await question(client, program, "first")
        assert result["resultType"] == "input_required"
        (key,) = result["inputRequests"]
        assert result["inputRequests"][key] == {"method": "elicitation/create", "params": {"message": "first"}}
        again = asyncio.ensure_future(ask(client, answers(result, stranger={"x": 1}) | {"id": 2}))
        assert await program.next("answer") == {
            "jsonrpc": "2.0",
            "id": "first",
            "result": {"action": "accept", "content": {"for": key}},
        }
        await wants(program, "second")
        result = result_of(await again)
        assert result["inputRequests"].keys() != {key}
        again = asyncio.ensure_future(ask(client, answers(result) | {"id": 3}))
        assert (await program.next("answer"))["id"] == "second"
        await program.answer(received, text_result("done"))
        answer = (await again).json()
        assert (answer["id"], answer["result"]["resultType"], said(answer)) == (3, "complete", "done")
        assert program.waiting("tools/call") == 0, "it was one call all the time"
    await gone(broker)


async def test_several_things_that_are_asked_at_once_and_an_answer_that_is_missing(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        received, result = await question(client, program, 1, 2)
        first, second = result["inputRequests"]
        some = {first: {"action": "decline"}}
        more = result_of(await ask(client, call(requestState=result["requestState"], inputResponses=some)))
        assert (await program.next("answer"))["result"] == {"action": "decline"}
        assert more["inputRequests"].keys() == {second}
        assert more["requestState"] != result["requestState"]
        again = asyncio.ensure_future(ask(client, answers(more)))
        await program.next("answer")
        await program.answer(received, text_result("done"))
        assert said((await again).json()) == "done"


async def test_a_result_that_came_meanwhile_is_kept(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        received, result = await question(client, program, "first")
        await program.answer(received, text_result("I know it myself"))
        assert (await program.next("answer"))["error"]["data"]["reason"] == "no_answer"
        assert said((await ask(client, answers(result))).json()) == "I know it myself"


async def test_a_large_result_that_came_meanwhile_is_not(broker_with: Brokers) -> None:
    agent = broker_with(ask_clients="elicitation", replay_buffer="1KB").agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        received, result = await question(client, program, "first")
        await program.answer(received, text_result("x" * 2000))
        await program.next("answer")
        error = (await ask(client, answers(result))).json()["error"]
        assert (error["code"], error["data"]["reason"]) == (-32003, "result_not_kept")


@pytest.mark.parametrize("wrong", ["made up", "used", "of another agent", "for another tool", 5])
async def test_a_state_that_is_not_this_requests(broker: Broker, wrong: Any) -> None:
    agent, other = broker.agent(), broker.agent()
    async with (
        agent.tool_side("t", "u", calls=False) as program,
        other.tool_side("t"),
        mcp_client(agent) as client,
        mcp_client(other) as stranger,
    ):
        received, result = await question(client, program, "first")
        message, who = answers(result), client
        if wrong == "used":
            done = asyncio.ensure_future(ask(client, message))
            await program.next("answer")
            await program.answer(received, text_result("done"))
            await done
        elif wrong == "of another agent":
            who = stranger
        elif wrong == "for another tool":
            message["params"]["name"] = "u"
        else:
            message["params"]["requestState"] = wrong
        refused = await ask(who, message)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32602)
        assert refused.json()["error"]["data"]["reason"] == "unknown_state"


async def test_a_client_that_lacks_what_the_tool_needs_hears_so(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        asked = asyncio.ensure_future(ask(client, call(meta={})))
        await program.next("tools/call")
        await wants(program, 1)
        answer = await asked
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, -32021)
        assert error["data"]["requiredCapabilities"] == {"elicitation": {}}
        assert (await program.next("answer"))["error"]["data"]["reason"] == "nobody_to_ask"
        await program.next("notifications/cancelled")


async def test_a_client_that_does_not_come_again_is_given_up(broker_with: Brokers) -> None:
    broker = broker_with(ask_clients="elicitation", mcp_call_timeout=1)
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        await question(client, program, "first")
        assert (await broker.stats())["census"]["requests"] == 1
        assert (await program.next("answer"))["error"]["data"]["reason"] == "no_answer"
        await program.next("notifications/cancelled")
    await gone(broker)


async def test_what_an_old_question_asked_is_no_obstacle_to_the_next_caller(broker: Broker) -> None:
    agent: Agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        await question(client, program, "left alone")
        _, result = await question(client, program, "mine")
        (asked,) = result["inputRequests"].values()
        assert asked["params"] == {"message": "mine"}


@pytest.mark.parametrize("why", ["not allowed", "for a task", "another agent's task"])
async def test_a_question_that_is_not_for_it_ends_no_call(broker_with: Brokers, why: str) -> None:
    more = "[agent one]\ntools_from = shared\n[agent other]\ntools_from = shared\n"
    broker = broker_with(more=more, ask_clients="" if why == "not allowed" else "elicitation")
    shared, one, other = (Agent(broker, name) for name in ("shared", "one", "other"))
    async with cook(shared) as program, mcp_client(one) as client, tasking(other) as device:
        if why == "another agent's task":
            await begun(device, program, "t1")
        asked = asyncio.ensure_future(ask(client, call(meta={}, tool="cook")))
        received = await program.next("tools/call")
        related = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t1"}}}
        params = related if why == "for a task" else {}
        await program.send({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params})
        assert (await program.next("answer"))["error"]["data"]["reason"] == "nobody_to_ask"
        await program.answer(received, text_result("without it, then"))
        assert said((await asked).json()) == "without it, then"


async def test_only_requests_that_may_be_answered_so_are(broker: Broker) -> None:
    agent = broker.agent()
    introduction = {"capabilities": {"tools": {}, "prompts": {}, "completions": {}}}
    results = {"prompts/list": {"prompts": [{"name": "p"}]}}
    async with (
        agent.tool_side("t", introduction=introduction, results=results) as program,
        mcp_client(agent) as client,
    ):
        await program.next("prompts/list")
        await program.settled()
        ref = {"type": "ref/prompt", "name": "p"}
        message = asking("completion/complete", meta=ABLE, ref=ref, argument={"name": "x", "value": ""})
        asked = asyncio.ensure_future(ask(client, message))
        received = await program.next("completion/complete")
        await wants(program, 1)
        assert (await program.next("answer"))["error"]["data"]["reason"] == "nobody_to_ask"
        await program.answer(received, {"completion": {"values": ["a"]}})
        assert (await asked).json()["result"]["completion"] == {"values": ["a"]}


async def test_progress_goes_on_under_the_token_of_the_request_that_was_made_again(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, mcp_client(agent) as client:
        meta = ABLE | {"progressToken": "first"}
        received, result = await question(client, program, "first", meta=meta)
        message = answers(result)
        message["params"]["_meta"]["progressToken"] = "second"
        again = asyncio.ensure_future(ask(client, message))
        await program.next("answer")
        token = received["params"]["_meta"]["progressToken"]
        await program.notify("notifications/progress", progressToken=token, progress=1)
        await program.answer(received, text_result("done"))
        assert '"progressToken":"second"' in (await again).text
