"""The settings: every section and key with its default, its unit and one line of documentation.

They come from an INI file (its dialect: settings_file.py), over that from `MCP_ENDPOINT_<SECTION>__<KEY>` variables.
A default is spelled as in the file and read by the same rule; the documentation is checked against `describe()`.
"""

import difflib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo

from mcp_endpoint import settings_file, settings_values
from mcp_endpoint.settings_file import Document
from mcp_endpoint.settings_file import SettingsError as SettingsError
from mcp_endpoint.settings_values import GB, Network, NotAllowedError
from mcp_endpoint.tokens import agent_ids
from mcp_endpoint.wire.mcp import ASKS, is_model_name

ENVIRONMENT_PREFIX = "MCP_ENDPOINT_"
KEY_VARIABLE = "MCP_ENDPOINT_SERVER__KEY"
SHIPPED_NAME = "mcp-endpoint-server.cfg"

LogLevel = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Language = Literal["zh", "en"]
PinTools = Literal["flag", "block"]

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

    max_connections: _Count = _key(
        "1000", "most WebSockets, and most HTTP connections with a token", "最大连接数，WebSocket 与 HTTP 各自计算"
    )
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
        "8", "seconds a list or call waits for a tool side", "等待工具端上线的时间（秒），0 表示不等"
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
    max_result_bytes: _Size = _key(
        "4MB", "a longer result is cut for devices, behind a sentence", "结果更长时为设备截断（在句末）"
    )
    budget_tools: _CountOrZero = _key(
        "128", "more tools than this are warned of; 0 = never", "工具多于此数时给出警告，0 表示不警告"
    )
    budget_bytes: _Size = _key("256KB", "a longer list of tools is warned of", "工具列表大于此值时给出警告")
    ask_clients: Annotated[tuple[str, ...], settings_values.some_of(*ASKS.values())] = _key(
        "",
        "what tool sides may ask MCP clients for: sampling, elicitation, roots",
        "工具端可以向 MCP 客户端请求：sampling、elicitation、roots",
    )
    drop_empty: _Flag = _key(
        "false",
        "leave out optional arguments that are null or empty where a tool does not allow them",
        "省略工具不允许为 null 或空文本的可选参数",
    )


class AgentSettings(BrokerSettings):
    """What one agent has of its own, in a section `[agent ID-or-name]` (issue 3, part 5).

    Besides its own keys it takes every key of [broker]. Of those only the ones that were given count, so they are read
    through `Settings.limits`, never from here.
    """

    tools_from: Annotated[
        tuple[str, ...],
        settings_values.words("ids or names of other agents, such as kitchen", "其他智能体的 ID 或名称，例如 kitchen"),
    ] = _key("", "agents whose tool sides serve this agent too", "这些智能体的工具端也为本智能体服务")
    allow: Annotated[
        tuple[str, ...],
        settings_values.words(
            "tool names, * for any text, such as lamp_*, weather__*", "工具名，* 代表任意文字，例如 lamp_*, weather__*"
        ),
    ] = _key("", "only these tools are shown; empty = all", "只显示这些工具，留空表示全部")
    deny: Annotated[
        tuple[str, ...],
        settings_values.words(
            "tool names, * for any text, such as *_delete, shell__*", "工具名，* 代表任意文字，例如 *_delete, shell__*"
        ),
    ] = _key("", "these tools are hidden, even if allowed", "隐藏这些工具，优先于 allow")
    rename: Annotated[
        dict[str, str],
        settings_values.texts("lamp_on: light on; lamp_off: light off", "lamp_on: 开灯; lamp_off: 关灯", names=True),
    ] = _key("", "other names for tools", "工具的新名称")
    describe: Annotated[
        dict[str, str],
        settings_values.texts("lamp_on: Turns on the lamp.; dim: Dims it.", "lamp_on: 打开客厅的灯; dim: 调暗灯光"),
    ] = _key("", "other descriptions for tools", "工具的新描述")


