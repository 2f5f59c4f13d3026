"""Entries of the servers file as people and programs write them: what is meant, what is refused, and in which words."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.logs.redaction import Redactor, redact
from mcp_endpoint.providers.entries.entry import Kind, Server, expanded, read_entry, server_of
from mcp_endpoint.providers.entries.json_file import read_json, without_comments
from mcp_endpoint.providers.entries.members import BadEntry
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers
from mcp_endpoint.providers.transports.child_environ import (
    PASSED_ON,
    child_environment,
    secrets_of_environment,
    whole_environment,
)
from mcp_endpoint.providers.transports.child_process import CommandNotFound, resolve

PROGRAM = {"command": "x"}
NPX = {"command": "npx", "args": ["-y", "pkg"], "env": {"A": "b"}}
WEB: dict[str, Any] = {"type": "http", "url": "https://h/mcp"}

SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"serverUrl": "https://h/mcp"}, WEB),
    ({"httpUrl": "https://h/mcp"}, WEB),
    ({"url": "https://h/mcp", "httpUrl": "https://h/mcp"}, WEB),
    ({"baseUrl": "https://h/mcp", "type": "streamableHttp", "isActive": True, "name": "x", "command": ""}, WEB),
    ({"URL": " https://h/mcp\n"}, WEB),
    ({"url": "https://h/mcp", "transport": "Streamable-HTTP"}, WEB),
    ({"url": "https://h/mcp", "transportType": "http", "headers": None, "env": None}, WEB),
    ({"url": "https://h/mcp", "type": "remote", "enabled": True}, WEB),
    ({"url": "https://h/sse", "type": "http+sse"}, {"type": "sse", "url": "https://h/sse"}),
    (
        {"url": "https://h/mcp", "headers": {"X-Id": 5, "X-On": True, "X-No": None}},
        WEB | {"headers": {"X-Id": "5", "X-On": "true"}},
    ),
    ({"url": "https://h/mcp", "headers": ["X-Id: 5"]}, WEB | {"headers": {"X-Id": "5"}}),
    ({"command": ["npx", "-y", "pkg"], "environment": {"A": "b"}, "type": "local"}, NPX),
    ({"command": {"path": "npx", "args": ["-y", "pkg"], "env": {"A": "b"}}, "source": "custom"}, NPX),
    ({"cmd": "npx", "args": ["-y", "pkg"], "envs": {"A": "b"}, "type": "stdio", "autoApprove": ["z"]}, NPX),
    ({"command": "npx", "args": ["-y", "pkg"], "env": ["A=b"], "alwaysAllow": [], "url": None}, NPX),
    (
        PROGRAM | {"env": {"P": 8080, "F": 0.5, "ON": True, "OFF": False, "NO": None}},
        PROGRAM | {"env": {"P": "8080", "F": "0.5", "ON": "true", "OFF": "false"}},
    ),
    (PROGRAM | {"args": [1, True, "a"]}, PROGRAM | {"args": ["1", "true", "a"]}),
    (PROGRAM | {"args": "-y"}, PROGRAM | {"args": ["-y"]}),
    (PROGRAM | {"args": ""}, PROGRAM),
    (PROGRAM | {"args": None, "cwd": None, "agents": None, "tools": None, "timeout": None, "alias": None}, PROGRAM),
    (PROGRAM | {"openapi": None, "python": None, "share": None, "type": None, "proxy_env": None}, PROGRAM),
    (PROGRAM | {"cwd": "", "url": ""}, PROGRAM),
    (
        PROGRAM | {"disabled": "false", "autostart": "yes", "proxy_env": 0},
        PROGRAM | {"autostart": True, "proxy_env": False},
    ),
    (PROGRAM | {"timeout": "30"}, PROGRAM | {"timeout": 30}),
    (PROGRAM | {"timeout": "30s", "startTimeout": "2 min"}, PROGRAM | {"timeout": 30, "start_timeout": 120}),
    (PROGRAM | {"timeout": "500ms"}, PROGRAM | {"timeout": 0.5}),
    (PROGRAM | {"disabledTools": ["a"], "includeTools": ["b"]}, PROGRAM | {"tools": {"allow": ["b"], "deny": ["a"]}}),
    (PROGRAM | {"enabledTools": []}, PROGRAM),
    (PROGRAM | {"tools": ["*"], "excludeTools": ["a"]}, PROGRAM | {"tools": {"allow": ["*"], "deny": ["a"]}}),
    (PROGRAM | {"tools": {"allow": None, "rename": None}}, PROGRAM),
    (
        PROGRAM | {"agents": 12, "alias": 5, "share": "Agent"},
        PROGRAM | {"agents": ["12"], "alias": "5", "share": "agent"},
    ),
    ({"openapi": "x.json", "baseUrl": "http://h"}, {"openapi": "x.json", "base_url": "http://h"}),
]


@pytest.mark.parametrize(("said", "meant"), SAME, ids=lambda entry: json.dumps(entry)[:60])
def test_what_other_programs_write_is_read_as_it_is_meant(said: dict[str, Any], meant: dict[str, Any]) -> None:
    assert read_entry("x", said) == server_of("x", meant)


@pytest.mark.parametrize("entry", [meant for _, meant in SAME], ids=lambda entry: json.dumps(entry)[:60])
def test_what_is_right_already_is_not_changed(entry: dict[str, Any]) -> None:
    assert read_entry("x", entry) == server_of("x", entry)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"command": 5, "disabled": True}, Kind.STDIO),
        ({"args": "${input:x}", "disabled": "TRUE"}, Kind.STDIO),
        ({"url": "?", "enabled": False}, Kind.HTTP),
        ({"isActive": "no", "command": [], "type": "builtin"}, Kind.STDIO),
    ],
)
def test_one_that_rests_need_not_be_right(entry: dict[str, Any], kind: Kind) -> None:
    assert read_entry("x", entry) == Server("x", kind, disabled=True)


@pytest.mark.parametrize(
    ("entry", "member", "words"),
    [
        ({}, "command", "must be the program to start"),
        ({"command": " "}, "command", "must be the program"),
        ({"command": 5}, "command", "must be the program"),
        ({"command": []}, "command", "must be the program"),
        ({"command": {"args": ["x"]}}, "command", "must be the program"),
        ({"command": "C:\new"}, "command", "a backslash is written"),
        ({"command": "x", "cwd": "D:\temp"}, "cwd", "a backslash is written"),
        ({"command": "x", "url": "https://h"}, "", "has command, url: keep one of them, or say with type"),
        ({"command": "x", "python": "y.py"}, "", "has command, python"),
        ({"command": "x", "type": "sse"}, "type", "there is no url, but command"),
        ({"url": "https://h", "type": "stdio"}, "type", "there is no command, but url"),
        ({"url": "https://h", "type": "carrier pigeon"}, "type", "must be stdio, http, sse or ws"),
        ({"url": "https://h", "type": 1}, "type", "must be stdio, http, sse or ws"),
        ({"url": "https://a", "httpUrl": "https://b"}, "httpUrl", "says the same as another member, differently"),
        ({"url": "h/mcp"}, "url", "must be a URL such as http://host/path"),
        ({"url": "http://[h"}, "url", "must be a URL"),
        ({"url": ["http://h"]}, "url", "must be a URL"),
        (PROGRAM | {"args": "-y pkg"}, "args", "must be a list of strings"),
        (PROGRAM | {"args": ["a", None]}, "args", "must be a list of strings"),
        (PROGRAM | {"args": [["a"]]}, "args", "must be a list of strings"),
        (PROGRAM | {"args": {"0": "a"}}, "args", "must be a list of strings"),
        (PROGRAM | {"args": ["\0"]}, "args", "NUL"),
        (PROGRAM | {"env": {"A": ["b"]}}, "env.A", "must be a string"),
        (PROGRAM | {"env": {"A": {}}}, "env.A", "must be a string"),
        (PROGRAM | {"env": "A=b"}, "env", "must be an object"),
        (PROGRAM | {"env": ["A"]}, "env", "must be an object"),
        (PROGRAM | {"env": {"A=B": ""}}, "env", "= in the name of a variable"),
        (WEB | {"headers": {"X": [1]}}, "headers.X", "must be a string"),
        (WEB | {"headers": "X: 1"}, "headers", "must be an object"),
        (PROGRAM | {"timeout": 0}, "timeout", "must be seconds"),
        (PROGRAM | {"timeout": True}, "timeout", "must be seconds"),
        (PROGRAM | {"timeout": "soon"}, "timeout", "must be seconds"),
        (PROGRAM | {"timeout": 1e300}, "timeout", "must be seconds"),
        (PROGRAM | {"timeout": float("nan")}, "timeout", "must be seconds"),
        (PROGRAM | {"start_timeout": [1]}, "start_timeout", "must be seconds"),
        (PROGRAM | {"disabled": "perhaps"}, "disabled", "must be true or false"),
        (PROGRAM | {"disabled": 2}, "disabled", "must be true or false"),
        (PROGRAM | {"autostart": []}, "autostart", "must be true or false"),
        (PROGRAM | {"proxy_env": "x"}, "proxy_env", "must be true or false"),
        (PROGRAM | {"agents": {"a": 1}}, "agents", "must be a list of strings"),
        (PROGRAM | {"agents": [""]}, "agents", "must be a list of strings"),
        (PROGRAM | {"alias": ["a"]}, "alias", "must be a string"),
        (PROGRAM | {"cwd": 1}, "cwd", "must be a folder"),
        (PROGRAM | {"share": "some"}, "share", 'must be "all" or "agent"'),
        (PROGRAM | {"tools": "lamp"}, "tools", "must be an object"),
        (PROGRAM | {"tools": {"hide": ["a"]}}, "tools.hide", "is unknown"),
        (PROGRAM | {"tools": {"allow": [1]}}, "allow", "must be a list of strings"),
        (PROGRAM | {"tools": {"rename": {"a": 1}}}, "rename.a", "must be a string"),
        (PROGRAM | {"alias": "\ud83d"}, "alias", "has half of a character"),
        (PROGRAM | {"more": {"\ud83d": 1}}, "more", "has half of a character"),
        (PROGRAM | {"args": ["${input:key}"]}, "args", "${input:key} is not filled in here"),
        (PROGRAM | {"env": {"K": "${input:key}"}}, "env.K", "${input:key} is not filled in here"),
        (WEB | {"headers": {"K": "Bearer ${secrets.K}"}}, "headers.K", "${secrets.K} is not filled in here"),
        (WEB | {"headers": {"K": "${{ secrets.K }}"}}, "headers.K", "is not filled in here"),
        (WEB | {"headers": {"K": "{file:~/.key}"}}, "headers.K", "is not filled in here"),
        (PROGRAM | {"cwd": "${command:pick}"}, "cwd", "${command:pick} is not"),
        (PROGRAM | {"args": ["${VAR:-${OTHER}}"]}, "args", "is not filled in here"),
        (PROGRAM | {"args": ["${VAR"]}, "args", "is not filled in here"),
        (PROGRAM | {"args": ["${}"]}, "args", "${} is not filled in here"),
        ("npx -y pkg", "", 'must be an object such as {"command"'),
        ([], "", "must be an object"),
        (None, "", "must be an object"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_member(entry: object, member: str, words: str) -> None:
    with pytest.raises(BadEntry) as refused:
        read_entry("x", entry)
    assert refused.value.member.split(".")[-1] == member.split(".")[-1]
    assert words in refused.value.en
    assert any("一" <= character <= "鿿" for character in refused.value.zh)


def test_a_word_for_a_variable_that_is_none_shows_no_secret() -> None:
    with pytest.raises(BadEntry) as refused:
        read_entry("x", PROGRAM | {"args": ["--key=${KEY sesame-open-it"]})
    assert "${KEY" in refused.value.en
    assert "sesame" not in refused.value.en + refused.value.zh


def test_milliseconds_and_words_that_are_sent_as_they_stand_are_remarked_on() -> None:
    server = read_entry("x", WEB | {"timeout": 600000, "start_timeout": 10_000, "headers": {"A": "Bearer $KEY"}})
    assert (server.timeout, server.start_timeout) == (600, 10)
    assert [remark.member for remark in server.remarks] == ["timeout", "start_timeout", "headers.A"]
    assert "600000 is taken as milliseconds: 600 s" in server.remarks[0].en
    assert "${KEY}" in server.remarks[2].en
    assert read_entry("x", WEB | {"timeout": 9_999}).timeout == 9_999
    assert read_entry("x", PROGRAM | {"env": {"A": "%TOKEN%", "PASSWORD": "a$b"}}).remarks[0].member == "env.A"
    assert read_entry("x", PROGRAM | {"envFile": ".env"}).remarks[0].member == "envFile"


VALUES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
NAMES = ("command", "args", "env", "url", "headers", "type", "timeout", "tools", "agents", "allow", "path")
ENTRIES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


@given(ENTRIES)
def test_whatever_an_entry_is_it_is_a_server_or_a_bad_entry(entry: object) -> None:
    try:
        server = read_entry("x", entry)
    except BadEntry:
        pass
    else:
        assert server.disabled or server.command or server.url


# --- the file ---


def listed(tmp_path: Path, text: str | bytes) -> dict[str, Server]:
    path = tmp_path / "mcp_servers.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {server.name: server for server in read_servers(path)}


def test_one_bad_entry_says_so_and_the_others_are_there(tmp_path: Path) -> None:
    servers: dict[str, object] = {f"good {number}": PROGRAM for number in range(9)}
    bad = {
        "a": 5,
        "b": {"command": 5, "agents": ["kitchen"]},
        "": PROGRAM,
        "n" * 65: PROGRAM,
        "c": {"agents": 1.5},
    }
    found = listed(tmp_path, json.dumps({"mcpServers": servers | bad}))
    assert [name for name, server in found.items() if server.fault is None] == list(servers)
    assert found["b"].agents == ("kitchen",)
    assert found["b"].fault is not None
    assert found["b"].fault.told()["en"].startswith("command: must be the program")
    assert "n" * 64 in found


def test_what_stands_twice_is_told_of_that_server_alone(tmp_path: Path) -> None:
    twice = '"a": {"command": "x"}, "a": {"command": "y"}, "b": {"command": "x"}'
    text = f'{{"mcpServers": {{{twice}, "c": {{"env": {{"K": "1", "K": "2"}}, "command": "x"}}}}}}'
    found = listed(tmp_path, text)
    assert {name: server.fault and server.fault.told()["en"] for name, server in found.items()} == {
        "a": "stands there twice; rename or remove one",
        "b": None,
        "c": "env.K: stands there twice; remove one",
    }


@pytest.mark.parametrize(
    "text",
    [
        '{\n  // mine\n  "mcpServers": {"a": {"command": "x", "args": ["//", "/* */", ",]"],},}, /* all */\n}',
        b"\xef\xbb\xbf" + b'{"mcpServers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}',
        '{"mcpServers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}'.encode("utf-16"),
        b"\xfe\xff" + '{"mcpServers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}'.encode("utf-16-be"),
        '{"servers": {"a": {"type": "stdio", "command": "x", "args": ["//", "/* */", ",]"]}}, "inputs": []}',
        '{"mcp": {"servers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}, "editor.fontSize": 1}',
        '{"mcp": {"a": {"type": "local", "command": ["x", "//", "/* */", ",]"]}}, "$schema": "s"}',
        '{"context_servers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}',
        '{"mcpServers": [{"name": "a", "command": "x", "args": ["//", "/* */", ",]"]}]}',
        '{"a": {"command": "x", "args": ["//", "/* */", ",]"]}}',
        '[{"name": "a", "command": "x", "args": ["//", "/* */", ",]"]}]',
        '{"MCPServers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}',
        '{"mcp_servers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}',
        '{\u00a0"mcpServers":\u00a0{"a":\u3000{"command": "x", "args": ["//", "/* */", ",]"]}}}',
        '{"mcpServers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}'.encode("utf-16-le"),
        '{"mcpServers": {"a": {"command": "x", "args": ["//", "/* */", ",]"]}}}'.encode("utf-16-be"),
        '{"mcpServers": {"// b": "later", "a": {"command": "x", "args": ["//", "/* */", ",]"]}}}',
    ],
)
def test_files_as_editors_and_other_programs_write_them(tmp_path: Path, text: str | bytes) -> None:
    assert listed(tmp_path, text) == {"a": Server("a", command=("x", "//", "/* */", ",]"))}


def test_an_entry_of_a_list_without_a_name_takes_no_other_with_it(tmp_path: Path) -> None:
    entry = '{"name": "a", "command": "x"}'
    for text in (f'[{{"command": "y"}}, 5, {entry}]', f'{{"mcpServers": [{entry}, 5]}}'):
        found = listed(tmp_path, text)
        assert found["a"] == Server("a", command=("x",))
        assert found[""].fault is not None
        assert "name" in found[""].fault.told()["en"]


def test_a_server_may_be_called_what_lists_are_called(tmp_path: Path) -> None:
    assert listed(tmp_path, '{"mcp": {"command": "x"}}') == {"mcp": Server("mcp", command=("x",))}


def test_a_number_of_thousands_of_digits_is_the_fault_of_its_entry(tmp_path: Path) -> None:
    text = f'{{"mcpServers": {{"a": {{"command": "x", "timeout": {"9" * 5000}}}, "b": {{"command": "x"}}}}}}'
    found = listed(tmp_path, text)
    assert found["b"].fault is None
    assert found["a"].fault is not None


@pytest.mark.parametrize(
    ("text", "en", "zh"),
    [
        (" \n", "is empty", "空文件"),
        ('{"mcpServers"：{}}', "signs of JSON are ASCII", "英文半角"),
        ("{“mcpServers”: {}}", "straight double quotes", "英文双引号"),
    ],
)
def test_a_file_that_is_no_json_says_what_is_wrong(tmp_path: Path, text: str, en: str, zh: str) -> None:
    with pytest.raises(UnusableFile) as raised:
        listed(tmp_path, text)
    assert en in raised.value.told.en
    assert zh in raised.value.told.zh


def test_what_is_said_of_an_authorization_survives_the_log() -> None:
    with pytest.raises(BadEntry) as raised:
        read_entry("a", WEB | {"headers": {"Authorization": "Bearer ${input:key}"}})
    told = raised.value.remark.told()
    for sentence in (told["en"], told["zh"], f"it is not right ({told['en']})"):
        assert redact(sentence) == sentence
        assert "headers.Authorization" in sentence
        assert "${input:key}" in sentence
    assert redact("headers.Authorization: Bearer abc") == "headers.Authorization: Bearer ***"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='/*",\\]}{[:x\n ', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='/*",\\', max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(JSON)
def test_taking_comments_out_changes_nothing_of_json_without_any(value: object) -> None:
    for indent in (None, 1):
        text = json.dumps(value, indent=indent)
        assert without_comments(text) == text


@given(JSON, st.sampled_from(["//,]}\n", '/* ,"]} */', "/**/"]))
def test_comments_and_trailing_commas_are_taken_out_wherever_they_may_stand(value: object, comment: str) -> None:
    plain = json.dumps({"a": [value, 1]}, indent=1)
    text = plain.replace("\n", f"\n{comment}").replace(" 1\n", f" 1 , {comment}\n")
    taken = without_comments(text)
    assert len(taken) == len(text)
    assert json.loads(taken) == {"a": [value, 1]}


@given(st.text(alphabet='/*",\\]}{[:x\n ', max_size=40))
def test_whatever_the_text_is_its_length_stays(text: str) -> None:
    assert len(without_comments(text)) == len(text)


def test_a_plain_file_is_known_as_one(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text, plain in (('{"a": "//"}', True), ("{} // x", False), ("[1,]", False)):
        path.write_text(text, "utf-8")
        assert read_json(path).plain is plain


# --- variables, and what programs get ---


def test_a_variable_in_the_way_of_editors_is_one() -> None:
    server = read_entry("x", WEB | {"headers": {"Authorization": "Bearer ${env:TOKEN}", "B": "{env:TOKEN}"}})
    assert expanded(server, {"TOKEN": "t"}).headers == {"Authorization": "Bearer t", "B": "t"}
    with pytest.raises(KeyError, match="TOKEN"):
        expanded(server, {})
    literal = read_entry("x", PROGRAM | {"args": ["-c", "echo $${TOKEN} $HOME"]})
    assert expanded(literal, {"TOKEN": "t"}).command == ("x", "-c", "echo ${TOKEN} $HOME")


PROXIES = {
    "HTTPS_PROXY": "http://ann:hunter2-secret@proxy.example:8080",
    "http_proxy": "ann:hunter2-secret@proxy.example:8080",
    "NO_PROXY": "localhost,10.0.0.0/8",
    "no_proxy": "localhost",
    "NPM_CONFIG_REGISTRY": "https://mirror.example/npm-5ecret-path/",
    "npm_config_registry": "https://mirror.example/npm-5ecret-path/",
    "UV_DEFAULT_INDEX": "https://tok%40en:pass%2Fword@pypi.example/simple",
    "PIP_INDEX_URL": "https://pypi.example/simple",
    "PIP_EXTRA_INDEX_URL": "https://a:second-one@one.example/ https://b:third-one@two.example/",
    "SSL_CERT_FILE": "/etc/ssl/own.pem",
    "NODE_EXTRA_CA_CERTS": "/etc/ssl/own.pem",
}


def test_what_leads_to_the_network_is_passed_on_unless_it_is_kept_back() -> None:
    mine = PROXIES | {"PATH": "/bin", "AWS_SECRET": "s", "MCP_ENDPOINT": "m", "PYTHONUTF8": "0"}
    given = child_environment({"E": "1"}, mine)
    python = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "0"}
    assert given == PROXIES | {"PATH": "/bin", "E": "1"} | python
    assert child_environment({"NO_PROXY": "x"}, mine, proxy_env=False) == {"PATH": "/bin", "NO_PROXY": "x"} | python
    assert child_environment({"HTTPS_PROXY": "x", "PYTHONUTF8": "1"}, mine)["HTTPS_PROXY"] == "x"
    assert whole_environment({}, mine) == mine | python
    assert whole_environment({}, mine, proxy_env=False).keys() == (mine.keys() - PROXIES.keys()) | python.keys()


@pytest.mark.parametrize("get", [child_environment, whole_environment])
def test_what_an_entry_says_in_other_letters_takes_the_place_of_what_the_broker_has(get: Any) -> None:
    mine = {"PATH": "/p", "https_proxy": "http://mine:1", "no_proxy": "a", "npm_config_registry": "https://mine"}
    got = get({"HTTPS_PROXY": "", "NO_PROXY": "b", "NPM_CONFIG_REGISTRY": "https://own"}, mine)
    assert {name: value for name, value in got.items() if name.upper() in PASSED_ON} == {
        "HTTPS_PROXY": "",
        "NO_PROXY": "b",
        "NPM_CONFIG_REGISTRY": "https://own",
    }
    assert "https_proxy" in get({"no_proxy": ""}, mine) or sys.platform == "win32"


def test_addresses_and_what_is_in_them_are_secret_and_words_are_not() -> None:
    redact = Redactor(secrets_of_environment(PROXIES))
    for secret in (
        *("hunter2-secret", "ann:hunter2-secret", "second-one", "third-one", "5ecret-path/", "pass/word"),
        *("http://ann:hunter2-secret@proxy.example:8080/", "YW5uOmh1bnRlcjItc2VjcmV0", "pass%2Fword"),
    ):
        where = "https://mirror.example/npm-5ecret-path" if secret == "5ecret-path/" else secret
        assert secret not in redact(f"cannot connect via {where} now"), secret
    for plain in ("localhost,10.0.0.0/8", "/etc/ssl/own.pem"):
        assert redact(plain) == plain
    assert (
        secrets_of_environment({"HTTP_PROXY": "", "GOPROXY": "direct", "ALL_PROXY": "proxy:80", "PATH": "/b"}) == set()
    )


@pytest.mark.skipif(sys.platform == "win32", reason="programs of POSIX")
def test_a_whole_command_line_in_place_of_a_program(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin"}
    assert resolve(["sh -c 'a b'", "x"], environ)[1:] == ["-c", "a b", "x"]
    blank = tmp_path / "my tool"
    blank.write_text("#!/bin/sh\n")
    blank.chmod(0o700)
    assert resolve([str(blank)], environ) == [str(blank)]
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("npx", "python3"):
        (bare / name).symlink_to("/bin/sh")
    environ = {"PATH": str(bare)}
    assert resolve(["cmd", "/c", "npx", "-y"], environ) == [str(bare / "npx"), "-y"]
    assert resolve(["CMD.EXE", "/C", "npx.cmd -y"], environ)[0] == str(bare / "npx")
    assert resolve(["npx.cmd", "-y"], environ) == [str(bare / "npx"), "-y"]
    for name in ("python", "py", "python.exe"):
        assert resolve([name, "-m", "x"], environ) == [str(bare / "python3"), "-m", "x"]
    for absent in ("no-such-program -y", "'", " "):
        with pytest.raises(CommandNotFound):
            resolve([absent], environ)
