"""Of which resources an update of one is news, and that this does not depend on how many are subscribed to."""

import pytest

from mcp_endpoint.broker.tool_side.subscriptions import MOST_LEVELS, wholes_of


@pytest.mark.parametrize(
    ("subscribed", "is_news"),
    [
        ("notes://a/b", True),
        ("notes://a", True),
        ("notes://a/", True),
        ("notes://", True),
        ("notes://a/b/", False),
        ("notes://a/bc", False),
        ("notes://a/b/c", False),
        ("other://a/b", False),
        ("", False),
    ],
)
def test_an_update_is_news_of_the_resource_and_of_what_it_is_part_of(subscribed: str, is_news: bool) -> None:
    assert (subscribed in set(wholes_of("notes://a/b"))) is is_news


def test_a_uri_without_slashes_is_its_own_whole() -> None:
    assert list(wholes_of("urn:x")) == ["urn:x"]
    assert list(wholes_of("")) == [""]


def test_a_uri_of_slashes_is_looked_at_so_far() -> None:
    found = list(wholes_of("/" * 1_000_000))
    assert len(found) == 2 * MOST_LEVELS + 1
    assert found[-1] == "/" * 1_000_000