class SecuritySettings(_Section):
    """What browsers and strangers may do."""

    allowed_origins: Annotated[list[str], settings_values.origins()] = _key(
        "*", "* or a list such as https://a.example.com, https://b", "允许的源，* 或以逗号分隔的列表"
    )
    allowed_hosts: Annotated[tuple[str, ...], settings_values.host_names()] = _key(
        "", "host names by which MCP clients over HTTP may call", "HTTP MCP 客户端可使用的主机名，以逗号分隔"
    )
    enable_cors: _Flag = _key("true", "let pages of the allowed origins read answers", "启用 CORS")
    pin_tools: Annotated[PinTools, settings_values.one_of("flag", "block", form=str.lower)] = _key(
        "flag",
        "flag or block: a tool of mcp_servers.json that is not what it was when first seen",
        "mcp_servers.json 中的工具与首次所见不同时：flag 提示，block 停用",
    )
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
        "2000",
        "most connections that are no links yet; over it the oldest goes",
        "未完成握手的连接上限，超出时断开最早的",
    )


class McpSettings(_Section):
    """MCP clients over HTTP: desktop hosts, IDEs, agents and scripts."""

    call_timeout: _Seconds = _key(
        "300", "seconds a tool call may take, anew with progress", "工具调用超时（秒），收到进度后重新计时"
    )
    session_idle: _Seconds = _key("1800", "seconds an unused session is kept", "会话闲置多久后结束（秒）")
    max_sessions: _Count = _key("1000", "most sessions at a time", "最大会话数")
    poll_after: _SecondsOrZero = _key(
        "60",
        "seconds until a waiting client is told to poll; 0 = never",
        "等待多久后改为轮询（秒），0 表示从不",
    )
    replay_buffer: _Size = _key(
        "1MB", "sent events of one session kept for a lost client", "每个会话为断线续传保留的数据大小"
    )
    ascii_names: _Flag = _key(
        "false",
        "give tools names that every model's API takes: letters, digits, _ and -",
        "为工具提供所有模型接口都接受的名称：字母、数字、_ 和 -",
    )


class JobSettings(_Section):
    """Calls that go on after their caller was answered (`background` tools of mcp_servers.json)."""

    answer_within: _Seconds = _key(
        "8", "seconds after which a background tool's call goes on as a job", "后台工具超过此秒数即转为后台任务"
    )
    max_running: _Count = _key("8", "most running jobs of one agent", "每个智能体同时进行的后台任务上限")
    max_kept: _Count = _key("50", "most jobs of one agent that are remembered", "每个智能体保留的后台任务上限")
    max_seconds: _Seconds = _key("3600", "seconds a job may take", "后台任务的最长时间（秒）")


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
    mcp: McpSettings = Field(default_factory=McpSettings)
    jobs: JobSettings = Field(default_factory=JobSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    agents: dict[str, AgentSettings] = Field(default_factory=dict)
    """The `[agent NAME]` sections by NAME as it is written there."""
    _by_id: dict[str, tuple[AgentSettings, BrokerSettings]] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _: Any, /) -> None:
        """Work out once what `agent` and `limits` tell for every message."""
        for name, agent in self.agents.items():
            own = {key: getattr(agent, key) for key in agent.model_fields_set & BrokerSettings.model_fields.keys()}
            limits = self.broker.model_copy(update=own)
            self._by_id.update(dict.fromkeys(agent_ids(name), (agent, limits)))

    def agent(self, agent_id: str) -> AgentSettings:
        """What the agent has of its own; the defaults if it has no section."""
        found = self._by_id.get(agent_id)
        return _NO_AGENT if found is None else found[0]

    def limits(self, agent_id: str) -> BrokerSettings:
        """The times and limits that hold for the agent: [broker], and over it what its section says."""
        found = self._by_id.get(agent_id)
        return self.broker if found is None else found[1]

    def sources(self, agent_id: str) -> tuple[str, ...]:
        """The ids of the agents whose tool sides serve this one too. Some may exist nowhere: see `agent_ids`."""
        return tuple(dict.fromkeys(id_ for name in self.agent(agent_id).tools_from for id_ in agent_ids(name)))


_NO_AGENT = AgentSettings()


def _keys(model: type[_Section]) -> dict[str, FieldInfo]:
    """What may stand in a section."""
    return {about.alias or name: about for name, about in model.model_fields.items()}


_SECTIONS: dict[str, type[_Section]] = {
    "server": ServerSettings,
    "websocket": WebSocketSettings,
    "broker": BrokerSettings,
    "security": SecuritySettings,
    "mcp": McpSettings,
    "jobs": JobSettings,
    "logging": LoggingSettings,
}
_KEYS = {section: _keys(model) for section, model in _SECTIONS.items()}
_VARIABLES = {
    f"{ENVIRONMENT_PREFIX}{section}__{key}".upper(): (section, key) for section, keys in _KEYS.items() for key in keys
}
_AGENT = "agent "
ANY_AGENT = "agent ID-or-name"
"""How the section of an agent is called where no certain one is meant."""
_AGENT_KEYS = [key for key in AgentSettings.model_fields if key not in BrokerSettings.model_fields]


