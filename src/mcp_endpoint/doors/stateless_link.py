"""The broker's `Link` to one request of the stateless era: a device side that comes for it and goes with its answer.

The broker speaks the handshake era with its devices, so the link makes a handshake in the client's name, out of the
envelope that the request carries (routing page, "Stateless era over HTTP").
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from loguru import logger
from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.broker.device import DeviceSide
from mcp_endpoint.broker.link import Ended, Role
from mcp_endpoint.doors.access import Visitor
from mcp_endpoint.doors.body import Message, Refused
from mcp_endpoint.doors.event_stream import event
from mcp_endpoint.doors.exchange import failure
from mcp_endpoint.errors import HTTP_STATUS, STATELESS_STATUS, End, Fault, Refusal
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp, stateless

if TYPE_CHECKING:
    from mcp_endpoint.doors.front import Front
    from mcp_endpoint.doors.http import HttpDoor

HANDSHAKE = b"0"
"""The id of the handshake's requests. They are answered at once, before there are others."""


class StatelessLink:
    """What is common to a request with one answer and to a stream of notifications: a `Source` of events."""

    def __init__(self, front: "Front", visitor: Visitor, message: Message, connection: "HttpDoor") -> None:
        self._front = front
        self._last_frame: float | None = None
        self._greeted = False
        self.connection = connection
        self.peer = replace(visitor.peer, brief=True)
        self.message = message
        self.heard = front.loop.time()
        self.ended: Ended | None = None
        self.wake = asyncio.Event()
        self.waiting: list[bytes] = []
        """Frames for the client."""
        self.queued = 0
        """Bytes of these."""
        self.introduction: dict[str, Raw] = {}
        """What the broker says of itself in its answer to `initialize`."""
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0
        joined = front.manager.join(Role.DEVICE, visitor.agent_id, self, self.heard)
        if isinstance(joined, End):
            raise Refused(joined, message.id)
        assert isinstance(joined, DeviceSide), "who joins as a device is one"
        self.side: DeviceSide | None = joined
        front.requests[self] = None

    def greet(self, opening: stateless.Opening) -> None:
        """Shake hands with the broker as the client would have."""
        params = {
            "protocolVersion": mcp.NEWEST,
            "capabilities": opening.capabilities,
            "clientInfo": opening.client_info or {"name": "", "version": ""},
        }
        frames = [request(HANDSHAKE, "initialize", params), wire.notification(mcp.INITIALIZED)]
        if opening.log_level is not None:
            frames.append(request(HANDSHAKE, "logging/setLevel", {"level": opening.log_level}))
        self.hand(*frames)
        self._greeted = True

    @property
    def server_info(self) -> bytes | None:
        """Who answers: the only tool side, or the broker for several."""
        info = self.introduction.get("serverInfo")
        return None if info is None else bytes(info)

    def hand(self, *frames: bytes) -> None:
        """Hand frames to the broker, and write once to every peer they led to."""
        outbox = self._front.outbox
        outbox.hold()
        try:
            for frame in frames:
                if self.side is not None and self.ended is None:
                    now = self.heard = self._last_frame = self._front.loop.time()
                    self.frames_in += 1
                    self.bytes_in += len(frame)
                    self.side.receive(frame, now)
        except Exception as error:  # noqa: BLE001  this request ends with a typed reason, the others go on
            logger.opt(exception=error).error("a stateless request of {} failed inside the broker", self.peer.address)
            self.close(End.INTERNAL)
        finally:
            outbox.release()

    # --- towards the client ---

    def put(self, frame: bytes) -> None:
        """One more frame for the client; it is ended if it leaves too much unread."""
        self.waiting.append(frame)
        self.queued += len(frame)
        self.wake.set()
        limits = self._front.settings.websocket
        if self.queued > limits.send_buffer + 2 * limits.max_message_size:
            self.close(End.SEND_OVERFLOW)
            self.connection.abort()

    @property
    def over(self) -> bool:
        """Whether nothing comes after what may be taken now."""
        return self.ended is not None

    @property
    def settled(self) -> bool:
        """Whether it is clear how to answer."""
        return bool(self.waiting) or self.over

    def take(self) -> bytes:
        """The events that wait, spelled; without ids, since nothing can be resumed in this era."""
        data = b"".join(map(event, self.waiting))
        self.waiting.clear()
        self.queued = 0
        return data

    # --- the broker's side: Link ---

    @property
    def call_timeout(self) -> float | None:
        """Seconds a call may take: these clients wait for longer than Xiaozhi does."""
        return self._front.settings.mcp.call_timeout

    def ping(self, now: float) -> None:
        """Nothing to ask: TCP tells of a client that is gone."""

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        """Take a frame of the broker."""
        if self.ended is not None:
            return
        self.frames_out += 1
        self.bytes_out += len(frame)
        self._last_frame = self._front.loop.time()
        envelope = wire.read(frame)
        if self._greeted:
            self._told(frame, envelope, about)
        elif about == HANDSHAKE and not self.introduction:
            self.introduction = wire.members(envelope.result) or {}

    def _told(self, frame: bytes, envelope: wire.Envelope, about: bytes | None) -> None:
        """The broker says something after the handshake."""
        raise NotImplementedError

    def _ending(self, end: End) -> None:
        """It is about to end without the client having asked for it: the last chance to say something."""
        raise NotImplementedError

    def close(self, end: End) -> None:
        """End it for the reason given, which the client hears."""
        if self.ended is None:
            self._ending(end)
            self.ended = Ended(end, end.code)
            self.wake.set()
            self._front.loop.call_soon(self.leave)  # not from within one of the broker's own calls

    def leave(self) -> None:
        """The answer is complete, or nobody waits for it: what is pending is cancelled. Safe to do twice."""
        self._front.requests.pop(self, None)
        if self.ended is None:
            self.ended = Ended(End.PEER_CLOSED, End.PEER_CLOSED.code)
        side, self.side = self.side, None
        if side is not None:
            self._front.manager.ended(side, self, self.ended, self._front.loop.time())

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of it."""
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "last_frame": self._last_frame,
            "ping_rtt_ms": None,
        }


class Asking(StatelessLink):
    """A request that has one answer, and maybe notifications before it."""

    status = 200
    """Of the answer, if it goes out alone."""
    answer: bytes | None = None
    wants_log = False
    """Whether the client asked for log messages: the ones of calls come unasked in the handshake era only."""

    def ask(self) -> None:
        """Send the request on as one of the handshake era; the broker answers `server/discover` by its introduction."""
        envelope = self.message.envelope
        assert envelope.method is not UNSET, "a request has a method"
        if envelope.method == stateless.DISCOVER:
            self._answered(wire.result(self.message.id, self._discovered()))
        else:
            self.hand(stateless.without_envelope(self.message.id, envelope.method, envelope.params))

    def _discovered(self) -> bytes:
        found: dict[str, object] = {"supportedVersions": stateless.SUPPORTED}
        found |= {
            name: self.introduction[name] for name in ("capabilities", "instructions") if name in self.introduction
        }
        return stateless.complete(encode(found), stateless.DISCOVER, self.server_info)

    @property
    def over(self) -> bool:
        """Whether the answer is among what may be taken now."""
        return self.answer is not None or self.ended is not None

    def _told(self, frame: bytes, envelope: wire.Envelope, about: bytes | None) -> None:
        if about is None or about != self.message.key or self.answer is not None:
            return  # of no interest to who asked for one thing
        method = self.message.envelope.method
        assert method is not UNSET
        if envelope.method is not UNSET:
            if envelope.method != mcp.MESSAGE or self.wants_log:
                self.put(frame)
        elif envelope.error is UNSET:
            assert envelope.result is not UNSET, "an answer has a result or an error"
            result = stateless.complete(envelope.result, method, self.server_info)
            self._answered(wire.result(self.message.id, result))
        else:
            # -32002 is the broker's own where its data says so; a tool side means that the resource is not there.
            own = Fault.TOO_MANY_CALLS.reason
            error, code = stateless.error_of(envelope.error, method, self.message.envelope.params, own)
            self._answered(wire.error(self.message.id, error), STATELESS_STATUS.get(code, 200))

    def _answered(self, answer: bytes, status: int = 200) -> None:
        self.answer, self.status = answer, status
        self.put(answer)

    def _ending(self, end: End) -> None:
        if self.answer is None and end is not End.SEND_OVERFLOW:
            why = Refusal.RESTARTING if end is End.RESTART else end
            self._answered(failure(why, self.message.id), HTTP_STATUS.get(end, 503))


def request(id_: bytes, method: str, params: object) -> bytes:
    """A request of the link's own."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (id_, encode(method), encode(params))
