"""docs/providers.md names the reasons and members that there are, with their defaults, and its examples are right."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from test_docs import ROOT, spans, the_table

from mcp_endpoint.providers.entries.entry import OpenApi, Tools, expanded, read_entry, server_of
from mcp_endpoint.providers.entries.servers_file import read_servers
from mcp_endpoint.providers.source import Why
from mcp_endpoint.settings.schema import describe

PAGE = ROOT / "docs" / "providers.md"
TEXT = PAGE.read_text("utf-8")
KINDS: dict[str, dict[str, Any]] = {
    "stdio": {"command": "x"},
    "http": {"type": "http", "url": "http://x/"},
    "sse": {"type": "sse", "url": "http://x/"},
    "ws": {"type": "ws", "url": "ws://x/"},
    "openapi": {"openapi": "x.json"},
    "python": {"python": "x.py"},
}
OF_A_KIND = {"command", "args", "cwd", "env", "url", "type", "headers", "openapi", "python", "proxy_env"}
"""What stands with the kinds, or decides which it is."""


class Asked(dict[str, Any]):
    """An entry that remembers which members were looked for."""

    def __init__(self, members: dict[str, Any]) -> None:
        super().__init__(members)
        self.members: set[str] = set()

    def get(self, member: str, default: Any = None) -> Any:
        self.members.add(member)
        return super().get(member, default)


def asked(kind: str) -> set[str]:
    entry = Asked(KINDS[kind])
    server_of("x", entry)
    return entry.members


def documented() -> dict[str, list[str]]:
    return {spans(name)[0]: row for name, row in the_table(PAGE, {"`agents`"}).items()}


def test_the_members_of_every_kind_are_those_that_are_read() -> None:
    shared = set.intersection(*(asked(kind) for kind in KINDS)) - OF_A_KIND - {"tools"}
    assert documented().keys() == shared | {f"tools.{field.name}" for field in fields(Tools)}


def test_the_members_of_an_http_api_are_those_that_are_read() -> None:
    named = {name for row in the_table(PAGE, {"`base_url`"}) for name in spans(row)}
    own = {field.name for field in fields(OpenApi)} - {"document"}
    assert named == own | {"headers", "env", "timeout", "allow_private"}
    assert own <= asked("openapi")


@pytest.mark.parametrize("kind", KINDS)
def test_a_default_of_the_table_is_what_a_missing_member_means(kind: str) -> None:
    said = {name: json.loads(found[0]) for name, row in documented().items() if (found := spans(row[-1]))}
    assert said.keys() >= {"agents", "share", "autostart", "disabled", "start_timeout"}
    assert read_entry("x", KINDS[kind] | said) == read_entry("x", KINDS[kind])


def test_variables_are_put_in_where_the_page_says() -> None:
    [line] = re.findall(r"^- \*\*Variables:\*\*.*?(?=^- )", TEXT, re.MULTILINE | re.DOTALL)
    plain, _, mappings = line.partition("empty: in ")[2].partition("in the values of")
    filled = dict.fromkeys(spans(plain), "${V}") | {name: {"a": "${V}"} for name in spans(mappings)}
    filled["args"] = ["${V}"]
    done = set()
    for kind, entry in KINDS.items():
        mine = {name: value for name, value in filled.items() if name in entry}
        mine |= {name: value for name, value in filled.items() if name not in {"command", "url", "openapi", "python"}}
        ready = repr_of(expanded(server_of("x", entry | {"type": kind} | mine), {"V": "put in"}))
        assert "${V}" not in ready
        done |= mine.keys()
    assert done == filled.keys() == {*spans(plain), *spans(mappings)}
    left = read_entry("x", {"command": "x", "alias": "${V}", "agents": "${V}", "tools": {"allow": "${V}"}})
    assert expanded(left, {"V": "put in"}) == left


def repr_of(server: Any) -> str:
    """All there is in a server, what its own repr hides included."""
    parts = [vars(server), vars(server.openapi) if server.openapi is not None else {}]
    return str([str(value) for part in parts for value in part.values()])


def test_the_keys_of_jobs_have_their_defaults() -> None:
    rows = the_table(PAGE, {"`answer_within`"})
    known = {f"`{key}`": f"`{default}`" for section, key, default, _ in describe() if section == "jobs"}
    assert {key: row[-1] for key, row in rows.items()} == known


def test_each_reason_is_in_the_table_and_no_other() -> None:
    table = TEXT.partition("## Why one is not there")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", table, re.MULTILINE)
    named = [reason for row in rows for reason in re.findall(r"`([a-z_]+)`", row)]
    assert sorted(named) == sorted(why.reason for why in Why)


def test_each_example_can_be_copied(tmp_path: Path) -> None:
    examples = re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(examples) >= 5
    for example in examples:
        (tmp_path / "mcp_servers.json").write_text(example, "utf-8")
        assert read_servers(tmp_path / "mcp_servers.json")
