"""The settings: every section and key with its default, its unit and one line of documentation.

They come from an INI file (its dialect: file.py), over that from `MCP_ENDPOINT_<SECTION>__<KEY>` variables.
A default is spelled as in the file and read by the same rule; the documentation is checked against `describe()`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic.fields import FieldInfo

from mcp_endpoint.language import Language
from mcp_endpoint.settings import values as settings_values
from mcp_endpoint.settings.values import GB, Network
from mcp_endpoint.tokens import agent_ids
from mcp_endpoint.wire.mcp import ASKS

ENVIRONMENT_PREFIX = "MCP_ENDPOINT_"
KEY_VARIABLE = "MCP_ENDPOINT_SERVER__KEY"
LANGUAGE_VARIABLE = "MCP_ENDPOINT_BROKER__LANGUAGE"
SHIPPED_NAME = "mcp-endpoint-server.cfg"

LogLevel = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
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
        "4MB", "a longer result is cut for devices, behind a sentence", "发给设备的结果的大小上限，超出时在句末截断"
    )
    budget_tools: _CountOrZero = _key(
        "128", "more tools than this are warned of; 0 = never", "工具多于此数时给出警告，0 表示不警告"
    )
    budget_bytes: _Size = _key("256KB", "a longer list of tools is warned of", "工具列表大于此值时给出警告")
    ask_clients: Annotated[tuple[str, ...], settings_values.some_of(*ASKS.values())] = _key(
        "",
        "what tool sides may ask MCP clients for: sampling, elicitation, roots",
        "允许工具端向 MCP 客户端请求的能力：sampling、elicitation、roots",
    )
    drop_empty: _Flag = _key(
        "false",
        "leave out optional arguments that are null or empty where a tool does not allow them",
        "可选参数为 null 或空文本而工具不接受时，将其省略",
    )


class AgentSettings(BrokerSettings):
    """What one agent has of its own, in a section `[agent ID-or-name]`.

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
    """What browsers and those without a token may do."""

    allowed_origins: Annotated[list[str], settings_values.origins()] = _key(
        "*", "* or a list such as https://a.example.com, https://b", "允许的来源（Origin），* 或以逗号分隔的列表"
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
        "most of one address; a refused one counts for eleven; 0 = no limit",
        "每个地址每分钟的握手上限，被拒绝的按十一次计，0 表示不限",
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


def keys_of(model: type[_Section]) -> dict[str, FieldInfo]:
    """What may stand in a section."""
    return {about.alias or name: about for name, about in model.model_fields.items()}


SECTIONS: dict[str, type[_Section]] = {
    "server": ServerSettings,
    "websocket": WebSocketSettings,
    "broker": BrokerSettings,
    "security": SecuritySettings,
    "mcp": McpSettings,
    "jobs": JobSettings,
    "logging": LoggingSettings,
}
KEYS = {section: keys_of(model) for section, model in SECTIONS.items()}
VARIABLES = {
    f"{ENVIRONMENT_PREFIX}{section}__{key}".upper(): (section, key) for section, keys in KEYS.items() for key in keys
}
AGENT_PREFIX = "agent "
ANY_AGENT = "agent ID-or-name"
"""How the section of an agent is called where no certain one is meant."""
AGENT_KEYS = [key for key in AgentSettings.model_fields if key not in BrokerSettings.model_fields]


def describe(language: Language = "en") -> list[tuple[str, str, str, str]]:
    """(section, key, default as the file spells it, one line of documentation) of every key, in the file's order."""
    return [
        (section, key, *_described(about, language)) for section, keys in KEYS.items() for key, about in keys.items()
    ]


def describe_agent(language: Language = "en") -> list[tuple[str, str, str]]:
    """(key, default, one line of documentation) of every key of an agent's section that [broker] does not have."""
    return [(key, *_described(AgentSettings.model_fields[key], language)) for key in AGENT_KEYS]


def _described(about: FieldInfo, language: Language) -> tuple[str, str]:
    extra = about.json_schema_extra
    line = str(extra["zh"]) if language == "zh" and isinstance(extra, dict) else about.description or ""
    return "" if about.is_required() else str(about.default), line


def model_of(section: str) -> type[_Section] | None:
    """What the keys of a section are; None for a section that is not known."""
    return AgentSettings if section.startswith(AGENT_PREFIX) else SECTIONS.get(section)
