"""The settings: models, defaults, the shipped file, overrides from the environment, and every line a user may meet."""

import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import load, prepare, preview, shipped_file
from mcp_endpoint.settings.schema import (
    BrokerSettings,
    JobSettings,
    LoggingSettings,
    McpSettings,
    SecuritySettings,
    ServerSettings,
    Settings,
    WebSocketSettings,
    describe,
)
from support.paths import ROOT

KEY = "6a369b7f1bcf4d3e8d123ece38bb9627"
REPOSITORY = ROOT
MODELS: dict[str, type[BaseModel]] = {
    "server": ServerSettings,
    "websocket": WebSocketSettings,
    "broker": BrokerSettings,
    "security": SecuritySettings,
    "mcp": McpSettings,
    "jobs": JobSettings,
    "logging": LoggingSettings,
}

# the example of the original broker's README, as users have it in their data folder
ORIGINAL = """\
[server]
host = 127.0.0.1          # 服务器监听地址
port = 8004               # 服务器监听端口
debug = false             # 调试模式
log_level = INFO          # 日志级别

[websocket]
max_connections = 1000    # 最大连接数
ping_interval = 30        # 心跳间隔(秒)
ping_timeout = 10         # 心跳超时(秒)
close_timeout = 10        # 关闭超时(秒)

[security]
allowed_origins = *       # 允许的源
enable_cors = true        # 启用CORS

[logging]
log_file = logs/mcp_server.log  # 日志文件路径
max_file_size = 10MB            # 日志文件最大大小
backup_count = 5                # 日志备份数量
"""


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "broker.cfg"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def loaded(tmp_path: Path, text: str, **environ: str) -> Settings:
    return load(write(tmp_path, text), environ).settings


# ------------------------------------------------------------------------------------------- files that must load


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_the_originals_example_loads_with_the_values_it_shows(tmp_path: Path, bom: str, ends: str) -> None:
    got = load(write(tmp_path, bom + ORIGINAL.replace("\n", ends)), {"MCP_ENDPOINT_SERVER__KEY": KEY})
    assert got.warnings == []
    assert got.settings == Settings(
        server=ServerSettings(host="127.0.0.1", port=8004, debug=False, log_level="INFO", key=KEY, public_url=""),
        websocket=WebSocketSettings(max_connections=1000, ping_interval=30, ping_timeout=10, close_timeout=10),
        security=SecuritySettings(allowed_origins=["*"], enable_cors=True),
        logging=LoggingSettings(log_file="logs/mcp_server.log", max_file_size=10 * 1048576, backup_count=5),
    )


def test_the_originals_example_gets_a_key_and_keeps_its_comments(tmp_path: Path) -> None:
    path = write(tmp_path, ORIGINAL)
    got = prepare(path, {})
    assert got.generated_key
    assert path.read_text() == ORIGINAL.replace("[server]\n", f"[server]\nkey = {got.settings.server.key}\n")


def test_the_shipped_file_holds_every_key_at_its_default_with_its_documentation() -> None:
    assert shipped_file() == REPOSITORY / "mcp-endpoint-server.cfg"
    rows, section = [], ""
    for line in shipped_file().read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif section and line:
            setting, _, comment = line.partition("  # ") if line.startswith("# key") else line.partition(" # ")
            key, _, value = setting.removeprefix("# ").partition("=")
            rows.append((section, key.strip(), value.strip(), comment.strip()))
    due = [
        (section, key, default, f"{zh} / {en}")
        for (section, key, default, en), (*_, zh) in zip(describe(), describe("zh"), strict=True)
    ]
    assert rows == due


def test_the_shipped_file_loads_as_the_defaults() -> None:
    got = load(shipped_file(), {"MCP_ENDPOINT_SERVER__KEY": KEY})
    assert got.warnings == []
    assert got.settings == Settings(server=ServerSettings(key=KEY))


