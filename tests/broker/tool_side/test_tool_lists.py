"""Lists of tools that are meant to do harm: no more of them is looked at than an agent may have."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.agent_state.why import explain
from mcp_endpoint.broker.tool_side.list_fetch import (
    ASKED_AGAIN,
    MOST_MENDED,
    MOST_REFERENCES,
    MOST_REMARKS,
    REFRESH_DELAY,
    REFRESH_PAUSE,
)
from mcp_endpoint.wire.definitions.flaws import Flaw
from mcp_endpoint.wire.mcp import Kind
from support.offline import Program, World

MOST = 10
GOOD = {"inputSchema": {"type": "object"}}


@pytest.mark.parametrize(
    ("definition", "kept", "drops"),
    [
        (b'{"name":"t%d","inputSchema":{"type":"object"}}', MOST, {}),
        (b"%d", 0, {"bad_definition": MOST}),
        (b'{"name":"t","i":%d,"inputSchema":{"type":"object"}}', 1, {"duplicate_name": MOST - 1}),
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


def test_a_list_that_cannot_be_had_is_asked_for_again_and_then_no_longer_told() -> None:
    """A server that is just starting, or was asked too often, refuses once."""
    world = World()
    program = world.join(mute=("tools/list",))
    refusal = {"error": {"code": -32603, "message": "HTTP 503"}}

    def answer(what: dict[str, Any]) -> None:
        [(number, _)] = program.session._answers.items()
        program.session.receive(encode({"jsonrpc": "2.0", "id": number} | what), world.now)

    answer(refusal)
    assert explain(world.agent(), world.now).reason == "list_failed"
    world.passes(ASKED_AGAIN[0] + REFRESH_PAUSE)
    answer(refusal)
    world.passes(ASKED_AGAIN[1] - 1)
    assert not program.session._answers
    world.passes(1 + REFRESH_PAUSE)
    answer({"result": {"tools": tools("a")}})
    assert list(world.agent().catalogue[Kind.TOOLS].entries) == ["a"]
    assert explain(world.agent(), world.now).reason != "list_failed"
    world.passes(ASKED_AGAIN[2] + REFRESH_PAUSE)
    assert not program.session._answers


def test_a_list_that_is_refused_every_time_is_left_alone_in_the_end() -> None:
    world = World()
    program = world.join(mute=("tools/list",))
    for wait in (*ASKED_AGAIN, 86_400):
        [(number, _)] = program.session._answers.items()
        program.session.receive(encode({"jsonrpc": "2.0", "id": number, "error": {"code": -32601}}), world.now)
        world.passes(wait + REFRESH_PAUSE)
    assert not program.session._answers


def answered(pages: Callable[[str | None], object], **limits: Any) -> tuple[World, Program]:
    """A program that answers each page of its list by `pages`, which is given the cursor."""
    world = World(**limits)
    program = world.join(mute=("tools/list",))
    while program.session._answers:
        program.work()
        [(number, _)] = program.session._answers.items()
        [*_, asked] = program.requests
        page = pages(asked.get("params", {}).get("cursor"))
        answer = {"error": {"code": -32602, "message": "Invalid cursor"}} if page is None else {"result": page}
        program.session.receive(encode({"jsonrpc": "2.0", "id": number} | answer), world.now)
    return world, program


def names(program: Program) -> list[str]:
    return [offer.name for offer in program.session.offers[Kind.TOOLS]]


def tools(*names: str) -> list[object]:
    return [{"name": name} | GOOD for name in names]


def ever_new(*pages: list[object]) -> Callable[[str | None], object]:
    """Pages each of which has a cursor that was never there before; the last one is given again and again."""
    numbers: Iterator[int] = count()
    return lambda _: {"tools": pages[min(next(numbers), len(pages) - 1)], "nextCursor": f"c{next(cursors)}"}


cursors = count()


@pytest.mark.parametrize(
    ("pages", "asked"),
    [
        (ever_new(tools("a", "b")), 2),
        (ever_new(tools("a"), tools("b"), tools("a")), 3),
        (ever_new(tools("a", "b"), [{}], [{}]), 3),
        (ever_new(tools("a", "b"), []), 4),
        (lambda _: {"tools": tools("a", "b"), "nextCursor": "same"}, 2),
        (lambda _: {"tools": tools("a", "b"), "nextCursor": 5}, 2),
        (lambda cursor: {"tools": tools("a", "b"), "nextCursor": "x"} if cursor is None else None, 2),
    ],
    ids=["the same page", "an earlier page", "the same bad one", "nothing", "the same cursor", "a number", "an error"],
)
def test_a_list_that_comes_to_nothing_new_is_broken_off_and_told(
    pages: Callable[[str | None], object], asked: int
) -> None:
    world, program = answered(pages)
    assert names(program) == ["a", "b"]
    assert program.asked.count("tools/list") == asked
    assert world.told.notes == ["list_broken_off"]
    assert "list_broken_off" in world.told.states or "definitions_left_out" in world.told.states


@pytest.mark.parametrize(
    "pages",
    [
        lambda cursor: {"tools": tools("a"), "nextCursor": "x"} if cursor is None else {"tools": tools("b")},
        lambda cursor: {"tools": tools("b" if cursor == 1 else "a")} | ({"nextCursor": 1} if cursor is None else {}),
        lambda cursor: {"tools": tools("a"), "nextCursor": ""} if cursor is None else {"tools": tools("b")},
        lambda _: {"tools": tools("a", "b"), "nextCursor": ""},
        lambda cursor: {"tools": tools("a", "b"), "nextCursor": ""} if cursor is None else None,
        lambda cursor: {"tools": tools("a", "b") if cursor else [], "nextCursor": None if cursor else "x"},
        lambda _: {"tools": tools("a", "b"), "nextCursor": None},
        lambda _: {"tools": {"0": tools("a")[0], "2": tools("b")[0]}},
        lambda _: {"tools": {"a": GOOD, "b": GOOD}},
    ],
)  # fmt: skip
def test_a_list_is_read_to_its_end_however_that_is_spelled(pages: Callable[[str | None], object]) -> None:
    world, program = answered(pages)
    assert names(program) == ["a", "b"]
    assert world.told.notes == []
    assert world.told.states[-1] == "serving"


@pytest.mark.parametrize("listed", [None, [], {}])
def test_a_program_without_tools_may_say_so_in_every_language(listed: object) -> None:
    world, program = answered(lambda _: {"tools": listed})
    assert names(program) == []
    assert world.told.notes == []


def test_one_tool_may_stand_without_a_list() -> None:
    assert names(answered(lambda _: {"tools": tools("a")[0]})[1]) == ["a"]


def test_of_several_definitions_of_one_name_the_first_is_taken_and_it_is_told() -> None:
    world, program = answered(lambda _: {"tools": [*tools("a"), {"name": "a", "title": "other"} | GOOD]})
    assert [offer.definition for offer in program.session.offers[Kind.TOOLS]] == [encode(tools("a")[0])]
    [remark] = program.session.lists[Kind.TOOLS].remarks.told
    assert (remark.name, remark.left_out, remark.flaws[0].flaw) == ("a", True, Flaw.LISTED_TWICE)
    assert world.told.states == ["definitions_left_out"]


def test_only_so_many_definitions_are_told_of_by_name_the_gravest_first() -> None:
    mended = [{"name": f"m{number}"} for number in range(MOST_REMARKS)]
    world, program = answered(lambda _: {"tools": [*mended, *tools("a"), 1, {"name": "b", "inputSchema": 1}]})
    remarks = program.session.lists[Kind.TOOLS].remarks
    assert (remarks.left_out, remarks.mended, len(remarks.told)) == (2, MOST_REMARKS, MOST_REMARKS)
    assert [remark.name for remark in remarks.told[:3]] == ["#22", "b", "m0"]
    sentence = world.told.sentences[-1][1]
    assert sentence.startswith(
        "calc has definitions that cannot be used and are left out (2): #22 (it is no JSON object)"
    )
    assert "m2 (inputSchema is missing) …" in sentence
    assert "m3" not in sentence


def test_a_program_that_mends_its_definitions_is_told_of_no_longer() -> None:
    bad = [True]
    world, program = answered(lambda _: {"tools": tools("a") if not bad else [{"name": "a"}]})
    assert world.told.states == ["definitions_mended"]
    bad.clear()
    program.mute = ()
    program.tools = ("a",)
    program.notify("notifications/tools/list_changed")
    world.passes(REFRESH_PAUSE + REFRESH_DELAY)
    assert world.told.states == ["definitions_mended", "serving"]


def test_how_much_is_mended_and_followed_in_one_list_is_bounded() -> None:
    large = {"name": "b", "description": "x" * MOST_MENDED}
    _, program = answered(lambda _: {"tools": [large, *tools("a"), {"name": "c"}]})
    assert names(program) == ["a", "c"]
    properties = {f"p{number}": {"$ref": "#/$defs/A"} for number in range(MOST_REFERENCES // 2 + 1)}
    refers = {"inputSchema": {"type": "object", "properties": properties, "$defs": {"A": {}}}}
    _, program = answered(lambda _: {"tools": [{"name": "b"} | refers, {"name": "c"} | refers, *tools("a")]})
    assert names(program) == ["b", "a"]
    [remark] = program.session.lists[Kind.TOOLS].remarks.told
    assert remark.flaws[0].flaw is Flaw.TOO_MANY_REFERENCES


@pytest.mark.parametrize(
    ("result", "names"), [([GOOD | {"name": "a"}, GOOD | {"name": "b"}], ["a", "b"]), ({}, []), ({"tools": None}, [])]
)
def test_a_list_without_a_name_and_one_that_is_left_out_for_it_is_empty(result: object, names: list[str]) -> None:
    world = World()
    program = world.join(mute=("tools/list",))
    answer = {"jsonrpc": "2.0", "id": program.session._last_id, "result": result}
    program.session.receive(encode(answer), world.now)
    assert [offer.name for offer in program.session.offers[Kind.TOOLS]] == names
    assert world.told.notes == []
