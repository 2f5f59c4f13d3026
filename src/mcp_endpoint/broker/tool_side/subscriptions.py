"""Who wants to hear of changes of which resource (docs/protocol.md, section 13)."""

from collections.abc import Callable, Iterator

from msgspec.json import encode

from mcp_endpoint.broker.call import Caller
from mcp_endpoint.broker.tool_side.program import Registration

MAX_SUBSCRIPTIONS = 1000
"""Resources that one session may be subscribed to."""
MOST_LEVELS = 64
"""Slashes of a URI that are looked at; it is a peer's, and may consist of them."""
RENEWAL_TIMEOUT = 10.0
"""Seconds a tool side has to answer a subscription, or the end of one, that is the broker's own doing."""


class Subscriptions:
    """Those of one session. The first subscriber of a resource subscribes at the tool side, the last one ends it."""

    __slots__ = ("_device", "_held")

    def __init__(self, device: Caller) -> None:
        self._device = device
        self._held: dict[tuple[Registration, str], None] = {}

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, registration: Registration, uri: str) -> bool:
        """Whether the session is subscribed to that resource of that tool side."""
        return (registration, uri) in self._held

    def add(self, registration: Registration, uri: str, public: str) -> None:
        """The session hears of the resource from now on, under its `public` URI."""
        registration.subscribers.setdefault(uri, {})[self._device] = public
        self._held[registration, uri] = None

    def remove(self, registration: Registration, uri: str) -> bool:
        """The session hears of it no longer; whether it was the last one, so that the tool side should be told."""
        self._held.pop((registration, uri), None)
        devices = registration.subscribers.get(uri, {})
        devices.pop(self._device, None)
        if devices or uri not in registration.subscribers:
            return False
        del registration.subscribers[uri]
        return True

    def keep(self, reached: Callable[[Registration], bool], now: float) -> None:
        """The session hears no longer of resources of registrations that do not serve its agent any more."""
        for registration, uri in list(self._held):
            if not reached(registration) and self.remove(registration, uri):
                _tell(registration, "resources/unsubscribe", uri, now)

    def ended(self, now: float) -> None:
        """The session is over."""
        self.keep(lambda registration: False, now)


def renew(registration: Registration, now: float) -> None:
    """Another link serves under this registration: it has to be told what its forerunner knew."""
    for uri in registration.subscribers:
        _tell(registration, "resources/subscribe", uri, now)


def subscribers(registration: Registration, uri: str) -> list[tuple[Caller, str]]:
    """Who is to hear that a resource changed, and its URI for them; it may be part of the one they subscribed to."""
    found: dict[Caller, str] = {}
    for subscribed in wholes_of(uri) if registration.subscribers else ():
        for device, public in registration.subscribers.get(subscribed, {}).items():
            found[device] = public + uri[len(subscribed) :]
    return list(found.items())


def wholes_of(uri: str) -> Iterator[str]:
    """The resources of whose changes an update of this one is news: `a://b/c` of `a://`, `a://b`, `a://b/` and itself.

    So a subscription is found by the URI, however many others there are.
    """
    slash = uri.find("/")
    for _ in range(MOST_LEVELS):
        if slash < 0:
            break
        yield uri[:slash]
        yield uri[: slash + 1]
        slash = uri.find("/", slash + 1)
    yield uri


def _tell(registration: Registration, method: str, uri: str, now: float) -> None:
    if registration.live is not None:
        registration.live.ask(method, encode({"uri": uri}), lambda *_: None, now + RENEWAL_TIMEOUT)
