"""The settings: every section and key with its default, its unit and one line of documentation.

They come from an INI file (its dialect: settings_file.py), over that from `MCP_ENDPOINT_<SECTION>__<KEY>` variables.
A default is spelled as in the file and read by the same rule; the documentation is checked against `describe()`.
"""

import difflib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcp_endpoint import settings_file, settings_values
from mcp_endpoint.settings_file import Document
from mcp_endpoint.settings_file import SettingsError as SettingsError
from mcp_endpoint.settings_values import GB, Network, NotAllowedError

ENVIRONMENT_PREFIX = "MCP_ENDPOINT_"
KEY_VARIABLE = "MCP_ENDPOINT_SERVER__KEY"
SHIPPED_NAME = "mcp-endpoint-server.cfg"

LogLevel = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Language = Literal["zh", "en"]

_Flag = Annotated[bool, settings_values.flag()]
_Seconds = Annotated[float, settings_values.seconds()]
_SecondsOrZero = Annotated[float, settings_values.seconds(zero=True)]
_Size = Annotated[int, settings_values.size(GB)]
_Count = Annotated[int, settings_values.whole(1, 1_000_000)]
_CountOrZero = Annotated[int, settings_values.whole(0, 1_000_000)]
_File = Annotated[str, settings_values.file_name()]


def _key(default: Any, en: str, zh: str, *, shown: bool = True, alias: str | None = None) -> Any:
    """A field with its default as the file spells it (... = none) and its documentation in English and Chinese.

    `alias` is the key in the file, where it cannot be the field's name.
    """
    return Field(default, description=en, json_schema_extra={"zh": zh}, repr=shown, alias=alias)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class ServerSettings(_Section):
    """Where the broker listens and what it is called."""

    host: Annotated[str, settings_values.host()] = _key(
        "0.0.0.0", "address to listen on; 0.0.0.0 = every network", "监听地址，0.0.0.0 表示所有网络"
    )
    port: Annotated[int, settings_values.whole(0, 65535)] = _key(
        "8004", "port to listen on; 0 = chosen by the system", "监听端口，0 表示由系统选择"
    )
    debug: _Flag = _key("false", "debug mode: more detail in the log", "调试模式，日志更详细")
    log_level: Annotated[
        LogLevel,
        settings_values.one_of("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", form=str.upper),
    ] = _key("INFO", "log level: TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL", "日志级别")
    key: Annotated[str, settings_values.secret()] = _key(
        ...,
        "secret of tokens and health URL; made at the first start",
        "密钥，首次启动时自动生成",
        shown=False,
    )
    public_url: Annotated[str, settings_values.public_url()] = _key(
        "",
        "http(s)://host[:port][/prefix] of the printed URLs",
        "对外地址，留空则自动推断",
    )
    tls_cert: _File = _key(
        "", "PEM file of the certificate, chain included; with it: wss://, https://", "TLS 证书文件（PEM，含证书链）"
    )
    tls_key: _File = _key(
        "", "PEM file of its private key; empty = it is in tls_cert", "TLS 私钥文件（PEM），留空表示在 tls_cert 中"
    )


class WebSocketSettings(_Section):
    """Limits and times of one connection."""

    max_connections: _Count = _key("1000", "most WebSocket connections at a time", "最大连接数")
    ping_interval: _SecondsOrZero = _key("30", "seconds between pings; 0 = no pings", "心跳间隔（秒），0 表示关闭")
    ping_timeout: _Seconds = _key("10", "seconds to wait for a pong", "心跳超时（秒）")
    close_timeout: _Seconds = _key("10", "seconds a closing connection may take", "关闭超时（秒）")
    max_message_size: _Size = _key("4MB", "largest message; a larger one ends its connection", "单条消息的最大大小")
    max_unfinished: _Size = _key(
        "32MB", "most bytes of half-received messages of one agent", "每个智能体未收完的消息的总大小上限"
    )
    message_timeout: _Seconds = _key("30", "seconds a message may take to arrive", "接收单条消息的时限（秒）")
    handshake_timeout: _Seconds = _key("10", "seconds a new connection has for its handshake", "握手超时（秒）")
    send_timeout: _Seconds = _key("10", "seconds a full send_buffer is endured", "发送缓冲写满后的等待时间（秒）")
    send_buffer: _Size = _key("1MB", "unsent data of one connection before send_timeout runs", "每个连接的发送缓冲大小")


