"""Server-sent events as bytes: their parts, their limits, and every way to cut them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.net.event_reader import Event, EventReader

STREAM = (
    b"\xef\xbb\xbf: a comment\r\nevent: message\r\nid: 1\r\ndata: {\r\ndata:}\r\n\r\n"
    b"data: two\n\n"
    b"\n\n"
    b"event: endpoint\rdata: /m\r\r"
    b"id: 2\ndata:\n\n"
    b"id: \x00\nretry: 1500\nretry: soon\nunknown: x\ndata\n\n"
    b"data: cut off"
)
EVENTS = [
    Event("message", b"{\n}"),
    Event("", b"two"),
    Event("endpoint", b"/m"),
    Event("", b""),
    Event("", b""),
]


def test_a_stream_in_one_piece() -> None:
    reader = EventReader()
    assert reader.feed(STREAM) == EVENTS
    assert (reader.last_id, reader.retry) == ("2", 1.5)
    assert [event.is_message for event in EVENTS] == [True, True, False, False, False]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_stream_in_any_pieces(cuts: list[int]) -> None:
    reader = EventReader()
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(places)]
    assert [event for piece in pieces for event in reader.feed(piece)] == EVENTS
    assert (reader.last_id, reader.retry) == ("2", 1.5)


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    EventReader().feed(data)


@pytest.mark.parametrize("retry", [b"0", b"999999999", b"-1", b"1e3", b"9999999999"])
def test_a_retry_has_bounds(retry: bytes) -> None:
    reader = EventReader()
    reader.feed(b"retry: " + retry + b"\n")
    assert reader.retry is None or 0.1 <= reader.retry <= 60


def test_an_id_that_cannot_stand_in_a_header() -> None:
    reader = EventReader()
    reader.feed(b"id: good\nid: " + b"x" * 2000 + b"\nid: a\x01b\n")
    assert reader.last_id == "good"


@pytest.mark.parametrize(
    "chunk", [b"x" * 101, b"data: " + b"x" * 101 + b"\n", b"data: 1234567\n" * 20, b"data\n" * 101]
)
def test_an_event_over_the_limit(chunk: bytes) -> None:
    with pytest.raises(NetError) as failed:
        EventReader(100).feed(chunk)
    assert failed.value.fault is NetFault.TOO_LONG


def test_what_is_over_does_not_count() -> None:
    reader = EventReader(100)
    for _ in range(1000):
        assert reader.feed(b": ping\n") == []
        assert len(reader.feed(b"data: " + b"x" * 60 + b"\n\n")) == 1
