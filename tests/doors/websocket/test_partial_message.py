"""A message that comes in pieces: put together within limits, and counted for its agent while it is under way."""

import pytest
from websockets.frames import Frame, Opcode

from mcp_endpoint.doors.limits.fairness import Share
from mcp_endpoint.doors.websocket.partial_message import MAX_FRAGMENTS, PartialMessage, TooManyFragments


def piece(data: bytes, *, fin: bool = False) -> Frame:
    return Frame(Opcode.CONT, data, fin)


def test_fragments_are_put_together_and_counted_until_the_last() -> None:
    share = Share()
    message = PartialMessage(share)
    message.begin(Frame(Opcode.TEXT, b"one ", False))
    assert message.count(0)
    assert share.unfinished == 4
    assert message.add(piece(b"two ")) is None
    assert message.count(3), "and three bytes of a frame that is not whole"
    assert share.unfinished == 8 + 3
    assert message.add(piece(b"three", fin=True)) == b"one two three"
    assert not message.count(0)
    assert share.unfinished == 0
    assert message.add(piece(b"of none", fin=True)) is None


def test_an_empty_first_fragment_is_a_message_under_way() -> None:
    message = PartialMessage(Share())
    message.begin(Frame(Opcode.TEXT, b"", False))
    assert message.count(0)


def test_what_is_given_up_counts_no_more_and_other_links_go_on_counting() -> None:
    share = Share()
    one, other = PartialMessage(share), PartialMessage(share)
    one.count(5)
    other.count(7)
    one.forget()
    assert share.unfinished == 7


def test_a_message_has_a_limit_of_pieces() -> None:
    message = PartialMessage(Share())
    message.begin(Frame(Opcode.TEXT, b"", False))
    for _ in range(MAX_FRAGMENTS - 1):
        assert message.add(piece(b"x")) is None
    with pytest.raises(TooManyFragments):
        message.add(piece(b"x", fin=True))
    assert not message.count(0)
