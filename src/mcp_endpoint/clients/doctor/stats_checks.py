"""What `doctor` reads out of a running broker's `/stats`: how its agents, its servers and their definitions are."""

from collections.abc import Iterable, Mapping, Sequence

from mcp_endpoint.clients.doctor.findings import Finding, good, problem, warning
from mcp_endpoint.clients.doctor.self_test import NAME
from mcp_endpoint.clients.http_get import Json
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.wire.mcp import is_model_name

SERVING = "serving"
"""The reason that `/stats` gives of an agent with nothing to explain."""

NEVER = "never"
"""That of one that nobody ever came for."""

SHOWN = 20
"""Agents, and refused addresses, that an overview shows."""


def agents(stats: Json, wanted: Sequence[str], called: str) -> list[Finding]:
    """How agents are. `wanted` are the ids that were asked for, one of which may exist; none: those in trouble."""
    known: Mapping[str, Json] = stats["agents"]
    if wanted:
        id_ = max(reversed(wanted), key=lambda one: _told(known.get(one)))
        told = known.get(id_)
        return [
            _agent(id_, told, stats, called, asked=True),
            *_cut(_definitions([told] if told else []), "项定义", "definitions"),
        ]
    found = [
        _agent(id_, report, stats, quote_peer(id_, 80), asked=False)
        for id_, report in known.items()
        if not _well(report) and not _ours(report)
    ]
    return [
        *_cut(found, "个智能体", "agents"),
        *_cut(_definitions(known.values()), "项定义", "definitions"),
        *_cut(_refused(stats), "个地址", "addresses"),
    ]


def _definitions(reports: Iterable[Json]) -> list[Finding]:
    """What is wrong with definitions of tool programs, those of no use first."""
    found = []
    for link in (link for report in reports for link in _tool_links(report)):
        for told in (one for kind in link.get("definitions", {}).values() for one in kind["told"]):
            program, name = quote_peer(str(link["alias"]), 80), quote_peer(str(told["name"]), 80)
            out = bool(told["left_out"])
            became_zh, became_en = ("无法使用，没有列出", "is left out") if out else ("已修正后列出", "was mended")
            zh = f"{program} 的 {name} {became_zh}：{quote_peer(told['zh'], 500)}。"
            en = f"{program}: {name} {became_en}: {quote_peer(told['en'], 500)}."
            found.append((not out, warning("definition", zh, en)))
    return [finding for _, finding in sorted(found, key=lambda one: one[0])]


def servers(stats: Json) -> list[Finding]:
    """What keeps servers from serving that the broker opens itself, and what is remarked on their entries."""
    found = []
    if (said := _sentence(stats.get("servers_file"))) is not None:
        zh, en = f"{said[0]}；各服务保持原样。", f"{said[1]}; the servers stay as they were."
        found.append(problem("servers", zh, en))
    for report in stats.get("servers") or []:
        name, failure = quote_peer(str(report.get("name")), 80), report.get("failure")
        if (said := _sentence(failure)) is not None:
            cause_zh, cause_en = _sentence(failure.get("cause"), 200) or ("", "")
            do_zh, do_en = _sentence(failure.get("todo")) or ("", "")
            zh = f"服务 {name}：{said[0]}" + (f"（{cause_zh}）" if cause_zh else "") + (f"；{do_zh}" if do_zh else "")
            en = f"Server {name}: {said[1]}" + (f" ({cause_en})" if cause_en else "") + (f"; {do_en}" if do_en else "")
            found.append(problem("servers", zh, en))
        elif (said := _sentence(report.get("fault"))) is not None:
            zh = f"服务 {name} 仍按原条目运行，新条目有误：{said[0]}"
            found.append(problem("servers", zh, f"Server {name} goes on as it was, its entry is not right: {said[1]}"))
        for remark in report.get("remarks") or []:
            if (said := _sentence(remark)) is not None:
                found.append(warning("servers", f"服务 {name}：{said[0]}", f"Server {name}: {said[1]}"))
    return _cut(found, "项", "findings about servers")


