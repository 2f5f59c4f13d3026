"""Why an agent is as it is: the one place that puts its state into sentences, in Chinese and English.

The sentence is the `details` of what a device is told, a field of `/stats`, a log line when it changes, and what
`doctor` prints. It names tool sides of the agent, never peers of another one.
"""

from dataclasses import dataclass
from enum import Enum

from mcp_endpoint.broker.agent_state.agent_state import AgentState
from mcp_endpoint.broker.broker_state import PROVIDER
from mcp_endpoint.broker.offers.naming import slug
from mcp_endpoint.broker.offers.tool_filter import Unmatched
from mcp_endpoint.broker.tool_side.program import Registration, ToolProgram
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.language import Bilingual
from mcp_endpoint.wire.mcp import Kind

DAY = 86_400.0
MOST_NAMED = 3
"""Definitions of one program that a sentence names."""


class State(Enum):
    """What can be said about an agent: (Chinese, English). Those that explain most come first."""

    def __init__(self, zh: str, en: str) -> None:
        self.zh = zh
        self.en = en

    DEVICE_ON_TOOL_DOOR = (
        "有设备端程序连到了工具端地址（/mcp/），设备端应使用 /call/ 地址",
        "a device program is connected to the tool URL (/mcp/); it needs the one with /call/",
    )
    JUNK_ON_STDOUT = (
        "工具程序 {name} 已连接 {for_zh}，但没有完成 {asked}：它的输出不是 JSON-RPC（程序在往标准输出打印内容），"
        "日志请写到 stderr",
        "the tool program {name} is connected, but has not finished `{asked}` for {for_en}: its output is not "
        "JSON-RPC (it prints to stdout); logs belong on stderr",
    )
    GBK = (
        "工具程序 {name} 的输出不是 UTF-8（GBK？），它的应答无法读取，请让它输出 UTF-8（Python 程序可设置 "
        "PYTHONUTF8=1）",
        "the tool program {name} sends text that is not UTF-8 (GBK?), so its answers cannot be read; make it write "
        "UTF-8 (for Python set PYTHONUTF8=1)",
    )
    NOT_UTF8 = (
        "工具程序 {name} 的输出不是 UTF-8（Latin-1？），它的应答无法读取，请让它输出 UTF-8",
        "the tool program {name} sends text that is not UTF-8 (Latin-1?), so its answers cannot be read; make it write "
        "UTF-8",
    )
    ECHOES = (
        "工具程序 {name} 把收到的内容原样发了回来：它是否运行在终端里（docker run -t、ssh -t）？请去掉 -t",
        "the tool program {name} sends back what it is sent: does it run in a terminal (docker run -t, ssh -t)? Leave "
        "out the -t",
    )
    BROKEN_JSON = (
        "工具程序 {name} 发送的消息不是有效的 JSON，无法读取的应答会立即以错误结束，请查看它的日志",
        "the tool program {name} sends frames that are not valid JSON, and what cannot be read ends with an error at "
        "once; see its log",
    )
    REFUSED_INITIALIZE = (
        "工具程序 {name} 已连接，但拒绝了 initialize，请查看它的日志",
        "the tool program {name} is connected, but answered `initialize` with an error; see its log",
    )
    SERVER_FAILED = (
        "由本服务启动的 {name} 不可用：{why_zh}，详情见 servers 命令",
        "{name}, which the broker opens itself, does not serve: {why_en}; `main.py servers` says more",
    )
    STUCK = (
        "工具程序 {name} 已连接 {for_zh}，但没有回应 {asked}，请确认它是 MCP 服务、桥接的子进程已经启动",
        "the tool program {name} has been connected for {for_en} without answering `{asked}`; check that it is an "
        "MCP server and that the bridge has started it",
    )
    STARTING = (
        "工具程序 {name} 于 {for_zh}前连接，正在初始化",
        "the tool program {name} connected {for_en} ago and is starting",
    )
    NOT_ANSWERING = (
        "工具程序 {name} 已连接，但 {for_zh}没有任何应答",
        "the tool program {name} is connected, but nothing was heard from it for {for_en}",
    )
    OFFLINE = (
        "{name} 在 {for_zh}前离线：{why_zh}（{code}）{returns_zh}，请检查该程序是否还在运行",
        "{name} went offline {for_en} ago: {why_en} ({code}){returns_en}; check that its program is running",
    )
    TOOL_ON_DEVICE_DOOR = (
        "有程序连到了设备端地址（/call/）却一直没有发送消息：工具程序应使用 /mcp/ 地址",
        "a program is connected to the device URL (/call/) and says nothing; a tool program needs the one with /mcp/",
    )
    NEVER = (
        "自服务启动以来还没有工具程序用这个接入点{sources_zh}连接过，请启动工具程序并检查它的接入点地址",
        "no tool program has ever connected with this token{sources_en} since the broker started; start one and check "
        "its URL",
    )
    TOKENS_REFUSED = (
        "最近有 {count} 次连接的 token 无法解密：是用另一个密钥生成的吗？",
        "lately {count} connections came with a token that does not decrypt: is it from another key?",
    )
    LOOK_ALIKE = (
        "有多个程序都像 {name}，新的提供服务，其余待命；如需同时使用，请在各自地址后加上不同的 ?server_id=",
        "more than one program looks like {name}: the newest serves, the others stand by; to use both, "
        "add a different ?server_id= to each URL",
    )
    TOO_MANY_TOOLS = (
        "{name} 的工具超出上限，{count}没有列出：可在它的条目中用 tools.allow 选出需要的"
        "（OpenAPI 文档还可用 tags、operations、methods），或调大 [broker] max_tools、max_list_bytes、max_pages",
        "{name} has more tools than the limits allow, and {count_en} not listed: choose with tools.allow in its entry "
        "(of an OpenAPI document also with tags, operations or methods), or raise [broker] max_tools, max_list_bytes, "
        "max_pages",
    )
    LIST_TOO_LONG = (
        "工具列表共 {bytes} 字节，一页放不下：只读第一页的程序看不到其余工具，可在 [agent …] 中用 allow 选出需要的",
        "the tool list has {bytes} bytes and needs several pages: a program that reads only the first misses the rest; "
        "`allow` in an [agent …] section chooses the tools that are needed",
    )
    OVER_BUDGET = (
        "共 {count} 个工具、{bytes} 字节，模型可能难以选择：可在 [agent …] 中用 allow 选出需要的",
        "{count} tools with {bytes} bytes are more than a model chooses well from: `allow` in an [agent …] section "
        "chooses those that are needed",
    )
    LIST_FAILED = (
        "{name} 对 tools/list 没有给出列表（没有应答、出错或格式不对），它的工具都没有列出，请查看它的日志",
        "{name} answered `tools/list` with an error, with no list or not at all, so none of its tools are listed; see "
        "its log",
    )
    LIST_BROKEN_OFF = (
        "{name} 的列表后续各页重复、为空或出错，只列出了之前的内容，请检查它的分页（nextCursor）",
        "{name} lists the same again, nothing or an error page after page: what came first is taken for all there is; "
        "check its `nextCursor`",
    )
    SETTINGS_UNMATCHED = (
        "配置中的 {what_zh} 没有匹配到任何工具（工具可能已改名），现有工具：{known}，请修改 [agent …]",
        "the settings have {what_en}, which fits no tool that is there (was one renamed?): there are {known}; change "
        "the [agent …] section",
    )
    ENTRY_UNMATCHED = (
        "{name} 的条目（mcp_servers.json）中 tools 的 {what_zh} 没有匹配到它的任何工具（工具可能已改名），"
        "现有工具：{known}",
        "{name} has an entry in mcp_servers.json whose tools.{what_en} fits no tool of it (was one renamed?): there "
        "are {known}",
    )
    DEFINITIONS_LEFT_OUT = (
        "{name} 的 {count} 项定义无法使用，没有列出：{what_zh}；其余照常，请修正该程序",
        "{name} has definitions that cannot be used and are left out ({count}): {what_en}; the others serve",
    )
    DEFINITIONS_MENDED = (
        "{name} 的 {count} 项定义有误，已按其含义修正后列出：{what_zh}",
        "{name} has definitions that were mended before they are shown ({count}): {what_en}",
    )
    PRINTS = (
        "{name} 在往标准输出打印内容，这些内容已被丢弃，日志请写到 stderr",
        "{name} prints to stdout, and what it prints is dropped; logs belong on stderr",
    )
    SERVING = (
        "{programs} 个工具程序在线，共 {tools} 个工具",
        "tool programs connected: {programs}, tools: {tools}",
    )


