"""JSON-RPC error codes, and why a request failed."""

from enum import Enum, IntEnum

from mcp_endpoint.language import Bilingual


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
        "没有可以询问 {ability} 的客户端：需要恰好一个支持它、且正在调用本工具端的客户端，且配置项 ask_clients 允许。",
        "There is no client to ask for {ability}: it takes just one that offers it and has a call in flight here, and "
        "ask_clients in the settings must allow it.",
    )
    RESULT_NOT_KEPT = (
        Code.TOOL_SIDE_FAILED,
        "{name} 的结果有 {size} 字节，而客户端不在时最多保留 {limit} 字节（配置项 replay_buffer），请重新调用。",
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
        return Bilingual(self.zh, self.en).to(language).format(**facts)