@dataclass(frozen=True)
class Loaded:
    """Settings and where they came from. `generated_key` is true only for the start that made the key."""

    settings: Settings
    path: Path
    warnings: list[str]
    generated_key: bool


def describe(language: Language = "en") -> list[tuple[str, str, str, str]]:
    """(section, key, default as the file spells it, one line of documentation) of every key, in the file's order."""
    return [
        (section, key, *_described(about, language)) for section, keys in _KEYS.items() for key, about in keys.items()
    ]


def describe_agent(language: Language = "en") -> list[tuple[str, str, str]]:
    """(key, default, one line of documentation) of every key of an agent's section that [broker] does not have."""
    return [(key, *_described(AgentSettings.model_fields[key], language)) for key in _AGENT_KEYS]


def _described(about: FieldInfo, language: Language) -> tuple[str, str]:
    extra = about.json_schema_extra
    line = str(extra["zh"]) if language == "zh" and isinstance(extra, dict) else about.description or ""
    return "" if about.is_required() else str(about.default), line


def shipped_file() -> Path:
    """The commented settings that a first start copies: in the installed package, else at the top of the repository."""
    packaged = Path(__file__).with_name(SHIPPED_NAME)
    return packaged if packaged.exists() else Path(__file__).parents[2] / SHIPPED_NAME


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """The settings of the file at `path` and of `environ`. Reads only. Raises SettingsError."""
    settings, warnings = _build(_read(path), path, environ)
    return Loaded(settings, path, warnings, generated_key=False)


def preview(path: Path, environ: Mapping[str, str]) -> Loaded:
    """As `prepare`, for a file that is there: what a start would say of it, and nothing is written."""
    _, settings, warnings, generate = _with_key(_read(path), path, environ)
    return Loaded(settings, path, warnings, generate)


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
        text, settings, warnings, generate = _with_key(text, path, environ)
        if text != before:
            settings_file.write(path, text)
    return Loaded(settings, path, warnings, generate)


def _with_key(text: str, path: Path, environ: Mapping[str, str]) -> tuple[str, Settings, list[str], bool]:
    """The text with a new key if it has none, what it says, and whether the key is new.

    Before the key is put in, the rest is read once: an error has to give the numbers of the lines as they stand, since
    nothing is written then. A warning gives those of the text with the key.
    """
    generate = not _keyed(text, path, environ)
    if generate:
        key = secrets.token_hex(16)
        _build(text, path, {**environ, KEY_VARIABLE: key})
        text = settings_file.with_key(text, settings_file.parse(text, path), key)
    return text, *_build(text, path, environ), generate


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
    values: dict[str, dict[str, str]] = {
        section: {} for section in [*_SECTIONS, *document.sections] if _model(section) is not None
    }
    places: dict[tuple[str, str], str] = {}
    for (section, key), entry in document.entries.items():
        model = _model(section)
        if model is not None and key in _keys(model):
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
        agents = {name.removeprefix(_AGENT): own for name, own in values.items() if name not in _SECTIONS}
        settings = Settings.model_validate({name: values[name] for name in _SECTIONS} | {"agents": agents})
    except ValidationError as error:
        raise _bad_value(error, values, places) from None
    _check_agents(settings, document, path)
    return settings, _unknown_in_file(document, path) + _unknown_variables(environ) + _doubtful(settings)


def _model(section: str) -> type[_Section] | None:
    """What the keys of a section are; None for a section that is not known."""
    return AgentSettings if section.startswith(_AGENT) else _SECTIONS.get(section)