class BrokerSettings(_Section):
    """Times and limits of one agent."""

    call_timeout: _Seconds = _key(
        "28", "seconds a tool call may take (Xiaozhi waits 30)", "工具调用超时（秒），小智端等待 30 秒"
    )
    tools_wait: _SecondsOrZero = _key(
        "8", "seconds a tool list waits for a tool side", "等待工具端上线的时间（秒），0 表示不等"
    )
    offline_grace: _SecondsOrZero = _key(
        "600",
        "seconds a vanished tool side stays listed",
        "工具端离线后保留其工具的时间（秒），0 表示不保留",
    )
    language: Annotated[Language, settings_values.one_of("zh", "en", form=str.lower)] = _key(
        "zh", "zh or en: sentences a device may read out", "设备播报语句的语言，zh 或 en"
    )
    max_tool_sides: _Count = _key("32", "most tool sides of one agent", "每个智能体的工具端上限")
    max_devices: _Count = _key("256", "most device sides of one agent", "每个智能体的设备端上限")
    max_calls: _Count = _key("128", "most calls in flight of one agent", "每个智能体同时进行的调用上限")
    max_tools: _Count = _key("512", "most tools of one tool side", "每个工具端的工具数量上限")
    max_list_bytes: _Size = _key(
        "4MB", "most bytes of tool definitions of one tool side", "每个工具端的工具定义总大小上限"
    )
    max_pages: _Count = _key("64", "most pages of one tool side's list", "每个工具端工具列表的页数上限")


class SecuritySettings(_Section):
    """What browsers and strangers may do."""

    allowed_origins: Annotated[list[str], settings_values.origins()] = _key(
        "*", "* or a list such as https://a.example.com, https://b", "允许的源，* 或以逗号分隔的列表"
    )
    enable_cors: _Flag = _key("true", "let pages of the allowed origins read health and stats", "启用 CORS")
    trusted_proxies: Annotated[tuple[Network, ...], settings_values.networks()] = _key(
        "", "proxies whose X-Forwarded-For counts: 127.0.0.1, 10.0.0.0/8", "可信反向代理的地址或网段，以逗号分隔"
    )
    max_connections_per_address: _CountOrZero = _key(
        "500", "most connections of one address; 0 = no limit", "每个地址的最大连接数，0 表示不限"
    )
    handshakes_per_minute: _CountOrZero = _key(
        "600",
        "most of one address; a refused one counts tenfold; 0 = no limit",
        "每个地址每分钟的握手上限，被拒绝的按十次计，0 表示不限",
    )
    max_handshakes: _Count = _key(
        "512",
        "most connections that are no links yet; over it the oldest goes",
        "未完成握手的连接上限，超出时断开最早的",
    )


class LoggingSettings(_Section):
    """The log."""

    log_file: _File = _key(
        "logs/mcp_server.log", "path of the log file; empty = no file", "日志文件路径，留空则不写文件"
    )
    max_file_size: _Size = _key("10MB", "size at which a new log file is begun", "日志文件最大大小")
    backup_count: Annotated[int, settings_values.whole(0, 10_000)] = _key(
        "5", "old log files kept; 0 = none", "日志备份数量，0 表示不保留"
    )
    # BaseModel has a method of that name
    json_lines: _Flag = _key(
        "false", "JSON lines in file and console, for programs", "以 JSON 行格式输出日志", alias="json"
    )