def test_the_defaults_are_those_of_the_issue() -> None:
    settings = Settings(server=ServerSettings(key=KEY))
    assert settings.model_dump() == {
        "server": {
            "host": "0.0.0.0",
            "port": 8004,
            "debug": False,
            "log_level": "INFO",
            "key": KEY,
            "public_url": "",
            "tls_cert": "",
            "tls_key": "",
        },
        "websocket": {
            "max_connections": 1000,
            "ping_interval": 30.0,
            "ping_timeout": 10.0,
            "close_timeout": 10.0,
            "max_message_size": 4194304,
            "max_unfinished": 33554432,
            "message_timeout": 30.0,
            "handshake_timeout": 10.0,
            "send_timeout": 10.0,
            "send_buffer": 1048576,
        },
        "broker": {
            "call_timeout": 28.0,
            "tools_wait": 8.0,
            "offline_grace": 600.0,
            "language": "zh",
            "max_tool_sides": 32,
            "max_devices": 256,
            "max_calls": 128,
            "max_tools": 512,
            "max_list_bytes": 4194304,
            "max_pages": 64,
            "max_result_bytes": 4194304,
            "budget_tools": 128,
            "budget_bytes": 262144,
            "ask_clients": (),
            "drop_empty": False,
        },
        "security": {
            "allowed_origins": ["*"],
            "allowed_hosts": (),
            "enable_cors": True,
            "pin_tools": "flag",
            "trusted_proxies": (),
            "max_connections_per_address": 500,
            "handshakes_per_minute": 600,
            "max_handshakes": 2000,
        },
        "mcp": {
            "call_timeout": 300.0,
            "session_idle": 1800.0,
            "max_sessions": 1000,
            "poll_after": 60.0,
            "replay_buffer": 1048576,
            "ascii_names": False,
        },
        "jobs": {"answer_within": 8.0, "max_running": 8, "max_kept": 50, "max_seconds": 3600.0},
        "logging": {
            "log_file": "logs/mcp_server.log",
            "max_file_size": 10485760,
            "backup_count": 5,
            "json_lines": False,
        },
        "agents": {},
    }


def test_every_key_has_a_line_in_both_languages() -> None:
    assert [(section, key) for section, key, *_ in describe()] == [
        (section, about.alias or name)
        for section, model in MODELS.items()
        for name, about in model.model_fields.items()
    ]
    assert all(line and line.isascii() for *_, line in describe("en"))
    assert all(line and not line.isascii() for *_, line in describe("zh"))


# ------------------------------------------------------------------------------------------------ unknown names


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("prot = 1\n", "FILE: line 3: [server] prot: unknown, ignored; did you mean port?"),
        (
            "tools_wait = 5\n",
            "FILE: line 3: [server] tools_wait: unknown, ignored; did you mean [broker] tools_wait?",
        ),
        ("zzz = 1\n", "known are host, port, debug, log_level, key, public_url, tls_cert, tls_key"),
        (
            "[web-socket]\nping_interval = 1\n",
            "FILE: line 3: [web-socket]: unknown, ignored; did you mean [websocket]?",
        ),
        ("[x]\n", "known are [server], [websocket], [broker], [security], [mcp], [jobs], [logging]"),
    ],
)
def test_an_unknown_name_in_the_file_warns_with_the_nearest(tmp_path: Path, text: str, warning: str) -> None:
    path = write(tmp_path, f"[server]\nkey = {KEY}\n{text}")
    ((zh, en),) = load(path, {}).warnings
    assert warning in en.replace(str(path), "FILE")
    assert "未知，已忽略" in zh


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("MCP_ENDPOINT_SERVER__PROT", "did you mean MCP_ENDPOINT_SERVER__PORT?"),
        ("MCP_ENDPOINT_SERVER_PORT", "did you mean MCP_ENDPOINT_SERVER__PORT?"),
        ("MCP_ENDPOINT_server__port", "did you mean MCP_ENDPOINT_SERVER__PORT?"),
        ("MCP_ENDPOINT_X__Q", "did you mean MCP_ENDPOINT_<SECTION>__<KEY>?"),
    ],
)
def test_an_unknown_variable_warns_without_its_value(tmp_path: Path, variable: str, near: str) -> None:
    ((zh, en),) = load(write(tmp_path, f"[server]\nkey = {KEY}\n"), {variable: "SECRET"}).warnings
    assert en.startswith(f"environment variable {variable}: ")
    assert zh.startswith(f"环境变量 {variable}：")
    assert near in en
    assert "SECRET" not in zh + en


