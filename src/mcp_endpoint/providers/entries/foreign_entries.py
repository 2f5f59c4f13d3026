"""Entries as other programs write them, put into the members that this one documents.

Claude, Cursor, VS Code, Cline, Windsurf, Gemini, Zed, opencode, Cherry Studio and others say the same things under
other names and in other shapes. What has two readings, or none, is left as it is: whoever reads the members refuses it.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mcp_endpoint.providers.entries.members import BadEntry, Remark
from mcp_endpoint.providers.entries.variables import left_alone, unknown

MILLISECONDS_FROM = 10_000
"""A `timeout` of so much or more is no seconds: nobody waits for three hours, and many programs count milliseconds."""
DEEPEST = 20
"""How deep the values of an entry may be nested."""

_SPELLINGS = {
    "command": ("cmd",),
    "args": ("arguments",),
    "env": ("environment", "envs"),
    "cwd": ("workingDirectory",),
    "url": ("serverUrl", "httpUrl", "baseUrl", "uri", "endpoint"),
    "type": ("transport", "transportType"),
    "headers": ("httpHeaders", "requestHeaders"),
    **dict.fromkeys(("openapi", "python", "methods", "tags", "operations", "agents", "alias", "tools", "timeout"), ()),
    **dict.fromkeys(("document_headers", "max_response", "disabled", "start_timeout", "share", "autostart"), ()),
    **dict.fromkeys(("allow_private", "proxy_env", "proxy", "ca", "oauth"), ()),
}
"""The members that have other names elsewhere; each is also found in any mixture of case, `_` and `-`."""
ON = ("enabled", "enable", "isActive", "active")
"""Members that say the opposite of `disabled` elsewhere."""
_ALLOWED = ("includeTools", "enabledTools", "allowedTools")
_DENIED = ("excludeTools", "disabledTools", "deniedTools")
_LENGTH = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|sec|seconds?|m|min|minutes?|h|hours?)?\s*", re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_PLACES = (
    *("command", "args", "cwd", "url", "openapi", "base_url", "python"),
    *("env", "headers", "document_headers", "ca", "proxy", "oauth"),
)
"""Members into which variables are put."""


def as_documented(entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[Remark]]:
    """The same entry in the documented members, and what its owner should know of that.

    Raises BadEntry for what cannot be meant: two values for one thing, and what another program would fill in.
    """
    _check_texts(entry)
    found, remarks = _renamed(entry), list[Remark]()
    command = found.get("command")
    if isinstance(command, dict):  # Zed
        found = {"args": command.get("args"), "env": command.get("env")} | found | {"command": command.get("path")}
    elif isinstance(command, list) and command and isinstance(command[0], str):  # opencode
        more = found.get("args")
        found |= {"command": command[0], "args": [*command[1:], *(more if isinstance(more, list) else [])]}
    for member, form in _FORMS.items():
        if found.get(member) is not None:
            found[member] = form(found[member])
    for member in ("timeout", "start_timeout"):
        found[member] = _seconds(member, found.get(member), remarks)
    _choice_of_tools(found, entry)
    if _member(entry, "envFile") is not None:
        remarks.append(
            Remark("envFile", "is not read here: write its variables into env", "不会被读取，请把其中的变量写入 env")
        )
    found = {member: value for member, value in found.items() if value is not None}
    _check_variables(found, remarks)
    return found, remarks


def is_off(entry: Mapping[str, Any]) -> bool:
    """Whether the entry says that the server rests; the rest of it need not be right then."""
    return _flag(_member(entry, "disabled")) is True or any(_flag(_member(entry, name)) is False for name in ON)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _member(entry: Mapping[str, Any], name: str) -> Any:
    """A member however its name is written; None if it is not there."""
    return next((value for key, value in entry.items() if _plain(key) == _plain(name) and value is not None), None)


def _renamed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with its members under the documented names; what means nothing here is left as it is."""
    spellings = dict(_SPELLINGS)
    if _member(entry, "openapi") is not None:
        spellings |= {"base_url": ("baseUrl",), "url": ("serverUrl", "httpUrl", "uri", "endpoint")}
    ours = {_plain(word): member for member, others in spellings.items() for word in (member, *others)}
    found: dict[str, Any] = {}
    said: dict[str, str] = {}
    for key, value in entry.items():
        member = ours.get(_plain(key), key)
        if value is None or (value == "" and member in ("url", "command", "type", "python", "openapi", "cwd")):
            continue  # absent in disguise
        if member in found and found[member] != value:
            both = f"{said[member]}, {key}"
            raise BadEntry(key, f"says the same as another member, differently ({both})", f"与另一成员矛盾（{both}）")
        found[member], said[member] = value, key
    return found


