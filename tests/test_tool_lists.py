"""Lists of tools that are meant to do harm: no more of them is looked at than an agent may have (issue 3, part 7)."""

import pytest
from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.listing import REFRESH_DELAY, REFRESH_PAUSE
from mcp_endpoint.wire.mcp import Kind
from programs import World

MOST = 10


@pytest.mark.parametrize(
    ("definition", "kept", "drops"),
    [
        (b'{"name":"t%d"}', MOST, {}),
        (b"%d", 0, {"bad_definition": MOST}),
        (b'{"name":"t","i":%d}', 1, {"duplicate_name": MOST - 1}),
    ],
    ids=["good", "bad", "duplicate"],
)
def test_a_list_is_read_no_further_than_max_tools(definition: bytes, kept: int, drops: dict[str, int]) -> None:
    """Four megabytes of bad definitions would hold up every agent for more than a second."""
    world = World(max_tools=MOST)
    program = world.join(mute=("tools/list",))
    for page in range(2):  # a bad one takes a place as a good one does, on whatever page it is
        tools = Raw(b"[%b]" % b",".join(definition % number for number in range(page * 6, page * 6 + 6)))
        answer = {"id": program.session._last_id, "result": {"tools": tools, "nextCursor": "more"}}
        program.session.receive(encode({"jsonrpc": "2.0"} | answer), world.now)
    assert len(program.session.offers[Kind.TOOLS]) == kept
    assert program.session.drops == drops
    assert world.told.notes == ["too_many_tools"]


def test_a_list_that_changes_all_the_time_is_asked_for_once_a_second() -> None:
    """A change is seen at once, and the last one in any case."""
    world = World()
    program = world.join()
    world.passes(5)
    for number in range(30):
        program.tools = (f"t{number}",)
        program.notify("notifications/tools/list_changed")
        world.passes(0.1)
        if number == 0:
            world.passes(REFRESH_DELAY)
            assert program.asked.count("tools/list") == 2
    assert program.asked.count("tools/list") == 2 + 2
    world.passes(REFRESH_PAUSE)
    assert list(world.agent().catalogue[Kind.TOOLS].entries) == ["t29"]
