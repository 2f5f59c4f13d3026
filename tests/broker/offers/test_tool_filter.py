"""Which tools an agent shows and how they are called there: allow, deny, rename and describe."""

import fnmatch
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.broker.offers.offer import Offer
from mcp_endpoint.broker.offers.tool_filter import Pattern, ToolFilter
from mcp_endpoint.settings.schema import AgentSettings

RAW = b'{"name":"lamp_on","description":"old","inputSchema":{"type":"object","maximum":1.0e2},"x-own":[1, 2]}'
LAMP = Offer("lamp_on", RAW)


def tool_filter(**settings: object) -> ToolFilter:
    return ToolFilter(AgentSettings.model_validate(settings))


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, True),
        ({"allow": ""}, True),
        ({"allow": "lamp_on"}, True),
        ({"allow": "lamp_*"}, True),
        ({"allow": "*_on"}, True),
        ({"allow": "*"}, True),
        ({"allow": "hall__lamp_on"}, True),
        ({"allow": "hall__*"}, True),
        ({"allow": "x, y, lamp_on"}, True),
        ({"allow": "lamp"}, False),
        ({"allow": "LAMP_ON"}, False),
        ({"allow": "lamp.*"}, False),
        ({"allow": "kitchen__*"}, False),
        ({"deny": "lamp_on"}, False),
        ({"deny": "hall__*"}, False),
        ({"deny": "*"}, False),
        ({"deny": "lamp_off"}, True),
        ({"allow": "lamp_*", "deny": "lamp_on"}, False),
        ({"allow": "lamp_on", "deny": "*"}, False),
        ({"allow": "lamp_*", "deny": "*_off"}, True),
        ({"rename": "lamp_on: light", "allow": "light"}, False),
        ({"rename": "lamp_on: light", "deny": "light"}, True),
    ],
)
def test_deny_wins_and_an_empty_allow_is_all(settings: dict[str, object], shown: bool) -> None:
    assert (tool_filter(**settings).publish("hall", LAMP) is not None) is shown


def test_what_nothing_changes_is_the_same_object() -> None:
    for settings in ({}, {"allow": "*"}, {"rename": "other: x"}, {"rename": "lamp_on: lamp_on"}, {"describe": "o: x"}):
        published = tool_filter(**settings).publish("hall", LAMP)
        assert published is not None
        assert published[0] == "lamp_on"
        assert published[1] is RAW


def test_a_new_name_and_description_leave_all_other_bytes() -> None:
    published = tool_filter(rename="lamp_on: 开灯", describe='lamp_on: 打开 "客厅" 的灯').publish("hall", LAMP)
    assert published is not None
    name, definition = published
    assert name == "开灯"
    assert json.loads(definition) == json.loads(RAW) | {"name": "开灯", "description": '打开 "客厅" 的灯'}
    assert b'"inputSchema":{"type":"object","maximum":1.0e2},"x-own":[1, 2]' in definition


def test_a_description_may_be_new_without_a_new_name_and_where_there_was_none() -> None:
    published = tool_filter(describe="t: says: hello").publish("hall", Offer("t", b'{"name":"t"}'))
    assert published is not None
    assert (published[0], json.loads(published[1])) == ("t", {"name": "t", "description": "says: hello"})


def test_the_name_with_the_alias_means_that_program_only_and_wins() -> None:
    chosen = tool_filter(
        rename="lamp_on: light; hall__lamp_on: hall light", describe="kitchen__lamp_on: near the stove"
    )
    published = [chosen.publish(alias, LAMP) for alias in ("hall", "kitchen")]
    assert [one and one[0] for one in published] == ["hall light", "light"]
    assert [one and json.loads(one[1])["description"] for one in published] == ["old", "near the stove"]


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_fits_what_a_shell_pattern_fits(pattern: str, name: str) -> None:
    assert Pattern(pattern).fits(name) is fnmatch.fnmatchcase(name, pattern)


@pytest.mark.timeout(60)  # or for ever
def test_a_long_name_cannot_make_a_pattern_slow() -> None:
    assert not Pattern("*a" * 30 + "*b*").fits("a" * 100_000)