def test_other_variables_are_left_alone(tmp_path: Path) -> None:
    environ = {"MCP_ENDPOINT": "ws://x", "MCP_ENDPOINT_URL": "ws://x", "MCP_ENDPOINT_LANG": "zh", "OTHER__X": "1"}
    assert load(write(tmp_path, f"[server]\nkey = {KEY}\n"), environ).warnings == []


@pytest.mark.parametrize("url", ["https://keys.example.com", "https://h/CALLS"])
def test_a_public_url_that_single_module_servers_refuse_warns(tmp_path: Path, url: str) -> None:
    ((zh, en),) = load(write(tmp_path, f"[server]\nkey = {KEY}\npublic_url = {url}\n"), {}).warnings
    assert "单模块" in zh
    assert "single-module" in en


# ---------------------------------------------------------------------------------------------------- first start


def test_a_first_start_makes_folder_file_and_key_and_the_next_one_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "a" / "data" / ".broker.cfg"
    first = prepare(path, {})
    key = first.settings.server.key
    assert first.generated_key
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
    shipped = shipped_file().read_bytes().splitlines(keepends=True)
    here = path.read_bytes().splitlines(keepends=True)
    at = here.index(f"key = {key}\n".encode())
    assert here[at - 1].startswith(b"# key =")
    assert here[:at] + here[at + 1 :] == shipped
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == [path.name]

    written = path.stat()
    second = prepare(path, {})
    assert (second.settings, second.path, second.generated_key) == (first.settings, path, False)
    assert path.stat().st_ino == written.st_ino
    assert load(path, {}).settings == first.settings
    assert prepare(tmp_path / "other.cfg", {}).settings.server.key != key


def test_a_key_from_the_environment_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "broker.cfg"
    got = prepare(path, {"MCP_ENDPOINT_SERVER__KEY": KEY})
    assert (got.settings.server.key, got.generated_key) == (KEY, False)
    assert path.read_bytes() == shipped_file().read_bytes()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path, "[server]\nkey = other\nport = 1\n", MCP_ENDPOINT_SERVER__KEY=KEY, MCP_ENDPOINT_SERVER__PORT="9"
    )
    assert (settings.server.key, settings.server.port) == (KEY, 9)


@pytest.mark.parametrize("text", ["[server]\nport = x\n", "[server\n", "[server]\n[server]\n"])
def test_a_bad_file_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError):
        prepare(path, {})
    assert path.read_text() == text
    assert os.listdir(tmp_path) == [path.name]


def test_before_a_first_start_a_preview_says_what_it_would_say_and_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nport = 9\nprot = 1\n")
    before = path.read_text()
    seen = preview(path, {})
    assert (seen.settings.server.port, seen.generated_key, path.read_text()) == (9, True, before)
    assert seen.warnings == prepare(path, {}).warnings, "of the lines as they are once the key is there"


def test_an_error_numbers_the_lines_as_they_stand_though_a_key_is_to_be_put_in(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nport = x\n")
    for read in (prepare, preview):
        with pytest.raises(SettingsError, match=r": line 2: \[server\] port = 'x'"):
            read(path, {})


def test_a_missing_file_is_said_by_load_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no\.cfg: there is no such settings file; start the broker once"):
        load(tmp_path / "no.cfg", {})
    assert os.listdir(tmp_path) == []