def _choice_of_tools(found: dict[str, Any], entry: Mapping[str, Any]) -> None:
    """Which tools to show, as other programs say it: taken unless `tools` says it already."""
    tools = found.get("tools")
    if isinstance(tools, list):
        tools = {"allow": tools}
    if tools is not None and not isinstance(tools, dict):
        return
    tools = {member: value for member, value in (tools or {}).items() if value is not None}
    for member, names in (("allow", _ALLOWED), ("deny", _DENIED)):
        said = next((value for name in names if (value := _member(entry, name)) is not None), None)
        if isinstance(said, list) and said and member not in tools:
            tools[member] = said
    if "drop_empty" in tools:
        tools["drop_empty"] = _flag(tools["drop_empty"])
    if tools or found.get("tools") is not None:
        found["tools"] = tools


# --- the shapes of values ---


def _text(value: Any) -> Any:
    """A number or a truth value as text; everything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    return value


def _list(value: Any) -> Any:
    return [_text(one) for one in value] if isinstance(value, list) else _text(value)


def _arguments(value: Any) -> Any:
    """A list of texts. One text without a blank is one argument; of one with blanks nobody knows where they part."""
    value = _text(value)
    if isinstance(value, str) and not re.search(r"\s", value):
        return [value] if value else []
    return _list(value)


def _texts(separator: str) -> Callable[[Any], Any]:
    """Texts by name; a list of `NAME=value`, as Docker has it, means the same."""

    def form(value: Any) -> Any:
        if isinstance(value, list):
            pairs = [one.partition(separator) for one in value if isinstance(one, str)]
            if len(pairs) == len(value) and all(found and name.strip() for name, found, _ in pairs):
                return {name.strip(): text.strip() if separator == ":" else text for name, _, text in pairs}
        if isinstance(value, dict):
            return {name: _text(one) for name, one in value.items() if one is not None}
        return value

    return form


def _flag(value: Any) -> Any:
    """A truth value that was written as a word or a number."""
    word = _text(value)
    return _FLAGS.get(word.strip().lower(), value) if isinstance(word, str) else value


def _strip(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _share(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


_FORMS: dict[str, Callable[[Any], Any]] = {
    "command": _strip,
    "args": _arguments,
    "env": _texts("="),
    "cwd": _strip,
    "url": _strip,
    "headers": _texts(":"),
    "document_headers": _texts(":"),
    "openapi": _strip,
    "base_url": _strip,
    "python": _strip,
    "methods": _list,
    "tags": _list,
    "operations": _list,
    "agents": _list,
    "allow_private": _list,
    "alias": _text,
    "share": _share,
    "disabled": _flag,
    "autostart": _flag,
    "proxy_env": _flag,
}


def _seconds(member: str, value: Any, remarks: list[Remark]) -> Any:
    """A length of time in seconds: written with its unit, or in milliseconds, which is remarked on."""
    if isinstance(value, str):
        match = _LENGTH.fullmatch(value)
        if match is None:
            return value
        unit = (match[2] or "").lower()
        value = float(match[1])
        if unit:
            return value * _UNITS["ms" if unit == "ms" else unit[0]]
    if not isinstance(value, int | float) or isinstance(value, bool) or not MILLISECONDS_FROM <= value < math.inf:
        return value
    seconds = value / 1000
    remarks.append(
        Remark(
            member,
            f"{value:.0f} is taken as milliseconds: {seconds:g} s; write {seconds:g}",
            f"{value:.0f} 按毫秒计，即 {seconds:g} 秒；请写成 {seconds:g}",
        )
    )
    return seconds


# --- what no member may have ---


def _all_texts(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every text in a value, with the place it stands at."""
    if depth > DEEPEST:
        raise BadEntry(place, "is nested too deeply", "嵌套过深")
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield place, name
            yield from _all_texts(one, f"{place}.{name}" if place else name, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _all_texts(one, place, depth + 1)


def _check_texts(entry: Mapping[str, Any]) -> None:
    for place, text in _all_texts(entry):
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise BadEntry(place, "has half of a character (such as \\ud83d alone)", "含有半个字符（如单独的 \\ud83d）")


def _check_variables(found: Mapping[str, Any], remarks: list[Remark]) -> None:
    for member in _PLACES:
        for place, text in _all_texts(found.get(member), member):
            strange = unknown(text)
            if strange is not None:
                en = "is not filled in here: write the value, or ${VAR} for a variable of the environment"
                zh = "在此不会被替换：请直接写值，或用 ${VAR} 引用环境变量"
                more_en, more_zh = "; a literal ${ is written $${", "；字面的 ${ 写作 $${"
                raise BadEntry(place, f"{strange} {en}{more_en}", f"{strange} {zh}{more_zh}")
            name = left_alone(text)
            if name is not None and place.partition(".")[0] in ("env", "headers"):
                en = f"is sent as it stands: a variable of the environment is written ${{{name}}}"
                remarks.append(Remark(place, en, f"会原样发送；引用环境变量请写 ${{{name}}}"))
