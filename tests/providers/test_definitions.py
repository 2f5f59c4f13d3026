"""What a third party's server says of its tools: bounded, and without what is hidden."""

import pytest
from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.providers.definitions import MOST_DEFINITIONS, Definitions
from mcp_endpoint.providers.entries.entry import Tools, read_entry
from mcp_endpoint.providers.entries.members import BadEntry


def page(*definitions: object) -> Raw:
    return Raw(encode({"tools": list(definitions), "x": 1}))


def test_no_more_definitions_of_a_page_are_looked_at_than_hold_up_nobody() -> None:
    definitions = Definitions("home", Tools())
    definitions.begin()
    judged: list[int] = []
    bad = [{} for _ in range(MOST_DEFINITIONS - 1)]
    result = definitions.page(
        page(*bad, {"name": "last"}, {"name": "over"}, *bad), lambda tools: judged.append(len(tools)) or ()
    )
    assert decode(result) == {"tools": [{"name": "last"}], "x": 1}
    assert judged == [1]
    assert definitions.left_out == 2 * MOST_DEFINITIONS - 1
    assert definitions.own_names() == {"last": "last"}


@pytest.mark.parametrize(
    ("tools", "shown"),
    [
        (None, ["lamp_on", "lamp_off", "bake"]),
        ({}, ["lamp_on", "lamp_off", "bake"]),
        (["*"], ["lamp_on", "lamp_off", "bake"]),
        (["bake", "lamp_o?"], ["bake"]),
        ([], []),
        ({"allow": ["lamp_*"]}, ["lamp_on", "lamp_off"]),
        ({"allow": []}, []),
        ({"deny": []}, ["lamp_on", "lamp_off", "bake"]),
        ({"allow": ["lamp_*"], "deny": ["*_off"]}, ["lamp_on"]),
    ],
)
def test_which_tools_an_entry_shows(tools: object, shown: list[str]) -> None:
    """Some desktop hosts write a list of names, or of `*`."""
    definitions = Definitions("home", read_entry("home", {"command": "x", "tools": tools}).tools)
    listed = decode(definitions.page(page(*({"name": name} for name in ("lamp_on", "lamp_off", "bake"))), lambda _: ()))
    assert [tool["name"] for tool in listed["tools"]] == shown


@pytest.mark.parametrize(
    ("tools", "place"),
    [({"denied": ["x"]}, "tools.denied"), ({"allow": "x", "Deny": []}, "tools.Deny"), ("x", "tools")],
)
def test_what_was_meant_to_choose_tools_does_not_go_unnoticed(tools: object, place: str) -> None:
    with pytest.raises(BadEntry) as bad:
        read_entry("home", {"command": "x", "tools": tools})
    assert bad.value.member == place
