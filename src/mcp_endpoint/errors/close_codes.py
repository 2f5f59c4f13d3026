"""Why a link ended: close codes of WebSocket, and their reasons."""

from mcp_endpoint.errors.words import Worded


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
