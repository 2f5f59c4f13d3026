"""Large messages: a few at once, a flood of them at a steady rate (issue 3, part 7)."""

import asyncio

import pytest

from mcp_endpoint.broker.allowance import BURST, HOLD, LARGE, LONGEST_REST, SHARE, Allowance, expected
from mcp_endpoint.doors.turns import FRAMES, Share, Turns
from wire import PATIENCE


def test_what_is_quick_is_not_counted() -> None:
    allowance = Allowance()
    assert max(allowance.rest_after(HOLD * 0.9, 5.0) for _ in range(10_000)) < 5
    assert allowance.full_at <= 5.0


def test_a_burst_passes_and_a_flood_has_its_share_of_the_time() -> None:
    allowance = Allowance()
    work = BURST / 4
    rests = [allowance.rest_after(work, 100.0) for _ in range(6)]
    assert [max(rest - 100, 0) for rest in rests] == pytest.approx([0, 0, 0, 0, work / SHARE, 2 * work / SHARE])
    assert allowance.full_at == pytest.approx(100 + 6 * work / SHARE)
    assert allowance.rest_after(work, 200.0) < 200, "what came long ago counts no more"


def test_nobody_rests_for_so_long_that_its_peers_take_the_broker_for_dead() -> None:
    allowance = Allowance()
    assert allowance.rest_after(3600.0, 100.0) == pytest.approx(100 + LONGEST_REST)


def test_only_of_a_large_message_it_is_known_what_to_expect() -> None:
    assert expected(LARGE - 1) == 0
    assert expected(LARGE) >= HOLD


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
    heavy.carried(BURST + SHARE / 5, loop.time())
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


async def test_an_agent_that_comes_and_goes_is_forgotten_once() -> None:
    """Each of its requests leaves, and none leaves anything behind."""
    loop = asyncio.get_running_loop()
    turns = Turns(loop)
    turns.carried("heavy", BURST / 10, loop.time())
    before = len(asyncio.all_tasks()), scheduled(loop)
    for _ in range(1000):
        turns.join("heavy")
        turns.leave("heavy")
    assert (len(asyncio.all_tasks()), scheduled(loop)) == before
    faded = asyncio.Event()
    loop.call_later(BURST / 10 / SHARE + 0.1, faded.set)
    await faded.wait()
    assert len(turns) == 0


def scheduled(loop: asyncio.AbstractEventLoop) -> int:
    """How many timers the loop has."""
    timers = getattr(loop, "_scheduled", None)
    return 0 if timers is None else len(timers)


async def test_what_one_of_them_does_wrong_takes_nobodys_turn() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(loop)
    bad, good = turns.join("bad"), turns.join("good")

    class Broken:
        def go_on(self, now: float) -> None:
            raise RuntimeError("meant")

    caught: list[object] = []
    loop.set_exception_handler(lambda _, context: caught.append(context["exception"]))
    link = Link(turns, good, 3 * FRAMES)
    turns.wait(bad, Broken())
    turns.wait(good, link)
    async with asyncio.timeout(PATIENCE):
        await link.done.wait()
    assert [str(one) for one in caught] == ["meant"]