def refused_names(stats: Json, wanted: Sequence[str]) -> list[Finding]:
    """Names of tools that cost an MCP client over HTTP its whole request."""
    names = [str(name) for id_ in wanted for name in stats["agents"].get(id_, {}).get("tools", [])]
    refused = [quote_peer(name, 80) for name in names if not is_model_name(name)]
    if not refused:
        return []
    shown = ", ".join(refused[:SHOWN]) + (" …" if len(refused) > SHOWN else "")
    return [
        warning(
            "names",
            f"多数模型接口会拒绝这些工具名：{shown}；使用 HTTP MCP 客户端时，请设置 [mcp] ascii_names = true"
            "（小智不受影响）。",
            f"The APIs of most models refuse these names of tools: {shown}. For MCP clients over HTTP set [mcp] "
            "ascii_names = true; Xiaozhi takes them.",
        )
    ]


def _told(report: Json | None) -> int:
    """How much there is to tell of an agent: a name means two ids, and nobody uses one of them."""
    if report is None:
        return 0
    if report.get("links"):
        return 3
    return 1 if isinstance(report.get("why"), dict) and report["why"].get("reason") == NEVER else 2


def _cut(found: list[Finding], zh: str, en: str) -> list[Finding]:
    if len(found) <= SHOWN:
        return found
    more = len(found) - SHOWN
    return [
        *found[:SHOWN],
        warning(found[0].check, f"还有 {more} {zh}，见 /stats。", f"{more} more {en}: see /stats."),
    ]


def _tool_links(report: Json) -> list[Json]:
    return [link for link in report.get("links", []) if link.get("role") == "tool"]


def _serves(report: Json) -> bool:
    if report.get("unmatched") and not report.get("tools"):
        return False  # its settings choose tools that nobody has
    # Its tools may be served by another agent's programs ([agent …] tools_from): those links are not its own.
    if report.get("tools") and not report.get("offline"):
        return True
    return any(link.get("tools") is not None for link in _tool_links(report))


def _well(report: Json) -> bool:
    """Whether the broker has nothing to remark on it."""
    reason = report["why"].get("reason", SERVING) if isinstance(report.get("why"), dict) else SERVING
    return _serves(report) and reason == SERVING


def _ours(report: Json) -> bool:
    """Whether it is left of a self-test: the broker keeps the place of a tool program for a while."""
    away = report.get("offline", [])
    return not report.get("links") and bool(away) and all(registration.get("alias") == NAME for registration in away)


def _agent(id_: str, report: Json | None, stats: Json, called: str, *, asked: bool) -> Finding:
    said = _sentence((report or {}).get("why")) or _state(id_, report, stats)
    zh, en = f"智能体 {called}：{said[0]}", f"Agent {called}: {said[1]}"
    if report is not None and _well(report):
        return good("agent", zh, en)
    serves = report is not None and _serves(report)
    return problem("agent", zh, en) if asked and not serves else warning("agent", zh, en)


def _sentence(value: object, longest: int = 500) -> tuple[str, str] | None:
    """A reason as the broker words it, in Chinese and English."""
    if isinstance(value, dict) and isinstance(value.get("zh"), str) and isinstance(value.get("en"), str):
        return quote_peer(value["zh"], longest), quote_peer(value["en"], longest)
    return None


def _state(id_: str, report: Json | None, stats: Json) -> tuple[str, str]:
    """What can be said of an agent that the broker does not explain itself."""
    if report is not None and _tool_links(report):
        tools = len(report.get("tools", []))
        return f"工具端已连接，共 {tools} 个工具。", f"a tool program is connected; tools: {tools}."
    last = next((end for end in stats.get("ended", []) if end.get("agent") == id_ and end.get("role") == "tool"), None)
    if last is not None:
        reason, when = quote_peer(str(last.get("reason"))), quote_peer(str(last.get("ended")))
        return (
            f"没有工具程序连接；上一个在 {when} 断开（{reason}）。",
            f"no tool program is connected; the last one ended at {when} ({reason}).",
        )
    return (
        "没有工具程序用这个 token 连接过；请启动工具程序并检查它的地址。",
        "no tool program has connected with this token; start one and check its URL.",
    )


def _refused(stats: Json) -> list[Finding]:
    """Who was turned away, by address."""
    found = []
    for one in stats.get("refusals") or []:
        said = _sentence(one) or _sentence(one.get("why")) if isinstance(one, dict) else None
        if said is not None:
            found.append(warning("refused", *said))
    return found
