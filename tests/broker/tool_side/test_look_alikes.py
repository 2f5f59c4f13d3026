"""Programs that look alike: which one serves, which stands by, and that nobody who lives is cut off."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import encode

from mcp_endpoint.broker.agent_state.why import explain
from mcp_endpoint.broker.tool_side.program import LIVENESS
from mcp_endpoint.broker.tool_side.registry import PROBE
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.wire.mcp import Kind
from support.offline import TIMEOUT, Device, Program, World


def test_an_elder_that_is_silent_is_closed_and_its_place_goes_on() -> None:
    world = World()
    elder = world.join()
    elder.bridge_alive = elder.child_alive = False
    newcomer = world.join()
    assert world.serving() == [id(newcomer)]
    world.passes(PROBE + 0.2)
    assert elder.closed is End.REPLACED
    assert world.serving() == [id(newcomer)]
    assert world.told.notes == []


@pytest.mark.parametrize("child_alive", [True, False])
def test_an_elder_that_lives_stands_by(child_alive: bool) -> None:
    world = World()
    elder = world.join()
    elder.child_alive = child_alive
    newcomer = world.join()
    world.passes(PROBE + 0.2)
    assert elder.closed is None
    assert world.serving() == [id(newcomer)]
    assert world.told.notes == ["look_alike", "look_alike"]
    why = explain(world.agent(), world.now)
    assert "?server_id=" in why.en
    assert "?server_id=" in why.zh


def test_the_newest_that_answers_takes_over() -> None:
    world = World()
    oldest, dead_child, newest = world.join(), world.join(), world.join()
    world.passes(PROBE + 0.2)
    dead_child.child_alive = False
    newest.leave()
    assert world.serving() == []
    world.passes(PROBE + 0.3)
    assert dead_child.closed is End.NOT_ANSWERING
    assert world.serving() == [id(oldest)]
    assert list(world.agent().catalogue[Kind.TOOLS].entries) == ["add"]


def test_a_newcomer_is_not_displaced_by_one_that_answers_late() -> None:
    world = World()
    elder, first = world.join(), world.join()
    world.passes(PROBE + 0.2)
    first.leave()
    second = world.join()
    world.passes(PROBE + 0.3)
    assert world.serving() == [id(second)]
    assert elder.closed is None


def test_one_that_stands_by_and_changes_its_tools_gets_a_place_of_its_own() -> None:
    world = World()
    elder, newcomer = world.join(), world.join()
    world.passes(PROBE + 0.2)
    elder.tools = ("add", "subtract")
    elder.session.receive(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}', world.now)
    world.passes(0.5)
    assert sorted(world.serving()) == sorted([id(elder), id(newcomer)])
    assert len({registration.alias for registration in world.agent().registrations()}) == 2


def test_server_ids_tell_look_alikes_apart() -> None:
    world = World()
    one, two = world.join(server_id="kitchen"), world.join(server_id="garage")
    world.passes(PROBE + 0.2)
    assert world.serving() == [id(one), id(two)]
    assert sorted(world.agent().catalogue[Kind.TOOLS].entries) == ["garage__add", "kitchen__add"]
    assert world.told.notes == []


joins = st.tuples(st.just("join"), st.just(0))
ends = st.tuples(st.sampled_from(["leave", "hang"]), st.integers(0, 9))
pauses = st.tuples(st.just("pause"), st.sampled_from([1, 5, 15, 25]))


@settings(max_examples=500)
@given(st.lists(joins | joins | ends | pauses, max_size=20))
def test_whatever_the_order_the_living_keep_their_links_and_exactly_one_serves(steps: list[tuple[str, int]]) -> None:
    """And it does not flap: another one serves only if one comes, or if the one that served is gone."""
    world = World()

    def alive(program: Program) -> bool:
        return program.bridge_alive

    for what, how in [*steps, ("pause", 50)]:
        served, before = world.serving(), list(world.programs)
        chosen = before[how % len(before)] if before else None
        if what == "join":
            newest = world.join()
            assert world.serving() == [id(newest)], "a newcomer serves at once"
        elif what == "leave" and chosen is not None:
            chosen.leave()
            assert world.serving() == [one for one in served if one != id(chosen)], "nobody takes over unasked"
        elif what == "hang" and chosen is not None:
            chosen.bridge_alive = chosen.child_alive = False
            assert world.serving() == served
        elif what == "pause":
            world.passes(how / 10)
            assert not served or world.serving() == served, "nobody came and nobody left"
        assert all(program in world.programs for program in before if alive(program) and program is not chosen)
        assert all(program.closed is None for program in world.programs if alive(program))
        assert len(world.serving()) <= 1
    living = [program for program in world.programs if alive(program)]
    assert len(world.serving()) == min(len(world.programs), 1), "one serves if one is there"
    if living and world.serving() not in [[id(program)] for program in living]:
        # The one that serves hangs: only a call can tell. Then another one takes over, if it hangs no more than that.
        device = Device(world)
        device.call(1)
        world.passes(TIMEOUT + LIVENESS + PROBE + 1)
        assert world.serving()[0] in [id(program) for program in living]
    assert len(world.told.notes) <= 2 * len(steps), "each is told once of a look-alike"


def test_a_program_that_lets_a_call_time_out_in_silence_is_asked_and_then_closed() -> None:
    world = World()
    program = world.join()
    device = Device(world)
    program.child_alive = False
    device.call(1)
    world.passes(TIMEOUT + 0.2)
    assert device.got[-1]["error"]["code"] == -32003
    assert "期间没有收到它的任何消息" in device.got[-1]["error"]["data"]["details"]
    assert [frame["method"] for frame in program.inbox] == ["tools/call", "notifications/cancelled", "ping"]
    assert explain(world.agent(), world.now).reason == "not_answering"
    world.passes(LIVENESS - 1)
    assert program.closed is None
    world.passes(1.5)
    assert program.closed is End.NOT_ANSWERING
    world.passes(0.2)
    device.call(2)
    assert "不再应答" in device.got[-1]["error"]["data"]["details"]
    assert world.told.states[-2:] == ["not_answering", "offline"]


def revive(program: Program) -> None:
    program.child_alive = True


def call_again(program: Program) -> None:
    program.session.receive(b'{"jsonrpc":"2.0","method":"notifications/message"}', program.world.now)


@pytest.mark.parametrize("sign_of_life", [revive, call_again])
def test_any_sign_of_life_within_a_minute_keeps_the_link(sign_of_life: Callable[[Program], None]) -> None:
    world = World()
    program = world.join()
    program.child_alive = False
    Device(world).call(1)
    world.passes(TIMEOUT + 30)
    sign_of_life(program)
    world.passes(LIVENESS + 1)
    assert program.closed is None


def test_a_program_that_works_on_one_long_call_and_answers_others_is_not_asked() -> None:
    world = World()
    program = world.join()
    program.keeps_calls = True
    device = Device(world)
    device.call(1)
    world.passes(10)
    call_again(program)
    world.passes(TIMEOUT)
    assert "ping" not in program.asked
    assert "但它仍在应答其他消息" in device.got[-1]["error"]["data"]["details"]
    assert program.closed is None


# --- who is calling ---

KEY = "mcp-endpoint/caller"


def test_a_tool_side_that_asked_for_it_is_told_who_calls() -> None:
    world = World()
    program = world.join(wants_caller=True)
    program.keeps_calls = program.child_alive = True
    device = Device(world, device="kitchen", mac="aa:bb")
    device.session.receive(
        encode(
            {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"clientInfo": {"name": "c", "version": "9"}}}
        ),
        world.now,
    )
    device.call(1, _meta={KEY: {"agent": "forged"}, "progressToken": "p", "other": 1})
    params = program.inbox[-1]["params"]
    assert params["_meta"][KEY] == {
        "agent": "agent",
        "link": device.session.number,
        "client": {"name": "c", "version": "9"},
        "protocolVersion": "2025-11-25",
        "device": "kitchen",
        "mac": "aa:bb",
    }
    assert params["_meta"]["other"] == 1
    assert isinstance(params["_meta"]["progressToken"], int)
    device.call(2)
    assert program.inbox[-1]["params"]["_meta"][KEY]["device"] == "kitchen"


def test_others_are_told_nothing_and_nothing_forged() -> None:
    world = World()
    program = world.join()
    device = Device(world, mac="aa:bb")
    device.call(1)
    assert program.inbox[-1]["params"] == {"name": "add", "arguments": {}}
    device.call(2, _meta={KEY: {"agent": "forged"}, "other": 1})
    assert program.inbox[-1]["params"]["_meta"] == {"other": 1}
