"""Which tools an agent shows, and under which names and descriptions.

Settings name a tool as its program does (`lamp_on`), or with the alias of that program in front (`kitchen__lamp_on`)
to mean no other's. The longer form wins where both are there. New names are never looked at again: a pattern in `allow`
or `deny` always means the tool's own.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.offers.naming import MAX_NAME
from mcp_endpoint.broker.offers.offer import Offer
from mcp_endpoint.broker.offers.pattern import Pattern
from mcp_endpoint.settings.schema import AgentSettings
from mcp_endpoint.wire.envelope import members

MOST_NAMED = 5
"""Tools that are named beside what fits none of them."""


class Unmatched(NamedTuple):
    """What of a choice fits no tool that there is, as `key = name`, and the first few names that there are."""

    what: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


class ToolFilter:
    """What one agent's settings say about tools, whatever their source. It keeps no state; build it once a reload."""

    __slots__ = ("_allow", "_deny", "_describe", "_named", "_rename", "_untouched")

    def __init__(self, settings: AgentSettings) -> None:
        self._allow = [Pattern(text) for text in settings.allow]
        self._deny = [Pattern(text) for text in settings.deny]
        self._rename = settings.rename
        self._describe = settings.describe
        self._untouched = not (self._allow or self._deny or self._rename or self._describe)
        self._named = named(settings, "allow", "deny", "rename", "describe")

    def publish(self, alias: str, tool: Offer) -> tuple[str, bytes] | None:
        """The name and the definition to show of a tool of the program with that alias; None if it is hidden.

        All bytes of the definition stay but its name and description; nothing to replace gives the very same object.
        """
        if self._untouched:
            return tool.name, tool.definition
        if not self.allows(alias, tool.name):
            return None
        names = _names(alias, tool.name)
        public = _of(self._rename, names) or tool.name
        description = _of(self._describe, names)
        replaced: dict[str, Raw] = {}
        if public != tool.name:
            replaced["name"] = Raw(encode(public))
        if description is not None:
            replaced["description"] = Raw(encode(description))
        if not replaced:
            return public, tool.definition
        definition = members(tool.definition)
        assert definition is not None, "a tool's definition is an object, or it would not be listed"
        return public, encode(definition | replaced)

    def allows(self, alias: str, name: str) -> bool:
        """Whether a tool may be used that the program with that alias calls so."""
        names = _names(alias, name)
        allowed = not self._allow or any(pattern.fits(name) for pattern in self._allow for name in names)
        return allowed and not any(pattern.fits(name) for pattern in self._deny for name in names)

    def unmatched(self, tools: Iterable[tuple[str, str]]) -> Unmatched:
        """What of it fits none of these tools (alias, own name): they may have other names than they once had."""
        return unmatched(self._named, tools) if self._named else Unmatched()


Named = list[tuple[str, str]]
"""Names and patterns that settings have for tools: (key, text)."""


def named(settings: object, *keys: str) -> Named:
    """What these keys of some settings name; `*` alone means tools that there may not be."""
    return [(key, text) for key in keys for text in getattr(settings, key) if text.strip("*")]


def unmatched(named: Named, tools: Iterable[tuple[str, str]]) -> Unmatched:
    """What of `named` fits none of these tools (alias, own name)."""
    own = list(tools)
    names = {name for alias, name in own} | {f"{alias}__{name}" for alias, name in own}
    what = tuple(
        f"{key} = {text}"
        for key, text in named
        if text not in names and ("*" not in text or not any(map(Pattern(text).fits, names)))
    )
    known = list(dict.fromkeys(name for _, name in own))  # two programs may call theirs alike
    return Unmatched(what, tuple(name[:MAX_NAME] for name in known[:MOST_NAMED]) + ("…",) * (len(known) > MOST_NAMED))


def _names(alias: str, name: str) -> tuple[str, str]:
    """What settings may call a tool, the name that means no other's first."""
    return f"{alias}__{name}", name


def _of(texts: Mapping[str, str], names: tuple[str, str]) -> str | None:
    return next((texts[name] for name in names if name in texts), None)
