"""Ids of HTTP sessions: whose they are, and of which run."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.doors.http.streamable.session_ids import SessionIds

NOW, EARLIER, STRANGER = SessionIds("key"), SessionIds("key"), SessionIds("another key")


def test_an_id_is_known_to_every_other_run_with_its_key_for_its_agent_alone() -> None:
    id_ = EARLIER.new("a")
    assert NOW.is_of_another_run(id_, "a")
    assert not EARLIER.is_of_another_run(id_, "a"), "of its own it knows which there are"
    assert not NOW.is_of_another_run(id_, "b")
    assert not STRANGER.is_of_another_run(id_, "a")
    assert not NOW.is_of_another_run(STRANGER.new("a"), "a")
    assert len({EARLIER.new("a") for _ in range(1000)}) == 1000
    assert id_.isascii()
    assert "=" not in id_


@given(st.integers(0, 59), st.integers(1, 63))
def test_no_other_id_is(at: int, by: int) -> None:
    id_ = EARLIER.new("a")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[(alphabet.index(id_[at]) + by) % 64]
    assert not NOW.is_of_another_run(id_[:at] + other + id_[at + 1 :], "a")


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_no_text_is_or_raises(text: str) -> None:
    assert not NOW.is_of_another_run(text, "a")


@pytest.mark.parametrize("spoil", [lambda id_: id_ + "=", lambda id_: id_[:-1], lambda id_: "\n" + id_, str.swapcase])
def test_an_id_has_one_spelling(spoil) -> None:
    assert not NOW.is_of_another_run(spoil(EARLIER.new("a")), "a")
