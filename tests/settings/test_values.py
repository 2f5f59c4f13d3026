"""Single values of the settings: what is taken, from file and environment, and the line that a bad one ends with."""

import math
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import load, prepare
from mcp_endpoint.settings.schema import LoggingSettings, SecuritySettings, ServerSettings, Settings, WebSocketSettings
from support.languages import no_pair

KEY = "6a369b7f1bcf4d3e8d123ece38bb9627"


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "broker.cfg"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def loaded(tmp_path: Path, text: str, **environ: str) -> Settings:
    return load(write(tmp_path, text), environ).settings


def refused(tmp_path: Path, text: str, **environ: str) -> str:
    """The one line that a bad file ends with, its path taken off."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    told = caught.value.told
    assert not any(KEY in line or len(line.splitlines()) != 1 for line in told)
    assert no_pair(told.zh)
    assert not re.search("allowed:|line [0-9]|environment variable", told.zh)
    return told.en.replace(str(path), "FILE")


def of(settings: Settings, section: str, key: str) -> Any:
    return getattr(getattr(settings, section), key)


# ------------------------------------------------------------------------------------------------- single values

GOOD = [
    ("server", "host", "::1", "::1"),
    ("server", "host", "[::]", "::"),
    ("server", "host", "my-host.example", "my-host.example"),
    ("server", "port", "0", 0),
    ("server", "port", "65535", 65535),
    ("server", "debug", "YES", True),
    ("server", "debug", "on", True),
    ("server", "debug", "1", True),
    ("server", "debug", "Off", False),
    ("server", "debug", "no", False),
    ("server", "debug", "0", False),
    ("server", "log_level", "trace", "TRACE"),
    ("server", "key", "100%s#x;y=z", "100%s#x;y=z"),
    ("server", "key", "钥匙", "钥匙"),
    ("server", "public_url", "HTTPS://mcp.example.com:8443/a/b/", "https://mcp.example.com:8443/a/b"),
    ("server", "public_url", "http://[::1]:8004", "http://[::1]:8004"),
    ("websocket", "max_message_size", "512kb", 512 * 1024),
    ("websocket", "max_message_size", "4 MB", 4 * 1024 * 1024),
    ("websocket", "max_message_size", "1GB", 1024**3),
    ("websocket", "send_buffer", "4096", 4096),
    ("websocket", "send_buffer", "1KB", 1024),
    ("websocket", "ping_interval", "0", 0.0),
    ("websocket", "ping_timeout", "0.5", 0.5),
    ("websocket", "close_timeout", "86400", 86400.0),
    ("broker", "tools_wait", "0", 0.0),
    ("broker", "offline_grace", "0", 0.0),
    ("broker", "language", "EN", "en"),
    ("broker", "max_calls", "1", 1),
    ("broker", "ask_clients", "", ()),
    ("broker", "drop_empty", "Yes", True),
    ("broker", "ask_clients", "Roots, sampling,roots,", ("roots", "sampling")),
    (
        "security",
        "allowed_origins",
        "https://A.example.com:443/, http://b:8080,null,",
        ["https://a.example.com", "http://b:8080", "null"],
    ),
    ("security", "allowed_origins", "chrome-extension://abc", ["chrome-extension://abc"]),
    ("security", "pin_tools", "BLOCK", "block"),
    ("security", "trusted_proxies", "", ()),
    (
        "security",
        "trusted_proxies",
        "127.0.0.1, ::1,10.1.2.3/8",
        tuple(map(ip_network, ("127.0.0.1", "::1", "10.0.0.0/8"))),
    ),
    ("logging", "log_file", "", ""),
    ("logging", "log_file", "C:\\logs\\100%.log", "C:\\logs\\100%.log"),
    ("logging", "backup_count", "0", 0),
]


@pytest.mark.parametrize(("section", "key", "spelled", "value"), GOOD)
def test_a_good_value_acts_from_the_file_and_from_the_environment(
    tmp_path: Path, section: str, key: str, spelled: str, value: object
) -> None:
    own = "" if key == "key" else f"key = {KEY}\n"
    header = f"[server]\n{own}" + ("" if section == "server" else f"[{section}]\n")
    got = of(loaded(tmp_path, f"{header}{key} = {spelled}\n"), section, key)
    assert got == value
    assert type(got) is type(value)
    variable = f"MCP_ENDPOINT_{section}__{key}".upper()
    assert of(loaded(tmp_path, header, **{variable: spelled}), section, key) == value


BAD = [
    ("broker", "ask_clients", "sampling roots", "some of sampling, elicitation, roots"),
    ("broker", "ask_clients", "sampling, tasks", "some of sampling, elicitation, roots"),
    ("server", "host", "", "0.0.0.0"),
    ("server", "host", "*", "0.0.0.0"),
    ("server", "host", "256.1.1.1", "0.0.0.0"),
    ("server", "host", "a b", "0.0.0.0"),
    ("server", "port", "65536", "from 0 to 65535"),
    ("server", "port", "-1", "from 0 to 65535"),
    ("server", "port", "80.0", "from 0 to 65535"),
    ("server", "port", "８００４", "from 0 to 65535"),
    ("server", "port", "9" * 5000, "from 0 to 65535"),
    ("server", "debug", "maybe", "true or false"),
    ("server", "log_level", "LOUD", "TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL"),
    ("server", "public_url", "mcp.example.com", "http(s)://"),
    ("server", "public_url", "ws://mcp.example.com", "http(s)://"),
    ("server", "public_url", "http://mcp.example.com:99999", "http(s)://"),
    ("server", "public_url", "http://", "http(s)://"),
    ("websocket", "max_connections", "0", "from 1 to"),
    ("websocket", "ping_interval", "-1", "0, or a number of seconds"),
    ("websocket", "ping_interval", "nan", "0, or a number of seconds"),
    ("websocket", "ping_timeout", "0", "seconds from 0.01 to 86400"),
    ("websocket", "ping_timeout", "inf", "seconds from 0.01 to 86400"),
    ("websocket", "close_timeout", "10s", "seconds from 0.01 to 86400"),
    ("websocket", "send_timeout", "1e1", "seconds from 0.01 to 86400"),
    ("websocket", "handshake_timeout", "86400.1", "seconds from 0.01 to 86400"),
    ("websocket", "max_message_size", "1023", "1KB to 1GB"),
    ("websocket", "max_message_size", "2GB", "1KB to 1GB"),
    ("websocket", "send_buffer", "1.5MB", "1KB to 1GB"),
    ("websocket", "send_buffer", "4 XB", "1KB to 1GB"),
    ("broker", "language", "de", "one of zh, en"),
    ("broker", "max_pages", "", "from 1 to"),
    ("security", "allowed_origins", "", "* alone"),
    ("security", "allowed_origins", "*, https://a.example.com", "* alone"),
    ("security", "allowed_origins", "https://*.example.com", "* alone"),
    ("security", "allowed_origins", "a.example.com", "* alone"),
    ("security", "allowed_origins", "https://a.example.com/path", "* alone"),
    ("security", "trusted_proxies", "nginx", "such as 127.0.0.1, 10.0.0.0/8"),
    ("security", "trusted_proxies", "10.0.0.0/33", "such as 127.0.0.1, 10.0.0.0/8"),
    ("security", "enable_cors", "2", "true or false"),
    ("logging", "max_file_size", "big", "1KB to 1GB"),
    ("logging", "backup_count", "-5", "from 0 to"),
]


@pytest.mark.parametrize(("section", "key", "spelled", "allowed"), BAD)
def test_a_bad_value_is_one_line_with_place_value_and_what_is_allowed(
    tmp_path: Path, section: str, key: str, spelled: str, allowed: str
) -> None:
    shown = spelled if len(spelled) <= 80 else spelled[:80] + "…"
    header = f"[server]\nkey = {KEY}\n" + ("" if section == "server" else f"[{section}]\n")
    line = refused(tmp_path, f"{header}{key} = {spelled}\n")
    number = len(header.splitlines()) + 1
    assert line.startswith(f"FILE: line {number}: [{section}] {key} = '{shown}': allowed: ")
    assert allowed in line
    assert KEY not in line
    variable = f"MCP_ENDPOINT_{section}__{key}".upper()
    line = refused(tmp_path, header, **{variable: spelled})
    assert line.startswith(f"environment variable {variable}: [{section}] {key} = '{shown}': allowed: ")
    assert allowed in line


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        (WebSocketSettings, "ping_timeout", math.nan),
        (WebSocketSettings, "ping_timeout", math.inf),
        (WebSocketSettings, "ping_timeout", True),
        (WebSocketSettings, "max_connections", 2.5),
        (WebSocketSettings, "max_connections", True),
        (LoggingSettings, "max_file_size", 1),
        (LoggingSettings, "log_file", None),
        (SecuritySettings, "allowed_origins", ["a"]),
        (SecuritySettings, "allowed_origins", None),
        (SecuritySettings, "no_such_key", 1),
    ],
)
def test_models_refuse_bad_python_values(model: type[BaseModel], key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        model(**{key: value})


def test_models_take_python_values_and_are_frozen() -> None:
    settings = WebSocketSettings(ping_interval=0, ping_timeout=0.02, max_message_size=2048)
    assert (settings.ping_interval, settings.ping_timeout, settings.max_message_size) == (0.0, 0.02, 2048)
    assert SecuritySettings(allowed_origins=["https://a"]).allowed_origins == ["https://a"]
    with pytest.raises(ValidationError):
        settings.ping_interval = 5.0  # type: ignore[misc]


# -------------------------------------------------------------------------------------------------------- secrets


def test_the_key_is_in_no_repr_and_in_no_error(tmp_path: Path) -> None:
    got = load(write(tmp_path, f"[server]\nkey = {KEY}\n"), {})
    assert got.settings.server.key == KEY
    assert KEY not in repr(got)
    with pytest.raises(ValidationError) as caught:
        ServerSettings(key=f"{KEY}\n")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("ending", ["\r", "\n", "\x00", "\x7f", "\x85", "\udc80"])
def test_a_key_with_control_characters_is_refused_without_showing_it(tmp_path: Path, ending: str) -> None:
    line = refused(tmp_path, "[server]\n", MCP_ENDPOINT_SERVER__KEY=f"{KEY}{ending}")
    assert line.startswith("environment variable MCP_ENDPOINT_SERVER__KEY: [server] key = (hidden): allowed: a text")
    assert KEY not in line


@pytest.mark.parametrize(
    "text", ["", "[server]\n", "[server]\nkey =\n", '[server]\nkey = " "\n', "[server]\nkey = # k\n"]
)
def test_no_key_is_said_by_load(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("FILE: [server] key: is missing or empty; start the broker once")


def test_an_empty_key_in_the_environment_is_an_error_not_a_new_key(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\n")
    with pytest.raises(SettingsError, match="MCP_ENDPOINT_SERVER__KEY"):
        prepare(path, {"MCP_ENDPOINT_SERVER__KEY": ""})
    assert path.read_bytes() == b"[server]\n"


@pytest.mark.parametrize("url", ["https://h/mcp/?token=SECRET", "https://u:SECRET@h", "https://h/#SECRET"])
def test_a_secret_pasted_into_public_url_is_not_shown(tmp_path: Path, url: str) -> None:
    line = refused(tmp_path, f"[server]\nkey = {KEY}\npublic_url = {url}\n")
    assert "[server] public_url = 'https://" in line
    assert "SECRET" not in line
