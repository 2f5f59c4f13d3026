"""The broker's `Link` to one request of the stateless era: a device side that comes for it and goes with its answer.

The broker speaks the handshake era with its devices, so the link makes a handshake in the client's name, out of the
envelope that the request carries (docs/protocol.md, section 22.2).
"""

import secrets
from asyncio import TimerHandle
from dataclasses import replace

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.doors.connection import Connection
from mcp_endpoint.doors.http.access import Client
from mcp_endpoint.doors.http.body import Message
from mcp_endpoint.doors.http.event_link import EventLink, EventLinks
from mcp_endpoint.doors.http.exchange import failure
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.http_status import HTTP_STATUS, STATELESS_STATUS
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp, stateless

GATHER = 0.05
"""Seconds in which several things that a tool side asks at once become one question to its client."""
STATE_BYTES = 18
"""Random bytes of the state that a client is given to come again with: nobody can guess it, and it says nothing."""
HANDSHAKE = b"0"
"""The id of the handshake's requests. They are answered at once, before there are others."""


class StatelessLink(EventLink):
    """What is common to a request with one answer and to a stream of notifications."""

    def __init__(self, links: EventLinks, client: Client, message: Message, connection: Connection) -> None:
        super().__init__(links, client.agent_id, replace(client.peer, stateless=True), connection, message.id)
        self._initialized = False
        self.message = message
        self.initialize_result: dict[str, Raw] = {}
        """What the broker says of itself in its answer to `initialize`."""

    def initialize(self, opening: stateless.RequestMeta) -> None:
        """Shake hands with the broker as the client would have."""
        params = {
            "protocolVersion": mcp.NEWEST,
            # Only these requests may be answered with a question.
            "capabilities": opening.capabilities if self.message.envelope.method in stateless.NAMED else {},
            "clientInfo": opening.client_info or {"name": "", "version": ""},
        }
        frames = [request(HANDSHAKE, "initialize", params), wire.notification(mcp.INITIALIZED)]
        if opening.log_level is not None:
            frames.append(request(HANDSHAKE, "logging/setLevel", {"level": opening.log_level}))
        self.hand(*frames)
        self._initialized = True

    @property
    def server_info(self) -> bytes | None:
        """Who answers: the only tool side, or the broker for several."""
        info = self.initialize_result.get("serverInfo")
        return None if info is None else bytes(info)

    @property
    def settled(self) -> bool:
        """Whether it is clear how to answer."""
        return bool(self.waiting) or self.over

    def told(self, frame: bytes, about: bytes | None) -> None:
        """A frame of the broker: part of the handshake, or of what the client waits for."""
        envelope = wire.read(frame)
        if self._initialized:
            self._told(frame, envelope, about)
        elif about == HANDSHAKE and not self.initialize_result:
            self.initialize_result = wire.members(envelope.result) or {}

    def _told(self, frame: bytes, envelope: wire.Envelope, about: bytes | None) -> None:
        """The broker says something after the handshake."""
        raise NotImplementedError


