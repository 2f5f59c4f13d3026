"""Large messages: a few at once, a flood of them at a steady rate."""

import asyncio

import pytest

from mcp_endpoint.broker.work_budget import BURST, HOLD, LARGE, LONGEST_REST, SHARE, WorkBudget, expected
from mcp_endpoint.doors.limits.fairness import FRAMES, Fairness, Share
from support.sockets import PATIENCE
from support.turns import A_TURN, TurnLoop, run


def test_what_is_quick_is_not_counted() -> None:
    budget = WorkBudget()
    assert max(budget.rest_after(HOLD * 0.9, 5.0) for _ in range(10_000)) < 5
    assert budget.full_at <= 5.0


def test_a_burst_passes_and_a_flood_has_its_share_of_the_time() -> None:
    budget = WorkBudget()
    work = BURST / 4
    rests = [budget.rest_after(work, 100.0) for _ in range(6)]
    assert [max(rest - 100, 0) for rest in rests] == pytest.approx([0, 0, 0, 0, work / SHARE, 2 * work / SHARE])
    assert budget.full_at == pytest.approx(100 + 6 * work / SHARE)
    assert budget.rest_after(work, 200.0) < 200, "what came long ago counts no more"


def test_nobody_rests_for_so_long_that_its_peers_take_the_broker_for_dead() -> None:
    budget = WorkBudget()
    assert budget.rest_after(3600.0, 100.0) == pytest.approx(100 + LONGEST_REST)


def test_only_of_a_large_message_it_is_known_what_to_expect() -> None:
    assert expected(LARGE - 1) == 0
    assert expected(LARGE) >= HOLD


class Link:
    """One that has input for ever."""

    def __init__(self, fairness: Fairness, share: Share, most: int) -> None:
        self.fairness, self.share, self.left = fairness, share, most
        self.done = asyncio.Event()
        self.frames = 0

    def go_on(self, now: float) -> None:
        self.frames += self.share.left
        self.share.left = 0
        if self.frames < self.left:
            self.fairness.wait(self.share, self)
        else:
            self.done.set()


def test_an_agent_that_carried_too_much_rests_and_the_others_do_not() -> None:
    async def main(loop: TurnLoop) -> None:
        fairness = Fairness(loop)
        heavy, light = fairness.join("heavy"), fairness.join("light")
        resting, busy = Link(fairness, heavy, FRAMES), Link(fairness, light, 10 * FRAMES)
        fairness.wait(heavy, resting)
        heavy.charge(BURST + SHARE / 5, loop.time())
        began = loop.time()
        fairness.wait(light, busy)
        await busy.done.wait()
        assert not resting.done.is_set()
        await resting.done.wait()
        assert 0.2 <= loop.time() - began < 0.2 + 3 * A_TURN

    run(main)


async def test_a_link_that_is_opened_anew_is_no_way_round() -> None:
    loop = asyncio.get_running_loop()
    fairness = Fairness(loop)
    first = fairness.join("heavy")
    first.charge(BURST, loop.time())
    fairness.leave("heavy")
    assert fairness.join("heavy") is first
    fairness.leave("heavy")
    fairness.join("light")
    fairness.leave("light")
    assert len(fairness) == 1, "there is nothing to remember of this one"


def test_an_agent_that_comes_and_goes_is_forgotten_once() -> None:
    """Each of its requests leaves, and none leaves anything behind."""

    async def main(loop: TurnLoop) -> None:
        fairness = Fairness(loop)
        fairness.charge("heavy", BURST / 10, loop.time())
        before = len(asyncio.all_tasks()), scheduled(loop)
        for _ in range(1000):
            fairness.join("heavy")
            fairness.leave("heavy")
        assert (len(asyncio.all_tasks()), scheduled(loop)) == before
        await asyncio.sleep(BURST / 10 / SHARE + A_TURN)
        assert len(fairness) == 0

    run(main)


def scheduled(loop: asyncio.AbstractEventLoop) -> int:
    """How many timers the loop has."""
    timers = getattr(loop, "_scheduled", None)
    return 0 if timers is None else len(timers)


async def test_what_one_of_them_does_wrong_takes_nobodys_turn() -> None:
    loop = asyncio.get_running_loop()
    fairness = Fairness(loop)
    bad, good = fairness.join("bad"), fairness.join("good")

    class Broken:
        def go_on(self, now: float) -> None:
            raise RuntimeError("meant")

    caught: list[object] = []
    loop.set_exception_handler(lambda _, context: caught.append(context["exception"]))
    link = Link(fairness, good, 3 * FRAMES)
    fairness.wait(bad, Broken())
    fairness.wait(good, link)
    async with asyncio.timeout(PATIENCE):
        await link.done.wait()
    assert [str(one) for one in caught] == ["meant"]