def _check_agents(settings: Settings, document: Document, path: Path) -> None:
    """Raises SettingsError for two sections of one agent, and for agents that have their tools from each other."""
    holders: dict[str, str] = {}
    for name in settings.agents:
        for id_ in agent_ids(name):
            first = holders.setdefault(id_, name)
            if first != name:
                where = f"{path}: line {document.sections[_AGENT + name]}: [{_AGENT}{name}]"
                en = f"is the agent of [{_AGENT}{first}] again; keep one of the two sections"
                raise SettingsError(where, en, f"与 [{_AGENT}{first}] 是同一个智能体，请只保留一节")
    sources = {
        name: [holders.get(id_, id_) for source in agent.tools_from for id_ in agent_ids(source)]
        for name, agent in settings.agents.items()
    }
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][::-1]
        where = (
            f"{path}: line {document.entries[_AGENT + circle[0], 'tools_from'].line}: [{_AGENT}{circle[0]}] tools_from"
        )
        told = " → ".join(circle)
        en = f"goes round in a circle: {told}; take one of them out"
        raise SettingsError(where, en, f"形成了循环：{told}，请去掉其中一个") from None


def _bad_value(
    error: ValidationError, values: dict[str, dict[str, str]], places: dict[tuple[str, str], str]
) -> SettingsError:
    """The first bad value as one line. Of a URL the parts that may be secret are left out, of the key all."""
    first = error.errors()[0]
    *_, section, key = (str(part) for part in first["loc"][: 3 if first["loc"][0] == "agents" else 2])
    section = _AGENT + section if first["loc"][0] == "agents" else section
    shown = re.sub(r"//[^/\s]*@", "//…@", re.sub(r"(?<=[?#]).+", "…", values[section][key]))
    shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
    value = "(hidden)" if key == "key" else f"'{shown}'"
    cause = first.get("ctx", {}).get("error")
    en, zh = (cause.en, cause.zh) if isinstance(cause, NotAllowedError) else (first["msg"], first["msg"])
    return SettingsError(f"{places[section, key]} = {value}", f"allowed is {en}", f"应为：{zh}")


def _nearest(word: str, known: list[str]) -> list[str]:
    """The known word that was probably meant, else all of them."""
    return difflib.get_close_matches(word, known, 1) or known


def _nearest_section(section: str) -> list[str]:
    word, _, name = section.partition(" ")
    if name and difflib.get_close_matches(word, ["agent"]):
        return [f"[agent {name}]"]
    return [f"[{ANY_AGENT if near == 'agent' else near}]" for near in _nearest(section, [*_SECTIONS, "agent"])]


def _unknown_in_file(document: Document, path: Path) -> list[str]:
    warnings = []
    for section, line in document.sections.items():
        if _model(section) is None:
            warnings.append(_unknown(f"{path}: line {line}: [{section}]", _nearest_section(section)))
    for (section, key), entry in document.entries.items():
        model = _model(section)
        if model is not None and key not in _keys(model):
            elsewhere = [f"[{name}] {key}" for name, other in _SECTIONS.items() if key in _keys(other)]
            elsewhere += [f"[{ANY_AGENT}] {key}"] if key in _AGENT_KEYS else []
            near = elsewhere or _nearest(key, list(_keys(model)))
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
    """What is allowed, yet will surprise."""
    return _refused_url(settings) + _refused_names(settings)


def _refused_names(settings: Settings) -> list[str]:
    """New names of tools for which a model's API refuses a request of an MCP client."""
    if settings.mcp.ascii_names:
        return []
    en = (
        "the APIs of most models refuse such a name, and the request with it: an MCP client over HTTP needs letters, "
        "digits, _ and -, at most 64; [mcp] ascii_names = true gives those clients other names (Xiaozhi takes it)"
    )
    zh = (
        "多数模型接口会拒绝这样的名称及整个请求：HTTP MCP 客户端的工具名只能用字母、数字、_ 和 -，最长 64 个字符；"
        "[mcp] ascii_names = true 会为这些客户端改用别名（小智可以使用）"
    )
    return [
        str(SettingsError(f"[{_AGENT}{name}] rename: {tool}: {new}", en, zh))
        for name, own in settings.agents.items()
        for tool, new in own.rename.items()
        if not is_model_name(new)
    ]


def _refused_url(settings: Settings) -> list[str]:
    """A public URL that the single-module Xiaozhi server refuses, and so every endpoint that begins with it."""
    url = settings.server.public_url
    words = [word for word in ("key", "call") if word in url.lower()]
    if not words:
        return []
    en = f"contains '{words[0]}', and a single-module Xiaozhi server refuses every endpoint URL that does"
    zh = f"包含“{words[0]}”，单模块部署的小智服务会拒绝含有该词的接入点地址"
    return [str(SettingsError(f"[server] public_url = '{url}'", en, zh))]
