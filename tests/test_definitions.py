"""What a third party's server says of its tools: bounded, and without what is hidden."""

from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.providers.definitions import MOST_DEFINITIONS, Definitions
from mcp_endpoint.providers.server_entry import Tools


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
    assert definitions.own_names == {"last": "last"}
