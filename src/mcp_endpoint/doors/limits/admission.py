"""Who may come in: limits on unauthenticated connections and on addresses, and the log line of those who may not.

**Unauthenticated** is a connection that has shown no good token: one whose handshake is not done, a request for a page,
or a refused peer on its way out. They are many only in an attack. Then the one that was there longest goes, since an
honest handshake takes no time, so newcomers always find a place; none of them takes one from a link.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from loguru import logger

from mcp_endpoint.doors.limits.addresses import ClientAddress, Headers, behind, client_address
from mcp_endpoint.doors.limits.refused_addresses import Refusals
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.settings.schema import SecuritySettings

PENALTY = 10
"""How many handshakes a refused one counts for, besides itself."""
MINUTE = 60.0
SOURCES_KEPT = 10_000


class OpenConnection(Protocol):
    """What is open at the port and no link: a connection for HTTP, or a refused peer on its way out."""

    @property
    def address(self) -> ClientAddress:
        """Where it comes from."""

    def abort(self) -> None:
        """Cut it off."""


class Admission:
    """The limits of one port. `limits` gives the settings of the moment, `clock` monotonic seconds."""

    def __init__(self, limits: Callable[[], SecuritySettings], clock: Callable[[], float]) -> None:
        self.refusals = Refusals()
        self._limits = limits
        self._clock = clock
        self._unauthenticated: dict[OpenConnection, None] = {}
        self._authenticated: dict[OpenConnection, None] = {}
        """Those over which a good token came with an HTTP request."""
        self._connections: Counter[str] = Counter()
        self._spent: dict[str, float] = {}
        """Source → the moment until which its handshakes so far use up what it may have."""

    @property
    def unauthenticated(self) -> int:
        """How many connections have shown no good token."""
        return len(self._unauthenticated)

    @property
    def authenticated(self) -> int:
        """Over how many connections a good token came with an HTTP request."""
        return len(self._authenticated)

    @property
    def sources(self) -> int:
        """How many addresses have a connection that is counted."""
        return len(self._connections)

    # --- connections ---

    def direct(self, peername: object) -> ClientAddress:
        """The address that a new connection's socket has."""
        return client_address(peername, self._limits().trusted_proxies)

    def behind(self, proxy: ClientAddress, headers: Headers) -> ClientAddress:
        """Whom a trusted proxy's connection speaks for."""
        return behind(proxy, headers, self._limits().trusted_proxies)

    def enter(self, connection: OpenConnection) -> None:
        """A connection is no link yet, or none any more; the oldest of these goes if there are too many."""
        self._unauthenticated[connection] = None
        if len(self._unauthenticated) > self._limits().max_handshakes:
            oldest = next(iter(self._unauthenticated))
            del self._unauthenticated[oldest]
            self.refuse(oldest.address, Refusal.PUSHED_OUT)
            oldest.abort()

    def authenticate(self, connection: OpenConnection, most: int) -> bool:
        """A good token came with a request. False if there are `most` such connections already."""
        if len(self._authenticated) >= most:
            return False
        self._unauthenticated.pop(connection, None)
        self._authenticated[connection] = None
        return True

    def leave(self, connection: OpenConnection) -> None:
        """A connection became a link or is gone; safe to do twice."""
        self._unauthenticated.pop(connection, None)
        self._authenticated.pop(connection, None)

    def count(self, who: ClientAddress) -> bool:
        """Count a connection for its address, until `uncount`; says whether the address may have it.

        A proxy's own connections are not counted: they are those of whom it speaks for.
        """
        if not who.limited or who.proxy:
            return True
        self._connections[who.source] += 1
        most = self._limits().max_connections_per_address
        return not most or self._connections[who.source] <= most

    def uncount(self, who: ClientAddress) -> None:
        """A connection that was counted is gone."""
        if not who.limited or who.proxy:
            return
        self._connections[who.source] -= 1
        if not self._connections[who.source]:
            del self._connections[who.source]

    # --- handshakes ---

    def handshake(self, who: ClientAddress) -> bool:
        """Count a handshake for its address; says whether it may have one more this minute."""
        return not self._spend(who, 1, MINUTE)

    def _spend(self, who: ClientAddress, handshakes: int, most: float) -> bool:
        """Use up some of what an address may have; True, and nothing used up, if that would be over `most` seconds."""
        limit = self._limits().handshakes_per_minute
        if not who.limited or not limit:
            return False
        now = self._clock()
        until = max(self._spent.pop(who.source, now), now)
        after = until + handshakes * MINUTE / limit
        over = after > now + most
        self._spent[who.source] = until if over else after
        if len(self._spent) > SOURCES_KEPT:
            del self._spent[next(iter(self._spent))]
        return over

    # --- refusals ---

    def refuse(
        self, who: ClientAddress, why: Refusal | End, what: str = "connection", *, penalty: bool = False
    ) -> None:
        """Remember a peer that is not let in and tell the log, not every time; `penalty` counts against its address."""
        if penalty:
            self._spend(who, PENALTY, float("inf"))
        times = self.refusals.note(who.source, why.reason, self._clock())
        line = logger.bind(event="refused", peer=who.shown, reason=why.reason, count=times or None)
        often = f", {times} times by now" if times > 1 else ""
        line.log(
            "WARNING" if times else "DEBUG",
            "refused a {} from {}: {} ({}){}",
            what,
            who.shown,
            why.en,
            why.reason,
            often,
        )