_UNREADABLE = {
    Note.GBK: State.GBK,
    Note.NOT_UTF8: State.NOT_UTF8,
    Note.ECHOES: State.ECHOES,
    Note.BROKEN_JSON: State.BROKEN_JSON,
}
_ON_A_LIVE_LINK = {
    Note.LOOK_ALIKE: State.LOOK_ALIKE,
    Note.TOO_MANY_TOOLS: State.TOO_MANY_TOOLS,
    Note.LIST_FAILED: State.LIST_FAILED,
    Note.LIST_BROKEN_OFF: State.LIST_BROKEN_OFF,
    Note.PRINTS_TO_STDOUT: State.PRINTS,
    **_UNREADABLE,
}
_ON_A_LINK_THAT_DOES_NOT_SERVE = {
    Note.DEVICE_ON_TOOL_DOOR: State.DEVICE_ON_TOOL_DOOR,
    **_UNREADABLE,
    Note.REFUSED_INITIALIZE: State.REFUSED_INITIALIZE,
    Note.PRINTS_TO_STDOUT: State.JUNK_ON_STDOUT,
}
_ORDER = {state: rank for rank, state in enumerate(State)}

Part = tuple[State, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Why:
    """An agent's state. `key` is equal as long as the state is, whatever time passes."""

    reason: str
    zh: str
    en: str
    key: tuple[object, ...]

    def sentence(self, language: str) -> str:
        """The explanation in "zh" or "en"."""
        return Bilingual(self.zh, self.en).to(language)


def explain(agent: AgentState, now: float) -> Why:
    """Why `agent` is as it is; the most telling part first."""
    parts = [part for tool in agent.all_tools() if (part := _of_link(tool, now)) is not None]
    troubles = agent.troubles()
    parts += [(State.SERVER_FAILED, {"name": alias, "why_zh": one.zh, "why_en": one.en}) for alias, one in troubles]
    told = {alias for alias, _ in troubles}
    parts += [
        _of_registration(registration, now)
        for registration in agent.registrations_away()
        if registration.alias not in told
    ]
    live = agent.live_tools()
    for tool in live:
        notes = set(tool.notes)
        if tool.registration is None or not tool.registration.standby:
            notes.discard(Note.LOOK_ALIKE)  # its look-alike is gone
        if not tool.lists[Kind.TOOLS].failures:
            notes.discard(Note.LIST_FAILED)  # it was asked again, and answered
        facts: dict[str, object] = {"name": tool.name, **_not_taken(tool.lists[Kind.TOOLS].not_taken)}
        parts += [(state, facts) for note, state in _ON_A_LIVE_LINK.items() if note in notes]
        parts += _of_definitions(tool)
        parts += _of_unmatched(State.ENTRY_UNMATCHED, tool.unmatched, tool.name)
    if live:
        parts += _of_unmatched(State.SETTINGS_UNMATCHED, agent.unmatched())
        tools = agent.catalogue[Kind.TOOLS]
        parts.append((State.SERVING, {"programs": len(live), "tools": len(tools.entries)}))
        count, size = len(tools.entries), sum(len(raw) for _, raw in tools.definitions)
        if len(tools.pages()) > 1:
            parts.append((State.LIST_TOO_LONG, {"bytes": size}))
        elif 0 < agent.limits.budget_tools < count or size > agent.limits.budget_bytes:
            parts.append((State.OVER_BUDGET, {"count": count, "bytes": size}))
    else:
        if any(Note.SILENT_ON_DEVICE_DOOR in device.notes for device in agent.devices):
            parts.append((State.TOOL_ON_DEVICE_DOOR, {}))
        if not parts:
            parts.append(_of_nobody(agent, now))
        refused = agent.broker.bad_tokens.lately(now)
        if refused:
            parts.append((State.TOKENS_REFUSED, {"count": refused}))
    return _joined(sorted(parts, key=lambda part: _ORDER[part[0]]))


def _of_definitions(tool: ToolProgram) -> list[Part]:
    """What is wrong with the definitions of a tool side, the first few by name."""
    remarks = [fetch.remarks for fetch in tool.lists.values()]
    told = [remark for one in remarks for remark in one.told]
    parts: list[Part] = []
    for state, left_out, count in (
        (State.DEFINITIONS_LEFT_OUT, True, sum(one.left_out for one in remarks)),
        (State.DEFINITIONS_MENDED, False, sum(one.mended for one in remarks)),
    ):
        shown = [remark for remark in told if remark.left_out is left_out][:MOST_NAMED]
        more = " …" if count > len(shown) else ""
        if count:
            what_zh = "、".join(remark.words("zh") for remark in shown) + more
            what_en = ", ".join(remark.words("en") for remark in shown) + more
            parts.append((state, {"name": tool.name, "count": count, "what_zh": what_zh, "what_en": what_en}))
    return parts


def _of_unmatched(state: State, unmatched: Unmatched, name: str = "") -> list[Part]:
    """What settings say of tools that are not there, the first few of them."""
    if not unmatched.what:
        return []
    what, more = unmatched.what[:MOST_NAMED], len(unmatched.what) > MOST_NAMED
    zh, en = "、".join(what) + " …" * more, ", ".join(what) + " …" * more
    return [(state, {"name": name, "what_zh": zh, "what_en": en, "known": ", ".join(unmatched.known) or "-"})]


def _not_taken(count: int) -> dict[str, object]:
    if not count:
        return {"count": "多出的", "count_en": "the rest is"}
    return {"count": f"有 {count} 个", "count_en": f"{count} {'is' if count == 1 else 'are'}"}


def _of_nobody(agent: AgentState, now: float) -> Part:
    """What there is to say when there is neither a link nor a registration: of the one given up last, if any."""
    given_up = [one.last_registration for one in (agent, *agent.sources) if one.last_registration is not None]
    if given_up:
        return _of_registration(max(given_up, key=lambda registration: registration.gone_at), now)
    others = any(not source.id.startswith(PROVIDER) for source in agent.sources)
    return State.NEVER, {
        "sources_zh": "或 tools_from 中各智能体的接入点" if others else "",
        "sources_en": ", nor with those of the agents in tools_from," if others else "",
    }


def explain_registration(registration: Registration, now: float) -> Why:
    """Why the tool side of a registration cannot be called."""
    return _joined([_of_registration(registration, now)])


def _of_link(tool: ToolProgram, now: float) -> Part | None:
    """What keeps a link from serving."""
    # What a program calls itself before it has an alias is its own words.
    facts: dict[str, object] = {"name": tool.name and slug(tool.name)} | _for(now - tool.opened)
    facts["asked"] = "initialize" if tool.info is None else "tools/list"
    if tool.registration is not None:
        return (State.NOT_ANSWERING, facts | _for(now - tool.heard)) if tool.doubted else None
    for note, state in _ON_A_LINK_THAT_DOES_NOT_SERVE.items():
        if note in tool.notes:
            return state, facts
    if tool.lists[Kind.TOOLS].settled:
        return None  # it promised no tools, and is asked all the same
    # The same sum as its deadline's: a difference may be a hair smaller at that very moment, and nobody looks again.
    return State.STUCK if now >= tool.opened + tool.agent.limits.tools_wait else State.STARTING, facts


def _of_registration(registration: Registration, now: float) -> Part:
    end = registration.gone
    assert end is not None, "a tool side is away after its link has ended"
    returns = sum(now - moment < DAY for moment in registration.returns)
    return State.OFFLINE, {
        "name": registration.alias,
        "why_zh": end.end.zh,
        "why_en": end.end.en,
        "code": end.code,
        "returns_zh": f"，今天已重连 {returns} 次" if returns else "",
        "returns_en": f"; it has reconnected {'once' if returns == 1 else f'{returns} times'} today" if returns else "",
    } | _for(now - registration.gone_at)


def _for(seconds: float) -> dict[str, object]:
    return {"for_zh": duration(seconds, "zh"), "for_en": duration(seconds, "en")}


def _joined(parts: list[Part]) -> Why:
    zh = [state.zh.format(**facts | {"name": facts.get("name") or "（未报名称）"}) for state, facts in parts]
    en = [state.en.format(**facts | {"name": facts.get("name") or "(no name yet)"}) for state, facts in parts]
    key = tuple(
        (state, *(facts.get(fact) for fact in ("name", "programs", "tools", "why_en", "what_en")))
        for state, facts in parts
    )
    first = parts[0][0]
    if not first.en.startswith("{name}"):  # a name is spelled as its program spells it
        en[0] = en[0][:1].upper() + en[0][1:]
    return Why(first.name.lower(), _sentence(zh, "；", "。"), _sentence(en, "; ", "."), key)


def _sentence(clauses: list[str], comma: str, stop: str) -> str:
    """The clauses as one sentence; a question, which comes last if there is one, ends itself."""
    return comma.join(clauses) + ("" if clauses[-1].endswith(("？", "?")) else stop)


def duration(seconds: float, language: str) -> str:
    """A length of time as a person says it: "12 min", "12 分钟"."""
    for size, zh, en in ((86_400, "天", "d"), (3_600, "小时", "h"), (60, "分钟", "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {zh if language == 'zh' else en}"
    return f"{max(seconds, 1):.0f} {'秒' if language == 'zh' else 's'}"
