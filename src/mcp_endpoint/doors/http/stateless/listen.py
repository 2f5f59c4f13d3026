"""`subscriptions/listen`: a stream of the changes that a stateless client asked for (specification 2026-07-28).

To the broker it is a device that subscribes to resources and hears of lists that changed. Nothing goes out before the
acknowledgement, which says what was granted.
"""

from msgspec import UNSET, Raw

from mcp_endpoint.broker.tool_side.subscriptions import wholes_of
from mcp_endpoint.doors.connection import Connection
from mcp_endpoint.doors.http.access import Client
from mcp_endpoint.doors.http.body import Message
from mcp_endpoint.doors.http.event_link import EventLinks
from mcp_endpoint.doors.http.stateless.link import StatelessLink, request
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp, stateless


class ListenLink(StatelessLink):
    """One such stream. What says the same as something that waits already is not said twice."""

    def __init__(
        self,
        links: EventLinks,
        client: Client,
        message: Message,
        connection: Connection,
        asked: stateless.Filter,
    ) -> None:
        super().__init__(links, client, message, connection)
        self._asked = asked
        self._methods = asked.methods
        self._pending: dict[bytes, str] = {}
        """Resources whose tool side has not said yet whether it tells of their changes, by the keys of requests."""
        self._granted: dict[str, None] = {}
        self._early: list[bytes] = []
        """What came before the acknowledgement."""
        self.acknowledged = False

    def subscribe(self) -> None:
        """Ask for the resources; the acknowledgement waits for the answers."""
        for number, uri in enumerate(self._asked.uris, 1):
            self._pending[b"%d" % number] = uri
        for key, uri in list(self._pending.items()):
            self.hand(request(key, "resources/subscribe", {"uri": uri}))
        self._acknowledge_if_known()

    def give_up(self) -> None:
        """Acknowledge what is granted by now, and take the rest back."""
        for key in list(self._pending):
            self.hand(wire.notification(mcp.CANCELLED, b'{"requestId":%b}' % key))
        self._pending.clear()
        self._acknowledge_if_known()

    def _acknowledge_if_known(self) -> None:
        if self._pending or self.acknowledged or self.ended is not None:
            return
        self.acknowledged = True
        params = b'{"notifications":%b}' % self._asked.honoured(list(self._granted))
        self.put(stateless.of_subscription(self.message.id, stateless.ACKNOWLEDGED, Raw(params)))
        for frame in self._early:
            self.put(frame)
        self._early.clear()

    @property
    def settled(self) -> bool:
        """Whether it is clear how to answer."""
        return self.acknowledged or self.over

    def _told(self, frame: bytes, envelope: wire.Envelope, about: bytes | None) -> None:
        if envelope.method is UNSET:
            uri = None if about is None else self._pending.pop(about, None)
            if uri is not None and envelope.error is UNSET:
                self._granted[uri] = None
            self._acknowledge_if_known()
        elif envelope.method in self._methods or self._is_granted(envelope):
            told = stateless.of_subscription(self.message.id, envelope.method, envelope.params)
            if not self.acknowledged:
                if told not in self._early:
                    self._early.append(told)
            elif told not in self.waiting:
                self.put(told)

    def _is_granted(self, envelope: wire.Envelope) -> bool:
        """Whether it tells of a resource that was granted, or of a part of one."""
        if envelope.method != mcp.RESOURCE_UPDATED:
            return False
        uri = mcp.string((wire.members(envelope.params) or {}).get("uri")) or ""
        return any(whole in self._granted for whole in wholes_of(uri))

    def ending(self, end: End) -> None:
        """The broker ends the stream on purpose: its one result says so, and nothing is to be asked for in between."""
        if end is End.RESTART and self.acknowledged:
            meta = b'{"%b":%b}' % (stateless.SUBSCRIPTION_ID.encode(), self.message.id)
            self.put(wire.result(self.message.id, b'{"resultType":"complete","_meta":%b}' % meta))
