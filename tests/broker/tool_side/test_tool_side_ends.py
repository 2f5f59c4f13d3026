"""What a tool side leaves behind when it ends: no deadline, and a word on every agent it served."""

import pytest

from mcp_endpoint.settings.schema import AgentSettings
from support.offline import TIMEOUT, Device, World


@pytest.mark.parametrize("mute", ["initialize", "tools/list", "tools/call", "ping"])
def test_one_that_ends_in_the_middle_of_something_leaves_no_deadline(mute: str) -> None:
    """Without `offline_grace`, so that its registration is no reason for one either."""
    world = World(offline_grace=0)
    program = world.join(mute=(mute, "tools/call") if mute == "ping" else (mute,))
    if mute in ("tools/call", "ping"):
        device = Device(world)
        device.call(1)
        world.passes(TIMEOUT + 1 if mute == "ping" else 1)
        device.leave()
    assert len(world.manager.timers) > 0, "something was being waited for"
    program.leave()
    world.manager.sweep(world.now)
    assert len(world.manager.timers) == 0


def test_one_that_ends_before_it_refreshed_its_list_leaves_no_deadline() -> None:
    world = World(offline_grace=0, tools_wait=0)
    program = world.join()
    world.passes(0.1)
    program.notify("notifications/tools/list_changed")
    assert len(world.manager.timers) == 1
    program.leave()
    world.manager.sweep(world.now)
    assert len(world.manager.timers) == 0


def test_an_answer_in_time_takes_its_deadline_along() -> None:
    world = World(tools_wait=0)
    world.join()
    world.passes(0.1)
    assert len(world.manager.timers) == 0


def test_one_that_comes_and_goes_all_the_time_is_waited_for_by_one_deadline() -> None:
    world = World(tools_wait=0)
    for _ in range(20):
        program = world.join()
        world.passes(0.2)
        program.leave()
    assert len(world.manager.timers) == 2, "when its registration is given up, and when its agent is"
    program = world.join()
    world.passes(0.2)
    assert len(world.manager.timers) == 1, "its registration is taken up"
    program.leave()
    world.manager.sweep(world.now + 600)
    assert len(world.manager.timers) == 0
    assert not world.manager._agents


FOLLOWER = {"follower": AgentSettings(tools_from="agent")}


def told_of_follower(world: World) -> list[str]:
    return [sentence for agent, sentence in world.told.sentences if agent == "follower"]


def test_an_agent_hears_of_tool_sides_that_serve_it_from_elsewhere() -> None:
    """Each state once, and none that is half of a change: a program that serves, with tools that are not there yet."""
    world = World(FOLLOWER, tools_wait=8)
    Device(world, agent="follower")
    stuck = world.join(mute=("initialize",), server_id="hall")
    world.passes(8.2)
    assert [sentence.partition(" for ")[0] for sentence in told_of_follower(world)] == [
        "The tool program hall has been connected"
    ]
    stuck.leave()
    program = world.join()
    assert told_of_follower(world)[1:] == ["Tool programs connected: 1, tools: 1."]
    program.leave()
    [offline] = told_of_follower(world)[2:]
    assert offline.startswith("calc went offline ")


def test_an_agent_hears_of_what_a_tool_side_from_elsewhere_is_remarked_on() -> None:
    world = World(FOLLOWER)
    Device(world, agent="follower")
    program = world.join()
    program.session.receive(b"loading", world.now)
    assert "prints to stdout" in told_of_follower(world)[-1]


def test_that_a_handshake_takes_too_long_is_told_at_the_very_moment() -> None:
    """Of two sums of seconds one may be a hair smaller; there are enough moments here for both."""
    for step in range(200):
        world = World(tools_wait=0.3)
        world.now += step / 7
        world.join(mute=("initialize",), server_id="hall")
        world.manager.sweep(world.now + 0.3)
        assert world.told.states == ["stuck"]
