"""What docs/protocol.md has in tables is what the code does: tokens, close codes, routes of methods."""

import re

from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.tokens import Tokens
from mcp_endpoint.wire.mcp import ROUTES
from support.paths import ROOT

PAGE = (ROOT / "docs/protocol.md").read_text("utf-8")
SPAN = re.compile(r"`([^`]+)`")


def rows(section: str) -> list[list[str]]:
    """The rows of a section's table, without its head."""
    text = PAGE.partition(f"\n**{section} ")[2].partition("\n**")[0].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_vector_is_a_token_under_its_key() -> None:
    keys = [row[0].strip("`") for row in rows("2.4")]
    for at, (_, text, token) in enumerate(rows("2.4")):
        key = keys[at] if keys[at] != "the same" else keys[at - 1]
        assert Tokens(key).read(SPAN.findall(token)[0]) in SPAN.findall(text)[0]


def test_every_close_code_is_told_and_no_other() -> None:
    told = [int(code) for row in rows("5.1") for code in row[0].split(", ")]
    assert sorted(told) == sorted({end.code for end in End})
    assert 4004 not in told


def test_every_method_with_a_route_is_told_and_no_other() -> None:
    told = [method for row in rows("9.4") for method in SPAN.findall(row[0])]
    assert sorted(told) == sorted(ROUTES)