class Settings(_Section):
    """All settings, one member per section of the file."""

    server: ServerSettings
    websocket: WebSocketSettings = Field(default_factory=WebSocketSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)


_SECTIONS: dict[str, type[_Section]] = {
    "server": ServerSettings,
    "websocket": WebSocketSettings,
    "broker": BrokerSettings,
    "security": SecuritySettings,
    "logging": LoggingSettings,
}
_KEYS = {
    section: {about.alias or name: about for name, about in model.model_fields.items()}
    for section, model in _SECTIONS.items()
}
_VARIABLES = {
    f"{ENVIRONMENT_PREFIX}{section}__{key}".upper(): (section, key) for section, keys in _KEYS.items() for key in keys
}


@dataclass(frozen=True)
class Loaded:
    """Settings and where they came from. `generated_key` is true only for the start that made the key."""

    settings: Settings
    path: Path
    warnings: list[str]
    generated_key: bool


def describe(language: Language = "en") -> list[tuple[str, str, str, str]]:
    """(section, key, default as the file spells it, one line of documentation) of every key, in the file's order."""
    rows = []
    for section, keys in _KEYS.items():
        for key, about in keys.items():
            extra = about.json_schema_extra
            line = str(extra["zh"]) if language == "zh" and isinstance(extra, dict) else about.description or ""
            rows.append((section, key, "" if about.is_required() else str(about.default), line))
    return rows


def shipped_file() -> Path:
    """The commented settings that a first start copies: in the installed package, else at the top of the repository."""
    packaged = Path(__file__).with_name(SHIPPED_NAME)
    return packaged if packaged.exists() else Path(__file__).parents[2] / SHIPPED_NAME


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """The settings of the file at `path` and of `environ`. Reads only. Raises SettingsError."""
    settings, warnings = _build(_read(path), path, environ)
    return Loaded(settings, path, warnings, generated_key=False)


def prepare(path: Path, environ: Mapping[str, str]) -> Loaded:
    """As `load`, for a start: makes the file from the shipped one if it is absent, and a key if there is none yet.

    Nothing is written when the settings are bad, and no key when `environ` has one. Raises SettingsError.
    """
    present = _read_if_there(path)
    if present is not None and _keyed(present, path, environ):
        return load(path, environ)
    with settings_file.locked(path):
        before = _read_if_there(path)  # again: another start may have been quicker
        text = _read(shipped_file()) if before is None else before
        generate = not _keyed(text, path, environ)
        if generate:
            text = settings_file.with_key(text, settings_file.parse(text, path), secrets.token_hex(16))
        settings, warnings = _build(text, path, environ)
        if text != before:
            settings_file.write(path, text)
    return Loaded(settings, path, warnings, generate)


def _read(path: Path) -> str:
    try:
        return settings_file.read(path)
    except FileNotFoundError:
        en = "there is no such settings file; start the broker once to have it made, or name another with --config"
        raise SettingsError(
            path, en, "设置文件不存在；请先启动一次服务以自动生成，或用 --config 指定其他文件"
        ) from None


def _read_if_there(path: Path) -> str | None:
    try:
        return settings_file.read(path)
    except FileNotFoundError:
        return None


def _keyed(text: str, path: Path, environ: Mapping[str, str]) -> bool:
    entry = settings_file.parse(text, path).entries.get(("server", "key"))
    return KEY_VARIABLE in environ or (entry is not None and bool(entry.value.strip()))


