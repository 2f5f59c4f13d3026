"""Why a connection did not become a link, or an HTTP request was not taken."""

from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.errors.words import Worded


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