class RequestLink(StatelessLink):
    """A request that has one answer, and maybe notifications before it."""

    status = 200
    """Of the answer, if it goes out alone."""
    answer: bytes | None = None
    wants_log = False
    """Whether the client asked for log messages: the ones of calls come unasked in the handshake era only."""
    answers_only = False
    """Whether nothing but the answer goes out: its client takes no stream."""
    state: str | None = None
    """What its client was given to come again with, while the tool side waits for answers."""

    def __init__(self, links: EventLinks, client: Client, message: Message, connection: Connection) -> None:
        super().__init__(links, client, message, connection)
        self._agent_id = client.agent_id
        self._key = message.key
        self._what = _what(message)
        self._gathering: TimerHandle | None = None
        self._early: bytes | None = None
        """The result, if it came while nobody was there to take it."""
        self.questions: dict[str, tuple[str, Raw | UnsetType]] = {}
        """What the tool side asks, by the ids of its requests."""

    def ask(self) -> None:
        """Send the request on as one of the handshake era; the broker itself has what `server/discover` asks."""
        envelope = self.message.envelope
        assert envelope.method is not UNSET, "a request has a method"
        if envelope.method == stateless.DISCOVER:
            self._answered(wire.result(self.message.id, self._discovered()))
        else:
            self.hand(stateless.without_envelope(self.message.id, envelope.method, envelope.params))

    def _discovered(self) -> bytes:
        found: dict[str, object] = {"supportedVersions": stateless.SUPPORTED}
        found |= {
            name: self.initialize_result[name]
            for name in ("capabilities", "instructions")
            if name in self.initialize_result
        }
        return stateless.complete(encode(found), stateless.DISCOVER, self.server_info)

    @property
    def over(self) -> bool:
        """Whether the answer is among what may be taken now."""
        return self.answer is not None or self.ended is not None

    def _told(self, frame: bytes, envelope: wire.Envelope, about: bytes | None) -> None:
        if envelope.method == mcp.CANCELLED:
            self._withdrawn(wire.members(envelope.params) or {})
            return
        if about is None or about != self._key:
            return  # of no interest to who asked for one thing
        method = self.message.envelope.method
        assert method is not UNSET
        if envelope.method is not UNSET and envelope.id is not UNSET:
            self.questions[bytes(envelope.id).decode()] = envelope.method, envelope.params
            if self._gathering is None and self.state is None:
                self._gathering = self._port_state.loop.call_later(GATHER, self._gathered)
        elif self.state is not None:
            if envelope.method is UNSET:
                self._early = self._kept(frame)
        elif self.answer is not None:
            return
        elif envelope.method is not UNSET:
            if not self.answers_only and (envelope.method != mcp.MESSAGE or self.wants_log):
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

    def _kept(self, frame: bytes) -> bytes:
        """A result that nobody is there to take, or an error in its place: no more is kept than for a lost session."""
        limit = self._port_state.settings.mcp.replay_buffer
        if len(frame) <= limit or self.side is None:
            return frame
        name = self._what[1]
        return self.side.failure(self.message.id, Fault.RESULT_NOT_KEPT, name=name, size=len(frame), limit=limit)

    def _withdrawn(self, params: dict[str, Raw]) -> None:
        """A question is of no use any more."""
        self.questions.pop(bytes(params.get("requestId", b"")).decode(errors="replace"), None)

    def _gathered(self) -> None:
        self._gathering = None
        if self.questions and self.answer is None and self.ended is None:
            self.ask_client()

    def ask_client(self) -> None:
        """Answer with what the tool side asks; the client makes its request again, and finds this link by the state."""
        self.state = secrets.token_urlsafe(STATE_BYTES)
        if self.side is not None:
            self.side.away_since = self._port_state.loop.time()
        self._answered(wire.result(self.message.id, stateless.input_required(self.questions, self.state)))
        # What it was asked with may be large, and nobody looks at it any more.
        self.message = Message(request(self.message.id, str(self.message.envelope.method), {}))

    def is_for(self, agent_id: str, message: Message) -> bool:
        """Whether a request is this one again: the same agent's, for the same thing."""
        return self._agent_id == agent_id and self._what == _what(message)

    def go_on(self, message: Message, connection: Connection) -> None:
        """The client came again with answers: hand them on, and wait for the result, or for what is asked then."""
        self.message, self.connection = message, connection
        self.state = self.answer = None
        params = wire.members(message.envelope.params) or {}
        if self.side is not None:
            self.side.away_since = None
            token = (wire.members(params.get("_meta", UNSET)) or {}).get("progressToken")
            pending = self.side.calls.get(self._key or b"")
            if pending is not None and pending.progress_token is not None and token is not None:
                pending.progress_token = token
        self.waiting.clear()
        self.queued = 0
        given = wire.members(params.get(stateless.RESPONSES, UNSET)) or {}
        answers = {key: given[key] for key in self.questions.keys() & given.keys()}
        for key in answers:
            del self.questions[key]
        self.hand(*(wire.result(key.encode(), answer) for key, answer in sorted(answers.items())))
        early, self._early = self._early, None
        if early is not None:
            self._told(early, wire.read(early), self._key)
        elif self.questions and self.answer is None and self.ended is None:
            self.ask_client()

    def _answered(self, answer: bytes, status: int = 200) -> None:
        self.answer, self.status = answer, status
        self.put(answer)

    def ending(self, end: End) -> None:
        """Who asked gets an answer all the same."""
        if self.answer is None and end is not End.SEND_OVERFLOW:
            why = Refusal.RESTARTING if end is End.RESTART else end
            language = self._port_state.settings.broker.language
            self._answered(failure(why, language, self.message.id), HTTP_STATUS.get(end, 503))


def _what(message: Message) -> tuple[object, object]:
    """What a request is for: its method, and the name or URI in its params."""
    method = message.envelope.method
    params = wire.members(message.envelope.params) or {}
    return method, mcp.string(params.get(stateless.NAMED.get(str(method), "")))


def request(id_: bytes, method: str, params: object) -> bytes:
    """A request of the link's own."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (id_, encode(method), encode(params))
