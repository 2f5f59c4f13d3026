"""Media types of `Accept` and `Content-Type`, as RFC 9110 has them and as programs spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.doors.http.media import ANYTHING, Accepted, accepted, is_json

JSON = Accepted(json=True, events=False, streams=False)
EVENTS = Accepted(json=False, events=True, streams=True)
BOTH = Accepted(json=True, events=True, streams=True)
NEITHER = Accepted(json=False, events=False, streams=False)
TABLE: dict[str | None, Accepted] = {
    None: ANYTHING,
    "": ANYTHING,
    " , ": ANYTHING,
    "*/*": ANYTHING,
    "*": ANYTHING,
    "nonsense": ANYTHING,
    "application/json": JSON,
    "application/*;q=0.1": JSON,
    "application/problem+json": JSON,
    "text/event-stream": EVENTS,
    "text/*": EVENTS._replace(streams=False),
    "application/json, text/event-stream": BOTH,
    "text/event-stream;q=0.1,application/json;charset=utf-8": BOTH,
    "application/json, text/event-stream;q=0": JSON,
    "application/json, text/event-stream; q=0.000": JSON,
    "*/*, application/json;q=0": EVENTS._replace(streams=False),
    "*/*;q=0, application/json": JSON,
    "*/*;q=0": NEITHER,
    "text/html, application/xhtml+xml": NEITHER,
    "text/html, */*;q=0.8": ANYTHING,
    "application/json;q=0, application/json": JSON,
    "application/json;q=much": JSON,
    "application/json;q=1.2.3": JSON,
    'application/json;x="a, text/event-stream, b"': JSON,
    'application/json;x="\\", text/event-stream;q=0", text/event-stream': BOTH,
    'text/html;x=", application/json, ': NEITHER,
}


@pytest.mark.parametrize(("header", "takes"), TABLE.items())
def test_what_a_client_takes(header: str | None, takes: Accepted) -> None:
    assert accepted(header) == takes
    assert accepted(None if header is None else header.upper()) == takes


@given(st.text(max_size=200) | st.text('aq/*+;=,." \\0', max_size=200))
def test_no_header_fails(header: str) -> None:
    assert accepted(header) is not None
    assert is_json(header) in (True, False)


@given(st.lists(st.sampled_from(["text/html", "image/*", "application/xml;q=0.2", "x/y;a=b"]), max_size=5))
def test_other_types_beside_it_change_nothing(others: list[str]) -> None:
    assert accepted(",".join([*others, "application/json"])) == JSON
    assert accepted(",".join(["text/event-stream", *others, "application/json"])) == BOTH


@pytest.mark.parametrize(
    ("header", "json"),
    [
        ("application/json", True),
        ("APPLICATION/JSON ; charset=utf-8", True),
        ("application/vnd.api+json", True),
        ("application/json-rpc", True),
        ("text/json", True),
        ("application/json, application/json;charset=utf-8", True),
        ("application/json, text/plain", False),
        ("text/plain", False),
        ("text/plain+json", False),
        ("text/plain;x=application/json", False),
        ("application/jsonx", False),
        ("", False),
        (None, False),
    ],
)
def test_what_says_that_it_is_json(header: str | None, json: bool) -> None:
    assert is_json(header) is json
