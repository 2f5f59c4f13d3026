"""What is allowed in the settings, yet will surprise: unknown keys and variables, names and URLs that peers refuse."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from mcp_endpoint.language import Bilingual
from mcp_endpoint.settings.file import Document, place, remark
from mcp_endpoint.settings.schema import (
    AGENT_KEYS,
    AGENT_PREFIX,
    ANY_AGENT,
    ENVIRONMENT_PREFIX,
    SECTIONS,
    VARIABLES,
    Settings,
    keys_of,
    model_of,
)
from mcp_endpoint.wire.mcp import is_model_name


def _nearest(word: str, known: list[str]) -> list[str]:
    """The known word that was probably meant, else all of them."""
    return difflib.get_close_matches(word, known, 1) or known


def _nearest_section(section: str) -> list[str]:
    word, _, name = section.partition(" ")
    if name and difflib.get_close_matches(word, ["agent"]):
        return [f"[agent {name}]"]
    return [f"[{ANY_AGENT if near == 'agent' else near}]" for near in _nearest(section, [*SECTIONS, "agent"])]


def unknown_in_file(document: Document, path: Path) -> list[Bilingual]:
    """A warning for each section and key of the file that is not known, with the one that was probably meant."""
    warnings = []
    for section, line in document.sections.items():
        if model_of(section) is None:
            warnings.append(_unknown(place(path, line, f"[{section}]"), _nearest_section(section)))
    for (section, key), entry in document.entries.items():
        model = model_of(section)
        if model is not None and key not in keys_of(model):
            elsewhere = [f"[{name}] {key}" for name, other in SECTIONS.items() if key in keys_of(other)]
            elsewhere += [f"[{ANY_AGENT}] {key}"] if key in AGENT_KEYS else []
            near = elsewhere or _nearest(key, list(keys_of(model)))
            warnings.append(_unknown(place(path, entry.line, f"[{section}] {key}"), near))
    return warnings


def unknown_variables(environ: Mapping[str, str]) -> list[Bilingual]:
    """A warning for each variable of the environment that looks like a setting and is none."""
    warnings = []
    tails = {variable.removeprefix(ENVIRONMENT_PREFIX): variable for variable in VARIABLES}
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in VARIABLES:
            continue
        # a single underscore where two belong is the likely slip; other MCP_ENDPOINT_… variables are not ours to judge
        slips = [name for name in VARIABLES if name.replace("__", "_") == variable.upper()]
        if slips or "__" in variable:
            close = difflib.get_close_matches(variable.removeprefix(ENVIRONMENT_PREFIX).upper(), tails, 1)
            near = slips or [tails[tail] for tail in close] or [f"{ENVIRONMENT_PREFIX}<SECTION>__<KEY>"]
            warnings.append(_unknown(Bilingual(f"环境变量 {variable}", f"environment variable {variable}"), near))
    return warnings


def _unknown(where: Bilingual, near: list[str]) -> Bilingual:
    known = ", ".join(near)
    if len(near) == 1:
        return remark(where, f"unknown, ignored; did you mean {known}?", f"未知，已忽略；是否想写 {known}？")
    return remark(where, f"unknown, ignored; known are {known}", f"未知，已忽略；可用的有 {known}")


def surprising(settings: Settings) -> list[Bilingual]:
    """What is allowed, yet will surprise."""
    return _refused_url(settings) + _refused_names(settings)


def _refused_names(settings: Settings) -> list[Bilingual]:
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
        remark(f"[{AGENT_PREFIX}{name}] rename: {tool}: {new}", en, zh)
        for name, own in settings.agents.items()
        for tool, new in own.rename.items()
        if not is_model_name(new)
    ]


def _refused_url(settings: Settings) -> list[Bilingual]:
    """A public URL that the single-module Xiaozhi server refuses, and so every endpoint that begins with it."""
    url = settings.server.public_url
    words = [word for word in ("key", "call") if word in url.lower()]
    if not words:
        return []
    en = f"contains '{words[0]}', and a single-module Xiaozhi server refuses every endpoint URL that does"
    zh = f"包含“{words[0]}”，单模块部署的小智服务会拒绝含有该词的接入点地址"
    return [remark(f"[server] public_url = '{url}'", en, zh)]
