"""The pages on tool servers name the reasons and members that there are, with their defaults; examples are right."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mcp_endpoint.clients.servers.overview import print_server
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.providers.entries.entry import OpenApi, Tools, expanded, read_entry, server_of
from mcp_endpoint.providers.entries.servers_file import read_servers
from mcp_endpoint.providers.provider import State
from mcp_endpoint.providers.source import StopReason
from mcp_endpoint.settings.schema import Language, describe
from support.documents import LANGUAGES, blocks, of_docs, page_text, spans, the_table

PROVIDERS, OPENAPI, JOBS = map(of_docs, ("providers", "openapi", "jobs"))
WITH_ENTRIES = ("providers", "remote-servers", "openapi", "python-tools", "docker")
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
WORDS: Mapping[Language, tuple[str, str]] = {
    "en": ("it is not set or empty: in", "in the values of"),
    "zh": ("可用于：", "其中各项的值："),
}
"""Behind which words the page tells where variables are put in: as a whole, and in values."""

in_both = pytest.mark.parametrize("language", LANGUAGES)


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


def documented(language: Language) -> dict[str, list[str]]:
    return {spans(name)[0]: row for name, row in the_table(PROVIDERS[language], {"`agents`"}).items()}


@in_both
def test_the_members_of_every_kind_are_those_that_are_read(language: Language) -> None:
    shared = set.intersection(*(asked(kind) for kind in KINDS)) - OF_A_KIND - {"tools"}
    assert documented(language).keys() == shared | {f"tools.{field.name}" for field in fields(Tools)}


@in_both
def test_the_members_of_an_http_api_are_those_that_are_read(language: Language) -> None:
    named = {name for row in the_table(OPENAPI[language], {"`base_url`"}) for name in spans(row)}
    own = {field.name for field in fields(OpenApi)} - {"document"}
    assert named == own | {"headers", "env", "timeout", "allow_private"}
    assert own <= asked("openapi")


@in_both
@pytest.mark.parametrize("kind", KINDS)
def test_a_default_of_the_table_is_what_a_missing_member_means(kind: str, language: Language) -> None:
    said = {name: json.loads(found[0]) for name, row in documented(language).items() if (found := spans(row[-1]))}
    assert said.keys() >= {"agents", "share", "autostart", "disabled", "start_timeout"}
    assert read_entry("x", KINDS[kind] | said) == read_entry("x", KINDS[kind])


@in_both
def test_variables_are_put_in_where_the_page_says(language: Language) -> None:
    lines = re.findall(r"^- .*?(?=^- |\n\n)", page_text(PROVIDERS[language]), re.MULTILINE | re.DOTALL)
    [line] = [line for line in lines if "`${VAR:-text}`" in line]
    behind, of_values = WORDS[language]
    plain, _, mappings = line.replace("\n  ", " ").partition(behind)[2].partition(of_values)
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


@in_both
def test_the_keys_of_jobs_have_their_defaults(language: Language) -> None:
    rows = the_table(JOBS[language], {"`answer_within`"})
    known = {f"`{key}`": f"`{default}`" for section, key, default, _ in describe() if section == "jobs"}
    assert {key: row[-1] for key, row in rows.items()} == known


@in_both
def test_each_reason_is_in_the_table_and_no_other(language: Language) -> None:
    named = [reason for row in the_table(PROVIDERS[language], {"`no_command`"}) for reason in spans(row)]
    assert sorted(named) == sorted(why.reason for why in StopReason)


def shown_state(language: Language, entry: dict[str, Any], report: Mapping[str, Any]) -> str:
    """What `servers` prints as the state of a server, without the hint in brackets behind it."""
    out = io.StringIO()
    print_server(server_of("x", entry), report, Terminal(language, out, out))
    return re.split("（| \\(", out.getvalue().splitlines()[0].split("  ")[2])[0]


@in_both
def test_each_state_of_a_server_is_in_the_table_as_it_is_shown_and_no_other(language: Language) -> None:
    reported = [state for state in State if state is not State.STOPPED]  # what ended for good is reported no more
    shown = {str(state): shown_state(language, KINDS["stdio"], {"state": str(state)}) for state in reported}
    shown["disabled"] = shown_state(language, {"command": "x", "disabled": True}, {})
    shown["-"] = shown_state(language, KINDS["stdio"], {})
    named = {f"`{name}`" if says == name else f"{says}（`{name}`）" for name, says in shown.items()}
    rows = the_table(PROVIDERS[language], {f"`{shown['-']}`"})
    assert rows.keys() == named
    assert all(meaning and remedy for meaning, remedy in rows.values())


@in_both
@pytest.mark.parametrize("name", WITH_ENTRIES)
def test_each_example_can_be_copied(name: str, language: Language, tmp_path: Path) -> None:
    examples = blocks(page_text(of_docs(name)[language]), "json")
    assert examples
    for example in examples:
        (tmp_path / "mcp_servers.json").write_text(example, "utf-8")
        assert read_servers(tmp_path / "mcp_servers.json")
