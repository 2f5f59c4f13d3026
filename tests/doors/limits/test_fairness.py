"""Fair service: what one agent gets worked off between two of the others' calls, counted in frames and turns."""

import asyncio

import pytest

from mcp_endpoint.broker.work_budget import BURST, SHARE, expected
from mcp_endpoint.doors.limits.fairness import Fairness
from mcp_endpoint.providers.source_output import Pacer
from mcp_endpoint.settings.schema import AgentSettings
from support.turns import Peer, Port, TurnLoop, run

CALL = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"t","arguments":{}}}'
CHANGED = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
LIST = b'{"jsonrpc":"2.0","id":%d,"result":{"tools":[{"name":"t","inputSchema":{},"description":"%s"}]}}'
LARGE = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"x":"%s"}}}' % (
    b"x" * 3_900_000
)
TURNS = 2
"""Turns of the loop in which a call is answered when nobody else wants anything: it is read, and so is the answer."""
CALLS = 50
FRAMES = 16
"""Frames of one agent in one turn. With 256 the p99 of others was 4 to 7 times as long, with 16 at most 1.7 times."""
TURNS_OF_A_REQUEST = 4
"""A request over HTTP has the turns of so many sixteens; with one in each turn the p99 of others was thrice as long."""


async def answered(device: Peer) -> None:
    """Calls of an honest agent, one after the other, are all answered, each within the turns that it takes alone."""
    for number in range(CALLS):
        device.say(CALL % number)
        assert "result" in await device.reply(number, TURNS)


def test_a_call_takes_these_turns_when_nobody_else_is_there() -> None:
    async def main(loop: TurnLoop) -> None:
        port = Port(loop)
        port.tool_side("honest")
        device = port.device("honest")
        await answered(device)
        device.say(CALL % CALLS)
        with pytest.raises(AssertionError, match="no answer"):
            await device.reply(CALLS, TURNS - 1)

    run(main)


FLOODS = {
    "calls": [CALL % number for number in range(5000)],
    "pings": [b'{"jsonrpc":"2.0","id":1,"method":"ping"}'],
    "junk": [b"x"],
}


@pytest.mark.parametrize("how", FLOODS)
@pytest.mark.parametrize("links", [1, 10])
def test_an_agent_that_floods_gets_sixteen_frames_in_a_turn_on_however_many_links(how: str, links: int) -> None:
    async def main(loop: TurnLoop) -> None:
        port = Port(loop)
        for agent in ("greedy", "honest"):
            port.tool_side(agent)
        device, attackers = port.device("honest"), [port.device("greedy") for _ in range(links)]
        for attacker in attackers:
            attacker.floods(*FLOODS[how])
        await loop.pass_turns(5)
        before, began = sum(attacker.link.frames_in for attacker in attackers), loop.turns
        await answered(device)
        worked_off = sum(attacker.link.frames_in for attacker in attackers) - before
        turns = loop.turns - began
        assert turns <= CALLS * (TURNS + 1)
        assert 0 < worked_off <= FRAMES * (turns + 1)
        assert worked_off > FRAMES * turns // 2, "what nobody else wants is not withheld from it"

    run(main)


def test_a_tool_side_whose_tools_change_all_the_time_gets_no_more() -> None:
    async def main(loop: TurnLoop) -> None:
        port = Port(loop)
        attacker = port.tool_side("greedy")
        port.tool_side("honest")
        device = port.device("honest")
        lists = (LIST % (number, b"x" * 1000) for number in range(3, 50))
        attacker.floods(*(frame for one in lists for frame in (one, CHANGED)))
        await loop.pass_turns(5)
        before, began = attacker.link.frames_in, loop.turns
        await answered(device)
        assert 0 < attacker.link.frames_in - before <= FRAMES * (loop.turns - began + 1)

    run(main)


def test_requests_over_http_have_every_fourth_turn_on_however_many_connections() -> None:
    async def main(loop: TurnLoop) -> None:
        fairness, served = Fairness(loop), 0

        async def connection() -> None:
            nonlocal served
            while True:
                await fairness.request("greedy")
                served += 1

        flood = [asyncio.create_task(connection()) for _ in range(100)]
        await loop.pass_turns(5)
        before, began = served, loop.turns
        for _ in range(CALLS):
            turn = loop.turns
            await fairness.request("honest")
            assert loop.turns == turn, "one request in a while waits for nobody"
            await loop.pass_turns(TURNS_OF_A_REQUEST + 1)
        turns = loop.turns - began
        assert turns // (2 * TURNS_OF_A_REQUEST) < served - before <= turns // TURNS_OF_A_REQUEST + 1
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)

    run(main)


def test_large_messages_have_a_hundredth_of_the_time_and_others_go_on_meanwhile() -> None:
    async def main(loop: TurnLoop) -> None:
        port = Port(loop)
        port.tool_side("honest")
        device, attacker = port.device("honest"), port.device("greedy")
        began = loop.time()
        attacker.floods(LARGE)
        for _ in range(100):
            await answered(device)
        seconds = loop.time() - began
        work = expected(len(LARGE)) * attacker.link.frames_in
        assert 0 < work <= BURST + SHARE * seconds + expected(len(LARGE)), f"{work} s of {seconds} s"

    run(main)


def test_one_agents_large_results_of_a_shared_tool_side_hold_up_no_other_agent() -> None:
    """Who asks for them pays, not the tool side."""

    async def main(loop: TurnLoop) -> None:
        port = Port(loop, **{agent: AgentSettings(tools_from=("shared",)) for agent in ("greedy", "modest")})
        program = port.tool_side("shared")
        greedy, modest = port.device("greedy"), port.device("modest")
        began = loop.time()
        for number in range(40):
            program.result = {"content": [{"type": "text", "text": "x" * 1_000_000}]}
            greedy.say(CALL % number)
            assert "result" in await greedy.reply(number, 10_000)
            program.result = {"content": []}
            modest.say(CALL % number)
            assert "result" in await modest.reply(number, TURNS)
        assert loop.time() - began > 2, "it is the other one that rests"

    run(main)


def test_a_server_that_the_broker_opened_gets_sixteen_frames_in_a_turn() -> None:
    async def main(loop: TurnLoop) -> None:
        pacer, frames = Pacer(), 0

        async def reader() -> None:
            nonlocal frames
            while True:
                frames += 1
                await pacer.frame()

        reading = asyncio.create_task(reader())
        await loop.pass_turns(2)
        before, began = frames, loop.turns
        await loop.pass_turns(100)
        assert frames - before == FRAMES * (loop.turns - began)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    run(main)
