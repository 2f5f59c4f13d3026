"""One definition of a list as its program sent it, made fit for every client, or found of no use.

Clients check a list as a whole: one bad definition hides all others of the agent. So each is looked at alone. One that
is right stays the very same bytes, which costs one typed read; only what that read refuses is taken apart.
"""

import re
import sys
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import DecodeError, Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.definitions.definition_types import NAMING, READ
from mcp_endpoint.wire.definitions.flaws import Flaw, FlawAt, Flaws
from mcp_endpoint.wire.definitions.member_repair import REPAIR
from mcp_endpoint.wire.definitions.tool_schemas import DOUBTFUL, refers_soundly
from mcp_endpoint.wire.mcp import Kind, string

DEEPEST = 128
"""Objects and lists in one another: some readers of JSON give up at a few hundred."""
LONGEST_NAMES = {Kind.TOOLS: 256, Kind.PROMPTS: 256, Kind.RESOURCES: 4096, Kind.TEMPLATES: 4096}

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.", re.DOTALL)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


class RepairedDefinition(NamedTuple):
    """What became of a definition: its name and bytes, or None for one of no use, and what was wrong with it."""

    name: str
    definition: bytes | None
    flaws: tuple[FlawAt, ...] = ()


def repair_definition(kind: Kind, raw: Raw | bytes, room: int = sys.maxsize) -> RepairedDefinition:
    """A definition as every client can take it, the same bytes if it is so already.

    One of more bytes than there is `room` for is not taken apart, which is a hundred times the work of reading it.
    """
    definition = bytes(raw)
    if _too_deep(definition):
        return RepairedDefinition("", None, (FlawAt(Flaw.TOO_DEEP, ""),))
    try:
        right = READ[kind](definition)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        name = getattr(right, NAMING[kind])
        if _of_name(kind, name) is None and not _doubtful(kind, definition):
            return RepairedDefinition(name, definition)
    if len(definition) > room:
        name = string((wire.members(definition) or {}).get(kind.naming)) or ""
        return RepairedDefinition(name, None, (FlawAt(Flaw.TOO_MUCH, ""),))
    return _repaired(kind, definition)


def _doubtful(kind: Kind, definition: bytes) -> bool:
    """Whether it may be wrong in a way that types cannot say, so that it has to be taken apart."""
    if kind is Kind.PROMPTS:
        return False
    if kind is not Kind.TOOLS:
        return b'"priority"' in definition or b'"lastModified"' in definition
    if b'"outputSchema"' in definition and any(word in definition for word in DOUBTFUL):
        return True
    return b'"$ref"' in definition and not refers_soundly(definition)


def _too_deep(definition: bytes) -> bool:
    if definition.count(b"{") + definition.count(b"[") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", definition).translate(None, _NO_BRACKET)
    for _ in range(8):  # the innermost pairs vanish each time, which leaves next to nothing of what is not deep
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > DEEPEST - 8


def _of_name(kind: Kind, name: str) -> Flaw | None:
    """What is wrong with a name or a URI."""
    if not name:
        return Flaw.NO_NAME
    if len(name) > LONGEST_NAMES[kind]:
        return Flaw.LONG_NAME
    return Flaw.NO_URI if kind is Kind.RESOURCES and not _is_uri(name) else None


def _is_uri(text: str) -> bool:
    """Whether it begins as a URI does, and names a host where its scheme needs one."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    needs_host = parts.scheme in ("http", "https", "ws", "wss", "ftp")
    return bool(_URI.match(text)) and (not needs_host or bool(parts.hostname)) and port != 0


def _repaired(kind: Kind, definition: bytes) -> RepairedDefinition:
    flaws = Flaws()
    try:
        members = decode(definition)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return RepairedDefinition("", None, (FlawAt(Flaw.UNREADABLE, ""),))
    if not isinstance(members, dict):
        return RepairedDefinition("", None, (FlawAt(Flaw.NOT_AN_OBJECT, ""),))
    name = members.get(kind.naming)
    wrong = _of_name(kind, name) if isinstance(name, str) else Flaw.NO_NAME
    if not isinstance(name, str) or wrong is not None:
        shown = name if isinstance(name, str) else ""
        return RepairedDefinition(shown, None, (FlawAt(wrong or Flaw.NO_NAME, kind.naming),))
    before = encode(members)
    if not REPAIR[kind](members, flaws):
        return RepairedDefinition(name, None, tuple(flaws.found))
    after = encode(members)
    return RepairedDefinition(name, definition if after == before else after, tuple(flaws.found))
