"""Every JSON-RPC code, close code and typed reason there is, in one table.

Three kinds of bad ends exist. A **request** ends with a `Fault`: its JSON-RPC code, its machine-readable reason (the
member's name in lower case, sent as `error.data.reason`) and a sentence a device may read out, in Chinese and English.
A **link** ends with an `End`: the WebSocket close code and the text on the wire, and the words log and `/stats` use.
A **connection** that is no link yet, or an HTTP **request** that is not taken, ends with a `Refusal`: an HTTP status,
and words for its answer, log and `/stats`.
Clients know the codes and the texts on the wire already (docs/protocol.md, sections 3.2, 4.6 and 5.1).
"""

from enum import Enum, IntEnum


class Worded(Enum):
    """A row of a table that people read: Chinese and English words, to stand inside a sentence."""

    def __init__(self, zh: str, en: str) -> None:
        self.zh = zh
        self.en = en
        self.reason = self.name.lower()
        """For programs."""

    def words(self, language: str) -> str:
        """The words in `language` ("zh" or "en")."""
        return self.zh if language == "zh" else self.en


class Code(IntEnum):
    """JSON-RPC error codes (docs/protocol.md, section 4.6)."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    NO_TOOL_SIDE = -32001
    NOT_SENT = -32002
    TOOL_SIDE_FAILED = -32003
    NOT_ALLOWED = -32004
    # MCP's own since 2026-07-28 (basic/index, "Error Codes"); only its stateless clients ever see them.
    HEADER_MISMATCH = -32020
    MISSING_CAPABILITY = -32021
    UNSUPPORTED_VERSION = -32022


MESSAGES: dict[Code, str] = {
    Code.PARSE_ERROR: "Parse error",
    Code.INVALID_REQUEST: "Invalid request",
    Code.METHOD_NOT_FOUND: "Method not found",
    Code.INVALID_PARAMS: "Invalid params",
    Code.INTERNAL_ERROR: "工具端返回了无效的应答",
    Code.NO_TOOL_SIDE: "工具端未连接",
    Code.NOT_SENT: "转发消息失败",
    Code.TOOL_SIDE_FAILED: "工具端超时或已断开",
    Code.NOT_ALLOWED: "不允许的请求",
    Code.HEADER_MISMATCH: "Header mismatch",
    Code.MISSING_CAPABILITY: "Missing required client capability",
    Code.UNSUPPORTED_VERSION: "Unsupported protocol version",
}
"""`error.message` per code. Clients know those of -32001 and -32002; the rest is what JSON-RPC or users expect."""


class Fault(Enum):
    """Why a request got an error: (code, Chinese sentence, English sentence); `{…}` is filled in by the broker."""

    def __new__(cls, *_: object) -> "Fault":
        """Number the members: two with equal sentences are still two."""
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        return member

    def __init__(self, code: Code, zh: str, en: str) -> None:
        self.code = code
        self.zh = zh
        self.en = en
        self.reason = self.name.lower()

    NOT_JSON = (Code.PARSE_ERROR, "消息不是有效的 JSON。", "The message is not valid JSON.")
    UNREADABLE = (
        Code.PARSE_ERROR,
        "消息不是有效的 JSON：{why}。",
        "The message cannot be read: {why}.",
    )
    NOT_A_REQUEST = (
        Code.INVALID_REQUEST,
        "消息不是有效的 JSON-RPC 2.0 请求：{why}。",
        "The message is not a JSON-RPC 2.0 request: {why}.",
    )
    ID_IN_FLIGHT = (
        Code.INVALID_REQUEST,
        "编号 {id} 的请求仍在处理中，请换一个编号。",
        "A request with id {id} is still in flight; use another id.",
    )
    NO_SUCH_METHOD = (Code.METHOD_NOT_FOUND, "没有名为 {method} 的方法。", "There is no method {method}.")
    METHOD_NOT_ANSWERED = (
        Code.METHOD_NOT_FOUND,
        "工具端 {tool_side} 没有回应方法 {called}。",
        "The tool side {tool_side} did not answer the method {called}.",
    )
    DEVICE_ON_TOOL_DOOR = (
        Code.METHOD_NOT_FOUND,
        "这是工具端的地址（/mcp/），设备端请使用 /call/ 地址。",
        "This is the URL for tool programs (/mcp/); a device or client uses the one with /call/.",
    )
    NOBODY_TO_ASK = (
        Code.METHOD_NOT_FOUND,
        "没有可以询问 {ability} 的客户端：需要恰好一个支持它、且正在调用本工具端的客户端，并由设置 ask_clients 允许。",
        "There is no client to ask for {ability}: it takes just one that offers it and has a call in flight here, and "
        "ask_clients in the settings must allow it.",
    )
    RESULT_NOT_KEPT = (
        Code.TOOL_SIDE_FAILED,
        "{name} 的结果有 {size} 字节，而客户端不在时最多保留 {limit} 字节（设置 replay_buffer），请重新调用。",
        "The result of {name} has {size} bytes; while its client is away at most {limit} are kept (replay_buffer). "
        "Call it again.",
    )
    TOO_MANY_QUESTIONS = (
        Code.NOT_SENT,
        "这个工具端等待客户端回答的请求已达上限 {limit}。",
        "This tool side already has {limit} requests that wait for answers of clients, its limit.",
    )
    LACKS_ABILITY = (
        Code.MISSING_CAPABILITY,
        "该工具需要客户端支持 {ability}，而客户端没有声明。",
        "This tool needs {ability} of its client, which did not say that it offers it.",
    )
    NO_ANSWER = (
        Code.NOT_SENT,
        "客户端没有回答：它的调用已结束，或回答无效。",
        "The client gave no answer: its call is over, or what it said was none.",
    )
    BAD_PARAMS = (
        Code.INVALID_PARAMS,
        "请求的 params 有误：缺少 {member}，或其值无效。",
        "The params of the request are wrong: {member} is missing, or is not what it has to be.",
    )
    UNKNOWN_TOOL = (
        Code.INVALID_PARAMS,
        "没有名为 {tool} 的工具。现有工具：{known}。{why}",
        "There is no tool {tool}. There are: {known}. {why}",
    )
    UNKNOWN_PROMPT = (Code.INVALID_PARAMS, "没有名为 {prompt} 的提示词。", "There is no prompt {prompt}.")
    UNKNOWN_RESOURCE = (Code.INVALID_PARAMS, "没有资源 {uri}。", "There is no resource {uri}.")
    UNKNOWN_TASK = (
        Code.INVALID_PARAMS,
        "没有编号为 {task} 的任务，它可能已过期。",
        "There is no task {task}; it may have expired.",
    )
    BAD_CURSOR = (
        Code.INVALID_PARAMS,
        "分页游标无效，请重新获取列表。",
        "The cursor is not valid; list again from the start.",
    )
    NEVER_CONNECTED = (Code.NO_TOOL_SIDE, "{why}", "{why}")
    TOOL_SIDE_STARTING = (Code.NO_TOOL_SIDE, "{why}", "{why}")
    TOOL_SIDE_OFFLINE = (Code.NO_TOOL_SIDE, "{why}", "{why}")
    TOO_MANY_CALLS = (
        Code.NOT_SENT,
        "这个智能体同时进行的调用已达上限 {limit}，请稍后再试。",
        "This agent already has {limit} calls in flight, its limit; try again shortly.",
    )
    TOO_MANY_SUBSCRIPTIONS = (
        Code.NOT_SENT,
        "这个连接的资源订阅已达上限 {limit}，请先取消一些订阅。",
        "This session is subscribed to {limit} resources, its limit; end some of its subscriptions first.",
    )
    CALL_TIMED_OUT = (
        Code.TOOL_SIDE_FAILED,
        "工具端 {tool_side} 在 {seconds} 秒内没有返回 {called} 的结果{zh}。",
        "The tool side {tool_side} did not answer {called} within {seconds} s{en}.",
    )
    TASK_NOT_OVER = (
        Code.TOOL_SIDE_FAILED,
        "任务 {called} 在 {seconds} 秒内没有结束，请稍后再问。",
        "The task {called} was not over within {seconds} s; ask again later.",
    )
    TOOL_SIDE_LOST = (
        Code.TOOL_SIDE_FAILED,
        "工具端 {tool_side} 在处理 {tool} 时断开（{why}），请稍后再试。",
        "The tool side {tool_side} went away during {tool} ({why}); try again shortly.",
    )
    RESULT_TOO_LARGE = (
        Code.TOOL_SIDE_FAILED,
        "工具 {tool} 的结果太大（{size} 字节，上限 {limit}）。",
        "The result of {tool} is too large ({size} bytes, the limit is {limit}).",
    )
    MALFORMED_ANSWER = (
        Code.INTERNAL_ERROR,
        "工具端 {tool_side} 对 {tool} 的应答无效（应当只有 result 或 error 之一）。",
        "The tool side {tool_side} answered {tool} badly (exactly one of result and error is due).",
    )
    UNREADABLE_ANSWER = (
        Code.INTERNAL_ERROR,
        "工具端 {tool_side} 对 {called} 的应答无法读取：{why}。请修正该程序。",
        "The answer of the tool side {tool_side} to {called} cannot be read: {why}. That program needs to be mended.",
    )
    BAD_KEY = (Code.NOT_ALLOWED, "提供的密钥无效或缺失", "The key is wrong or missing")

    def sentence(self, language: str, **facts: object) -> str:
        """The sentence in `language` ("zh" or "en"), with `facts` put into its places."""
        return (self.zh if language == "zh" else self.en).format(**facts)


class End(Worded):
    """Why a link ended: (close code, text in the close frame, Chinese words, English words).

    4004 is never used: one client gives up for good on it. 1006 is never sent; it stands for an end without a close
    frame (docs/protocol.md, section 5.1).
    """

    def __init__(self, code: int, wire: str, zh: str, en: str) -> None:
        super().__init__(zh, en)
        self.code = code
        self.wire = wire

    MISSING_TOKEN = (1008, "缺少token参数", "地址中没有 token", "no token in the URL")
    BAD_TOKEN = (1008, "token解密失败", "token 无法用本服务的密钥解密", "the token does not decrypt with this key")
    TWO_TOKENS = (1008, "token不一致", "请求中有多个智能体的 token", "the request shows tokens of more than one agent")
    REPLACED = (1000, "新连接替换", "被同一程序的新连接替换", "replaced by a newer connection of the same program")
    NOT_ANSWERING = (1011, "工具程序无响应", "工具程序不再应答", "the tool program does not answer any more")
    TOO_MANY_TOOL_SIDES = (1013, "工具端数量超限", "该智能体的工具端数量超限", "too many tool sides for this agent")
    TOO_MANY_DEVICES = (1013, "设备端数量超限", "该智能体的设备端数量超限", "too many devices for this agent")
    PEER_CLOSED = (1000, "", "对方关闭了连接", "closed by the peer")
    CONNECTION_LOST = (1006, "", "连接中断", "connection lost")
    PING_TIMEOUT = (1011, "心跳超时", "心跳超时", "no answer to pings")
    SLOW_READER = (1008, "接收过慢", "对方接收过慢", "the peer reads too slowly")
    SEND_OVERFLOW = (1006, "", "待发送数据超限", "too much unread data waiting for the peer")
    BINARY_FRAME = (1003, "仅支持文本帧", "对方发送了二进制帧", "the peer sent a binary frame")
    BAD_UTF8 = (1007, "无效的UTF-8", "对方发送了无效的 UTF-8", "the peer sent text that is not UTF-8")
    MESSAGE_TOO_BIG = (1009, "消息过大", "对方发送的消息过大", "the peer sent a message over the size limit")
    TOO_MANY_FRAGMENTS = (1009, "分片过多", "对方把消息分成了过多片段", "the peer sent a message in too many fragments")
    MESSAGE_TIMEOUT = (1008, "消息接收超时", "对方的消息迟迟未发完", "the peer took too long over one message")
    TOO_MUCH_UNFINISHED = (
        1013,
        "未收完的消息过多",
        "该智能体未收完的消息总量过大",
        "too much half-received data of this agent",
    )
    PROTOCOL_ERROR = (1002, "协议错误", "对方违反了 WebSocket 协议", "the peer broke the WebSocket protocol")
    SESSION_IDLE = (
        1000,
        "",
        "HTTP 会话闲置过久（[mcp] session_idle）",
        "the HTTP session was not used for too long ([mcp] session_idle)",
    )
    RESTART = (1012, "服务重启", "服务正在重启", "the broker is restarting")
    SERVER_ENDED = (1001, "", "由本服务启动的工具服务已停止", "the server that the broker opened itself has stopped")
    INTERNAL = (1011, "内部错误", "服务内部错误", "an internal error of the broker")


class Refusal(Worded):
    """Why a connection did not become a link: (HTTP status, Chinese words, English words); status 0 is no answer."""

    def __init__(self, status: int, zh: str, en: str) -> None:
        super().__init__(zh, en)
        self.status = status

    FULL = (503, "服务连接数已满（[websocket] max_connections）", "the broker is full ([websocket] max_connections)")
    ADDRESS_FULL = (
        429,
        "该地址的连接数已满（[security] max_connections_per_address）",
        "too many connections from this address ([security] max_connections_per_address)",
    )
    TOO_MANY_HANDSHAKES = (
        429,
        "该地址的握手过于频繁，请稍后再试（[security] handshakes_per_minute）",
        "too many handshakes from this address; try again later ([security] handshakes_per_minute)",
    )
    PUSHED_OUT = (
        0,
        "未完成握手的连接过多，最早的已断开（[security] max_handshakes）",
        "too many connections that are no links; the oldest was cut off ([security] max_handshakes)",
    )
    HEAD_TIMEOUT = (
        408,
        "请求头未在时限内到达（[websocket] handshake_timeout）",
        "the request's head did not arrive in time ([websocket] handshake_timeout)",
    )
    HEAD_TOO_LONG = (431, "请求头过长", "the request's head is too long")
    NOT_HTTP = (
        400,
        "不是有效的 HTTP 请求（是否对没有启用 TLS 的端口使用了 https:// 或 wss://？）",
        "not an HTTP request (is it https:// or wss:// to a port without TLS?)",
    )
    TOO_MANY_PIPELINED = (
        0,
        "未等应答就发送的请求过多，应答最早的一批后关闭",
        "too many requests without waiting for answers; the first are answered, then it is closed",
    )
    UNREAD_ANSWER = (
        0,
        "对方不读取应答（[websocket] send_timeout）",
        "the answers are not read ([websocket] send_timeout)",
    )
    NOT_GET = (405, "WebSocket 握手只能用 GET 请求", "a WebSocket is opened by GET only")
    OLD_HTTP = (505, "WebSocket 握手需要 HTTP/1.1", "a WebSocket needs HTTP/1.1")
    NO_DOOR = (404, "WebSocket 地址有误", "there is no WebSocket door at this path")
    FOREIGN_ORIGIN = (
        403,
        "不允许的来源（[security] allowed_origins）",
        "the Origin is not allowed ([security] allowed_origins)",
    )
    BAD_HANDSHAKE = (400, "WebSocket 握手无效", "not a valid WebSocket handshake")
    FOREIGN_HOST = (
        421,
        "不允许的 Host（[server] public_url、[security] allowed_hosts）",
        "the Host is none of this broker's ([server] public_url, [security] allowed_hosts)",
    )
    RESTARTING = (503, "服务正在重启，请稍后重试", "the broker is restarting; try again shortly")
    TOO_MANY_SESSIONS = (
        503,
        "HTTP 会话数已满（[mcp] max_sessions）",
        "there are too many HTTP sessions ([mcp] max_sessions)",
    )
    METHOD_NOT_TAKEN = (405, "此地址不接受该 HTTP 方法", "this URL does not take that HTTP method")
    NOT_ACCEPTABLE = (
        406,
        "Accept 不包含应答的格式：application/json，或流式应答（如 GET）所需的 text/event-stream",
        "Accept takes no answer there is: application/json, or text/event-stream where it has to stream, as for a GET",
    )
    NOT_JSON_TYPE = (415, "Content-Type 须为 application/json", "the Content-Type must be application/json")
    BODY_ENCODED = (415, "请求体不能压缩（Content-Encoding）", "the body must not be compressed (Content-Encoding)")
    BODY_TOO_BIG = (
        413,
        "请求体过大（[websocket] max_message_size）",
        "the body is too large ([websocket] max_message_size)",
    )
    BODY_TIMEOUT = (
        408,
        "请求体未在时限内到达（[websocket] message_timeout）",
        "the body did not arrive in time ([websocket] message_timeout)",
    )
    BODY_NOT_JSON = (400, "请求体不是 UTF-8 编码的 JSON", "the body is not JSON in UTF-8")
    NOT_ONE_MESSAGE = (
        400,
        "请求体须为一条 JSON-RPC 2.0 消息（仅 2025-03-26 会话可为数组）",
        "the body must be one JSON-RPC 2.0 message (an array of them for 2025-03-26 only)",
    )
    ID_IN_USE = (400, "该编号的请求仍在处理中", "a request with this id is still in flight")
    UNKNOWN_VERSION = (
        400,
        "不支持的 MCP-Protocol-Version",
        "the MCP-Protocol-Version is not supported",
    )
    NO_SESSION_ID = (
        400,
        "缺少 Mcp-Session-Id，请先发送 initialize",
        "there is no Mcp-Session-Id; send initialize first",
    )
    SESSION_BEGUN = (400, "会话已初始化，新会话请勿附带 Mcp-Session-Id", "the session is initialized already")
    UNKNOWN_SESSION = (404, "没有这个会话，请重新 initialize", "there is no such session; initialize a new one")
    UNKNOWN_SSE_SESSION = (
        404,
        "没有这个会话，请重新打开 …/sse",
        "there is no such session, or it has ended; open …/sse again",
    )
    UNKNOWN_EVENT = (
        400,
        "Last-Event-ID 无效或已过期，无法续传",
        "the Last-Event-ID is not known any more; nothing can be resumed",
    )
    NO_ENVELOPE = (
        400,
        "params._meta 缺少必需的成员或其值无效（MCP 2026-07-28）",
        "params._meta lacks what every request has to carry, or has it in a wrong form (MCP 2026-07-28)",
    )
    HEADER_MISMATCH = (
        400,
        "请求头与请求体不一致（MCP-Protocol-Version、Mcp-Method、Mcp-Name、Mcp-Param-*）",
        "a header does not agree with the body (MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Param-*)",
    )
    UNSUPPORTED_VERSION = (
        400,
        "不支持该 MCP 版本（支持的版本见 data.supported）",
        "the MCP version is not spoken here; data.supported says which are",
    )
    BAD_FILTER = (
        400,
        "subscriptions/listen 的 notifications 无效",
        "the notifications of subscriptions/listen are no such filter, or name too many resources",
    )
    UNKNOWN_STATE = (
        400,
        "requestState 未知、已使用或已过期",
        "the requestState is not known here, was used, or has expired",
    )
    REMOVED_METHOD = (
        404,
        "MCP 2026-07-28 没有这个方法",
        "the method does not exist in MCP 2026-07-28",
    )

    @property
    def code(self) -> Code:
        """What a JSON-RPC error in the body of the answer carries."""
        special = _CODES.get(self.name)
        if special is not None:
            return special
        return Code.NOT_ALLOWED if self.status in (401, 403, 421, 429, 503) else Code.INVALID_REQUEST


_CODES: dict[str, Code] = {
    "BODY_NOT_JSON": Code.PARSE_ERROR,
    "NO_ENVELOPE": Code.INVALID_PARAMS,
    "BAD_FILTER": Code.INVALID_PARAMS,
    "UNKNOWN_STATE": Code.INVALID_PARAMS,
    "HEADER_MISMATCH": Code.HEADER_MISMATCH,
    "UNSUPPORTED_VERSION": Code.UNSUPPORTED_VERSION,
    "REMOVED_METHOD": Code.METHOD_NOT_FOUND,
}
"""Refusals whose code does not follow from their status."""

STATELESS_STATUS: dict[int, int] = {
    Code.PARSE_ERROR: 400,
    Code.INVALID_REQUEST: 400,
    Code.INVALID_PARAMS: 400,
    Code.HEADER_MISMATCH: 400,
    Code.MISSING_CAPABILITY: 400,
    Code.UNSUPPORTED_VERSION: 400,
    Code.METHOD_NOT_FOUND: 404,
}
"""The status of an answer that is an error with this code, to a stateless request (2026-07-28); 200 for any other."""

HTTP_STATUS: dict[End, int] = {
    End.MISSING_TOKEN: 401,
    End.BAD_TOKEN: 401,
    End.TWO_TOKENS: 401,
    End.TOO_MANY_DEVICES: 429,
    End.TOO_MUCH_UNFINISHED: 503,
    End.RESTART: 503,
    End.INTERNAL: 500,
}
"""The status of an answer to an HTTP request that is refused, or left without its answer, for a link's reason.

