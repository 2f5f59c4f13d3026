"""What a session over HTTP keeps for a client that lost its connection, and its bounds."""

import pytest

from mcp_endpoint.doors.http.streamable.event_store import MAX_EVENTS, EventStore, event_id, read_event_id


def test_what_came_after_an_event_is_given_in_order_and_of_its_stream_only() -> None:
    store = EventStore(lambda: 1000)
    for number in (1, 2, 3):
        store.keep(1, number, b"a%d" % number)
        store.keep(2, number, b"b%d" % number)
    assert store.after(1, 0) == [(1, b"a1"), (2, b"a2"), (3, b"a3")]
    assert store.after(2, 2) == [(3, b"b3")]
    assert store.after(1, 3) == store.after(3, 0) == []


def test_an_event_is_kept_once() -> None:
    store = EventStore(lambda: 1000)
    store.keep(1, 1, b"a")
    store.keep(1, 1, b"a")
    assert (len(store), store.after(1, 0)) == (1, [(1, b"a")])


def test_the_oldest_of_all_streams_go_first_and_emptied_streams_are_told() -> None:
    store = EventStore(lambda: 10)
    assert store.keep(1, 1, b"12345") == []
    assert store.keep(2, 1, b"12345") == []
    assert store.keep(2, 2, b"1") == [1]
    assert (store.has(1), store.has(2), len(store)) == (False, True, 2)


def test_the_newest_is_kept_whatever_its_size() -> None:
    store = EventStore(lambda: 10)
    store.keep(1, 1, b"1")
    assert store.keep(2, 1, b"x" * 1000) == [1]
    assert store.after(2, 0) == [(1, b"x" * 1000)]
    assert store.keep(1, 2, b"2") == [2]


def test_small_events_are_bounded_by_their_number() -> None:
    store = EventStore(lambda: 10**9)
    for number in range(MAX_EVENTS + 5):
        store.keep(1, number, b"")
    assert [number for number, _ in store.after(1, -1)] == list(range(5, MAX_EVENTS + 5))


def test_an_id_leads_back_to_its_event() -> None:
    assert read_event_id(event_id(12, 345)) == (12, 345)


@pytest.mark.parametrize("text", ["", "-", "1", "1-", "-1", "1-2-3", "a-b", "1-2 ", "１-２", "9" * 40 + "-1"])
def test_what_is_no_id_of_ours(text: str) -> None:
    assert read_event_id(text) is None
