"""Large messages: a few at once, a flood of them at a steady rate (issue 3, part 7)."""

import asyncio

import pytest

from mcp_endpoint.broker.allowance import BURST, LARGE, RATE, Allowance
from mcp_endpoint.doors.turns import FRAMES, Share, Turns
from wire import PATIENCE


def test_small_messages_are_not_counted() -> None:
    allowance = Allowance()
    assert max(allowance.rest_after(LARGE - 1, 5.0) for _ in range(10_000)) < 5
    assert allowance.is_full(5.0)


def test_a_burst_passes_and_a_flood_at_its_rate() -> None:
    allowance = Allowance()
    size = BURST // 4
    rests = [allowance.rest_after(size, 100.0) for _ in range(6)]
    assert [max(rest - 100, 0) for rest in rests] == pytest.approx([0, 0, 0, 0, size / RATE, 2 * size / RATE])
    assert not allowance.is_full(102.9)
    assert allowance.is_full(103.1)
    assert allowance.rest_after(size, 200.0) < 200, "what came long ago counts no more"


class Link:
    """One that has input for ever."""

    def __init__(self, turns: Turns, share: Share, most: int) -> None:
        self.turns, self.share, self.left = turns, share, most
        self.done = asyncio.Event()
        self.frames = 0

    def go_on(self, now: float) -> None:
        self.frames += self.share.left
        self.share.left = 0
        if self.frames < self.left:
            self.turns.wait(self.share, self)
        else:
            self.done.set()


async def test_an_agent_that_carried_too_much_rests_and_the_others_do_not() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(loop)
    heavy, light = turns.join("heavy"), turns.join("light")
    resting, busy = Link(turns, heavy, FRAMES), Link(turns, light, 10 * FRAMES)
    turns.wait(heavy, resting)
    heavy.carried(BURST + RATE // 5, loop.time())
    began = loop.time()
    turns.wait(light, busy)
    async with asyncio.timeout(PATIENCE):
        await busy.done.wait()
        assert not resting.done.is_set()
        await resting.done.wait()
    assert 0.15 < loop.time() - began < 2


async def test_a_link_that_is_opened_anew_is_no_way_round() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(loop)
    first = turns.join("heavy")
    first.carried(BURST, loop.time())
    turns.leave("heavy")
    assert turns.join("heavy") is first
    turns.leave("heavy")
    turns.join("light")
    turns.leave("light")
    assert len(turns) == 1, "there is nothing to remember of this one"