def _build(text: str, path: Path, environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    document = settings_file.parse(text, path)
    values: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    places: dict[tuple[str, str], str] = {}
    for (section, key), entry in document.entries.items():
        if key in _KEYS.get(section, ()):
            values[section][key] = entry.value
            places[section, key] = f"{path}: line {entry.line}: [{section}] {key}"
    for variable, (section, key) in _VARIABLES.items():
        if variable in environ:
            values[section][key] = environ[variable]
            places[section, key] = f"environment variable {variable}: [{section}] {key}"
    if KEY_VARIABLE not in environ and not values["server"].get("key", "").strip():
        en = "is missing or empty; start the broker once to have one generated, or write 'key = …' there"
        raise SettingsError(f"{path}: [server] key", en, "缺失或为空；请先启动一次服务以自动生成，或自行填写 key = …")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise _bad_value(error, values, places) from None
    return settings, _unknown_in_file(document, path) + _unknown_variables(environ) + _doubtful(settings)


def _bad_value(
    error: ValidationError, values: dict[str, dict[str, str]], places: dict[tuple[str, str], str]
) -> SettingsError:
    """The first bad value as one line. Of a URL the parts that may be secret are left out, of the key all."""
    first = error.errors()[0]
    section, key = (str(part) for part in first["loc"][:2])
    shown = re.sub(r"//[^/\s]*@", "//…@", re.sub(r"(?<=[?#]).+", "…", values[section][key]))
    shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
    value = "(hidden)" if key == "key" else f"'{shown}'"
    cause = first.get("ctx", {}).get("error")
    en, zh = (cause.en, cause.zh) if isinstance(cause, NotAllowedError) else (first["msg"], first["msg"])
    return SettingsError(f"{places[section, key]} = {value}", f"allowed is {en}", f"应为：{zh}")


def _nearest(word: str, known: list[str]) -> list[str]:
    """The known word that was probably meant, else all of them."""
    return difflib.get_close_matches(word, known, 1) or known


def _unknown_in_file(document: Document, path: Path) -> list[str]:
    warnings = []
    for section, line in document.sections.items():
        if section not in _SECTIONS:
            near = [f"[{name}]" for name in _nearest(section, list(_SECTIONS))]
            warnings.append(_unknown(f"{path}: line {line}: [{section}]", near))
    for (section, key), entry in document.entries.items():
        if section in _SECTIONS and key not in _KEYS[section]:
            elsewhere = [f"[{name}] {key}" for name, keys in _KEYS.items() if key in keys]
            near = elsewhere or _nearest(key, list(_KEYS[section]))
            warnings.append(_unknown(f"{path}: line {entry.line}: [{section}] {key}", near))
    return warnings


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    warnings = []
    tails = {variable.removeprefix(ENVIRONMENT_PREFIX): variable for variable in _VARIABLES}
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in _VARIABLES:
            continue
        # a single underscore where two belong is the likely slip; other MCP_ENDPOINT_… variables are not ours to judge
        slips = [name for name in _VARIABLES if name.replace("__", "_") == variable.upper()]
        if slips or "__" in variable:
            close = difflib.get_close_matches(variable.removeprefix(ENVIRONMENT_PREFIX).upper(), tails, 1)
            near = slips or [tails[tail] for tail in close] or [f"{ENVIRONMENT_PREFIX}<SECTION>__<KEY>"]
            warnings.append(_unknown(f"environment variable {variable}", near))
    return warnings


def _unknown(where: str, near: list[str]) -> str:
    known = ", ".join(near)
    if len(near) == 1:
        return str(
            SettingsError(where, f"unknown, ignored; did you mean {known}?", f"未知，已忽略；是否想写 {known}？")
        )
    return str(SettingsError(where, f"unknown, ignored; known are {known}", f"未知，已忽略；可用的有 {known}"))


def _doubtful(settings: Settings) -> list[str]:
    """What is allowed, yet will surprise: the single-module server refuses such URLs (wire contract, section 2)."""
    url = settings.server.public_url
    words = [word for word in ("key", "call") if word in url.lower()]
    if not words:
        return []
    en = f"contains '{words[0]}', and a single-module Xiaozhi server refuses every endpoint URL that does"
    zh = f"包含“{words[0]}”，单模块部署的小智服务会拒绝含有该词的接入点地址"
    return [str(SettingsError(f"[server] public_url = '{url}'", en, zh))]