Any other end of an HTTP session leaves its requests with 404, as one that is not there (specification, "Session
Management").
"""

_A_TOKEN: tuple[str, str] = (
    "；请从管理控制台重新复制该智能体的地址，或在服务所在的机器上运行 main.py token --agent 名称，"
    "token 放在地址的 ?token= 之后，或放在请求头 Authorization: Bearer 中（不使用 OAuth）",
    "; copy the agent's URL again from the management console, or run main.py token --agent NAME where the broker "
    "runs: the token belongs behind ?token= in the URL, or into the header Authorization: Bearer (there is no OAuth)",
)
ADVICE: dict[End | Refusal, tuple[str, str]] = {
    End.MISSING_TOKEN: _A_TOKEN,
    End.BAD_TOKEN: _A_TOKEN,
    End.TWO_TOKENS: (
        "；请只保留一个：地址中 ?token= 之后的，或请求头中的",
        "; leave one of them, that behind ?token= in the URL or that in a header",
    ),
}
"""What an answer over HTTP adds to a reason's words, in Chinese and English; clients show it to who set them up."""


class Note(Enum):
    """What a link's owner should know although the link goes on: (English words for the log)."""

    def __init__(self, en: str) -> None:
        self.en = en
        self.reason = self.name.lower()

    DEVICE_ON_TOOL_DOOR = "a device program is connected to the tool URL; it needs the one with /call/"
    SILENT_ON_DEVICE_DOOR = "has sent nothing: is it a tool program with the device URL? It needs the one with /mcp/"
    PRINTS_TO_STDOUT = "sends lines that are not JSON-RPC: does the program print to stdout?"
    TEXT_BESIDE_FRAMES = "prints other text on the lines of its frames (a banner, colour codes); it is left out"
    FRAMES_NOT_BY_LINE = "puts several frames on one line, or one on several lines; they are taken apart and joined"
    HALF_CHARACTERS = "sends halves of characters (lone surrogates, as in a cut emoji); each becomes U+FFFD"
    NOT_A_NUMBER = "sends NaN or Infinity, which are not JSON; they become null, or the call ends at once"
    BROKEN_JSON = "sends frames that are not valid JSON; an answer that cannot be read ends its call at once"
    UTF16 = "sends UTF-16 instead of UTF-8; it is converted"
    GBK = "sends text that is not UTF-8 (GBK?); its calls end at once. For Python set PYTHONUTF8=1"
    NOT_UTF8 = "sends text that is not UTF-8 (Latin-1?); its calls end at once"
    ECHOES = "sends back what it is sent: does it run in a terminal (docker run -t, ssh -t)?"
    IDS_RESPELLED = "answers with ids in another spelling than they were sent in; they are taken"
    ERRORS_RESPELLED = "sends errors that are none of JSON-RPC (code and message); they are made such"
    REFUSED_INITIALIZE = "answered `initialize` with an error; none of its tools are listed"
    LOOK_ALIKE = "another program looks just like it; to use both, add a different ?server_id= to each URL"
    LIST_FAILED = "answered `tools/list` with an error, with no list or not at all; none of its tools are listed"
    TOO_MANY_TOOLS = "has more tools than the limits in [broker] allow; the rest is left out"
    LIST_BROKEN_OFF = "lists the same again, nothing or an error page after page; what came first is taken for all"
