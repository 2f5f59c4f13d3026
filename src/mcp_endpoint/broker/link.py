"""What a door gives the broker, and what the broker gives back.

A door makes one `Link` for every peer that came in and was admitted; the broker answers with a `Session`. From then on
the door hands over frames, the session sends through the link, and whoever ends it says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.notes import Note


class Role(StrEnum):
    """Which side of an agent a link is."""

    TOOL = "tool"
    DEVICE = "device"


class Scope(NamedTuple):
    """What there is to see of an agent: all of it or one tool side, under which kind of names."""

    provider: str | None = None
    ascii_names: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """Facts about a peer that its door knows from the start."""

    address: str
    server_id: str | None = None
    user_agent: str | None = None
    device: str | None = None
    """`?device=` of a device's URL: which device it speaks for."""
    mac: str | None = None
    """`?mac=` of a device's URL."""
    wants_caller: bool = False
    """`?caller=1` of a tool side's URL: it wants to be told who calls."""
    awaited: bool = True
    """Whether lists wait for a tool side's handshake; not for one of which it is known that it failed before."""
    provider: str | None = None
    """`?provider=` of a client's URL: the alias of the one tool side it is to see, under that one's own names."""
    drop_empty: bool = False
    """Whether optional arguments that say nothing are kept from it, where its tools do not allow them."""
    ascii_names: bool = False
    """Whether it is to see every tool under a name that the APIs of models take."""
    own_names: Callable[[], Mapping[str, str]] | None = None
    """Of a tool side whose list is all that may be called: the names in it, and what the program calls these tools."""
    stateless: bool = False
    """Whether it is one request of the stateless era: neither the log nor the list of ended links tells of it."""

    @property
    def scope(self) -> Scope:
        """What it sees of its agent."""
        return Scope(self.provider, self.ascii_names)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a link ended: its typed reason, the WebSocket close code, and the peer's own words if it sent any."""

    end: End
    code: int
    detail: str = ""
    for_good: bool = False
    """Whether its agent is to have it no longer, so that nobody waits for its return."""


class Link(Protocol):
    """One peer's way out. Neither method blocks, awaits or raises."""

    heard: float
    """Monotonic time of the last bytes from the peer."""

    @property
    def call_timeout(self) -> float | None:
        """Seconds a call of this peer may take, renewed by its progress; None where the agent's own limit holds."""

    @property
    def peer(self) -> Peer:
        """Who it is."""

    def ping(self, now: float) -> None:
        """Ask for a sign of life below MCP; `heard` is `now` or later once one came, and earlier until then."""

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        """Send one frame; a link that cannot take it is closed with a typed reason, one that is closing drops it.

        `about` is the key (`wire.id_key`) of the peer's own request that the frame answers, or tells of before its
        answer: a door with a stream for each request needs to know which. None where it belongs to none.
        """

    def close(self, end: End) -> None:
        """Close the link for the reason given; the session's `ended` follows."""

    def traffic(self) -> Mapping[str, float | int | None]:
        """Frames and bytes each way, monotonic time of the last frame, last ping's round trip in milliseconds."""


class Session(Protocol):
    """What the broker made of a link. `now` is monotonic time in seconds."""

    @property
    def role(self) -> Role:
        """The side it is on."""

    @property
    def number(self) -> int:
        """Its number among the links of this broker's run."""

    @property
    def agent_id(self) -> str:
        """The agent it belongs to."""

    @property
    def name(self) -> str:
        """How log and `/stats` call it: a tool side's alias, a device's client name; may be the peer's own words."""

    def receive(self, frame: bytes, now: float) -> str | None:
        """Take one text frame from the peer, already checked as UTF-8.

        The agent that asked for it, if it is an answer to one that had asked: what it costs is for that one to pay.
        """


class Journal(Protocol):
    """Where the broker tells what happened to links; the app writes it to the log."""

    def opened(self, session: Session, peer: Peer) -> None:
        """A link was admitted."""

    def ended(self, session: Session, peer: Peer, ended: Ended, seconds: float) -> None:
        """A link ended after so many seconds."""

    def changed(self, agent_id: str, reason: str, sentence: str) -> None:
        """An agent's state is another one now; the sentence (English) explains it."""

    def noted(self, session: Session, peer: Peer, note: Note) -> None:
        """Something about a link that its owner should know, once per link and kind."""
