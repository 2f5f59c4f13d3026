"""A client's session over HTTP: the broker's `Link` to it, though it is many requests on many connections."""

from collections.abc import Callable, Iterable, Mapping

from loguru import logger
from msgspec import UNSET
from msgspec.json import encode

from mcp_endpoint.broker.device_side.device_side import DeviceSide
from mcp_endpoint.broker.link import Ended, Peer
from mcp_endpoint.broker.work_budget import expected
from mcp_endpoint.doors.connection import Connection
from mcp_endpoint.doors.http.body import Message
from mcp_endpoint.doors.http.media import Accepted
from mcp_endpoint.doors.http.streamable.streams import Reader, Stream, Streams
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.doors.traffic import traffic_of
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp


class HttpSession:
    """One session of a client over HTTP, from its `initialize` to its DELETE."""

    __slots__ = (
        "_closed",
        "_port_state",
        "bytes_in",
        "bytes_out",
        "ended",
        "frames_in",
        "frames_out",
        "heard",
        "id",
        "last_frame",
        "peer",
        "pending",
        "side",
        "streams",
        "taken_over",
    )

    def __init__(self, port_state: PortState, id_: str, peer: Peer, closed: "Callable[[HttpSession], None]") -> None:
        self._port_state = port_state
        self._closed = closed
        """Called once, as it ends."""
        self.last_frame: float | None = None
        self.id = id_
        self.peer = peer
        self.heard = port_state.loop.time()
        """When its last request came, or its last answer was complete."""
        self.side: DeviceSide | None = None
        """What the broker made of it, until it is told of the end."""
        self.ended: Ended | None = None
        self.pending: dict[bytes, Stream] = {}
        """Requests without an answer, by their keys."""
        self.streams = Streams(lambda: port_state.settings.mcp.replay_buffer)
        self.taken_over = False
        """Whether it began in an earlier run of the broker."""
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0

    @property
    def revision(self) -> str:
        """The version that was agreed on; empty before `initialize`."""
        return "" if self.side is None else self.side.protocol_version

    @property
    def agent_id(self) -> str:
        """The agent it belongs to."""
        return "" if self.side is None else self.side.agent_id

    @property
    def busy(self) -> bool:
        """Whether a call is pending or a stream is being read: then it is not idle."""
        return bool(self.pending) or bool(self.streams.readers)

    def begin_anew(self, revision: str, numbers: int) -> None:
        """Shake hands in the client's name, which did so in an earlier run; streams and events count from `numbers`."""
        self.taken_over = True
        self.streams.count_from(numbers)
        params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "", "version": ""}}
        hello = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":%b}' % encode(params)
        self.tell([Message(hello), Message(wire.notification(mcp.INITIALIZED))])
        self.send(wire.notification(mcp.Kind.TOOLS.changed))  # the list that it has is of then

    # --- from the client ---

    def ask(self, messages: Iterable[Message], connection: Connection, takes: Accepted) -> Reader:
        """Hand the messages of one POST to the broker; who reads what comes about them, as far as its client can."""
        keys = [message.key for message in messages if message.key is not None]
        stream = self.streams.open(keys, answers_only=not takes.events, logs=takes.streams or not takes.json)
        self.pending.update(dict.fromkeys(keys, stream))
        reader = stream.read(connection)
        self.tell(messages)
        return reader

    def tell(self, messages: Iterable[Message]) -> None:
        """Hand messages to the broker, and write once to every peer they led to."""
        outbox = self._port_state.outbox
        outbox.hold()
        try:
            for message in messages:
                self._hand(message)
        except Exception as error:  # noqa: BLE001  this session ends with a typed reason, the others go on
            logger.opt(exception=error).error("an HTTP session of {} failed inside the broker", self.peer.address)
            self.close(End.INTERNAL)
        finally:
            outbox.release()

    def _hand(self, message: Message) -> None:
        if self.side is None or self.ended is not None:
            return
        now = self.heard = self.last_frame = self._port_state.loop.time()
        self.frames_in += 1
        self.bytes_in += len(message.frame)
        self._port_state.fairness.work_off(self.side, message.frame, now, expected(len(message.frame)))
        if message.key is None and message.envelope.method == mcp.CANCELLED:
            self._cancelled(wire.members(message.envelope.params) or {})

    def _cancelled(self, params: Mapping[str, bytes]) -> None:
        """The client cancelled a request, which the broker therefore does not answer: its stream is not waited for."""
        key = wire.id_key(params["requestId"]) if "requestId" in params else None
        stream = self.pending.pop(key, None) if key is not None else None
        if key is not None and stream is not None:
            stream.drop(key)

    def give_up(self, stream: Stream) -> None:
        """Cancel the requests of a stream: their client cannot be given what they lead to."""
        keys = [key for key, its in self.pending.items() if its is stream]
        self.tell([Message(wire.notification(mcp.CANCELLED, b'{"requestId":%b}' % key)) for key in keys])

    # --- the broker's side: Link ---

    @property
    def call_timeout(self) -> float | None:
        """Seconds a call may take: these clients wait for longer than Xiaozhi does."""
        return self._port_state.settings.mcp.call_timeout

    def ping(self, now: float) -> None:
        """Nothing to ask: a session may be without any connection, and lives on by its requests."""

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        """One more event for the stream of the request that it is about, or for the standing one."""
        if self.ended is not None:
            return
        stream = self.streams.standing if about is None else self.pending.get(about)
        if stream is None:
            return  # about a request that has its answer, or was cancelled
        if about is not None:
            envelope = wire.read(frame)
            if envelope.method is UNSET:
                del self.pending[about]
                stream.pending.discard(about)
                stream.answers += 1
            elif stream.answers_only:
                if envelope.id is not UNSET and stream.reader is not None:
                    stream.reader.close()  # a question: without a stream the request cannot be completed
                return
            elif envelope.method == mcp.MESSAGE and not stream.logs:
                return
        self.frames_out += 1
        self.bytes_out += len(frame)
        self.last_frame = self._port_state.loop.time()
        stream.put(frame)
        limits = self._port_state.settings.websocket
        if self.streams.queued > limits.send_buffer + 2 * limits.max_message_size:
            self._overflow()

    def _overflow(self) -> None:
        """Its readers do not read: end it, and cut them off, since they would not see the end either."""
        readers = self.streams.readers
        self.close(End.SEND_OVERFLOW)
        for reader in readers:
            if reader.queue:
                reader.connection.abort()

    def close(self, end: End) -> None:
        """End it for the reason given: its readers send what they have, and nothing is accepted any more."""
        if self.ended is not None:
            return
        self.ended = Ended(end, end.code)
        self._closed(self)
        for reader in self.streams.readers:
            reader.close()
        self._port_state.loop.call_soon(self._tell_ended)  # not from within one of the broker's own calls

    def _tell_ended(self) -> None:
        side, self.side = self.side, None
        if side is not None:
            assert self.ended is not None
            self._port_state.manager.ended(side, self, self.ended, self._port_state.loop.time())

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of it."""
        return traffic_of(self)
