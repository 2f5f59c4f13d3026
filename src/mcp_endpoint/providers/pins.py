"""The first seen definition of each third-party tool, kept beside the settings.

A server can change what a tool says of itself long after somebody looked at it and let a model use it. What changed is
told with both texts, and withheld until it is accepted where `[security] pin_tools = block`.
"""

from collections.abc import Callable, Container, Mapping
from difflib import unified_diff
from hashlib import sha256
from json import dumps, loads
from pathlib import Path
from typing import Any

from loguru import logger
from msgspec import Struct, field
from msgspec.json import Decoder, decode, encode

from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.definitions import canonical
from mcp_endpoint.providers.entries.servers_file import stamp_of, write_document

MOST_TOOLS = 2000
"""Tools of one server that are remembered; a server that invents ever new names must not fill the disk."""
DIFF_LINES = 40


class Pin(Struct):
    """One tool: the definition that was accepted, by its hash, and the one it has now if that is another."""

    accepted: str
    definition: Any
    changed: Any = None


class Pins(Struct):
    """What the file holds: by server, by tool."""

    servers: dict[str, dict[str, Pin]] = field(default_factory=dict)


_read = Decoder(Pins).decode


class PinFile:
    """The pins in a file that `servers accept` writes as well. What cannot be written is told once, and kept here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pins = Pins()
        self._stamp: tuple[int, ...] | None = None
        self._told = False

    def reload(self) -> bool:
        """Read the file if somebody else wrote it; whether it was read."""
        stamp = stamp_of(self.path)
        if stamp is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.pins = _read(self.path.read_bytes())
        except (OSError, ValueError) as error:
            logger.warning("{}: the pins of tools cannot be read, as if there were none: {}", self.path, error)
            return False
        return True

    def withhold(self, server: str, block: Callable[[], bool]) -> Callable[[Mapping[str, bytes]], Container[str]]:
        """What `Definitions` asks about the tools of one server; `block` says whether a change is withheld."""

        def withheld(tools: Mapping[str, bytes]) -> Container[str]:
            changed = self._compare(server, tools)
            return changed if block() else ()

        return withheld

    def changes(self, server: str) -> dict[str, str]:
        """The tools of a server that are not what was accepted, and how they differ, as lines."""
        return {
            name: difference(pin.definition, pin.changed)
            for name, pin in self.pins.servers.get(server, {}).items()
            if pin.changed is not None
        }

    def _compare(self, server: str, tools: Mapping[str, bytes]) -> set[str]:
        known = self.pins.servers.setdefault(server, {})
        news = False
        for name, definition in tools.items():
            hashed = sha256(canonical(definition)).hexdigest()
            pin = known.get(name)
            if pin is None:
                if len(known) < MOST_TOOLS:
                    known[name] = Pin(hashed, decode(definition))
                    news = True
                continue
            changed = None if hashed == pin.accepted else decode(definition)
            if changed != pin.changed:
                pin.changed, news = changed, True
                if changed is not None:
                    logger.bind(event="pin", server=server, tool=name).warning(
                        "server {}: tool {} is not what it was when first seen; `servers accept {}` accepts it: {}",
                        quote_peer(server),
                        quote_peer(name),
                        quote_peer(server),
                        quote_peer(difference(pin.definition, changed), 1000),
                    )
        if news:
            self._write()
        return {name for name in tools if name in known and known[name].changed is not None}

    def accept(self, server: str) -> int:
        """Take what the tools of a server say now for good; how many changed. Raises OSError."""
        pins = self.pins.servers.get(server, {})
        changed = {name: pin for name, pin in pins.items() if pin.changed is not None}
        for name, pin in changed.items():
            pins[name] = Pin(sha256(canonical(encode(pin.changed))).hexdigest(), pin.changed)
        if changed:
            write_document(self.path, loads(encode(self.pins)))
        return len(changed)

    def _write(self) -> None:
        try:
            write_document(self.path, loads(encode(self.pins)))
        except OSError as error:
            if not self._told:
                logger.warning("{}: the pins of tools cannot be written: {}", self.path, error)
            self._told = True
        else:
            self._stamp = stamp_of(self.path)


def difference(before: Any, after: Any) -> str:
    """How two definitions differ, as the lines of a diff."""
    old, new = (dumps(one, ensure_ascii=False, indent=1, sort_keys=True).splitlines() for one in (before, after))
    shown = [line for line in unified_diff(old, new, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]
    return "\n".join(shown[:DIFF_LINES])
