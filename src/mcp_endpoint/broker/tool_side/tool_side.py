"""A tool side: its handshake with the broker, and what its program says from then on."""

from functools import partial

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.call import Caller
from mcp_endpoint.broker.link import Ended, Link
from mcp_endpoint.broker.timers import Timer
from mcp_endpoint.broker.tool_side.frame_repair import Deliver, FrameRepair, awaits, is_echo
from mcp_endpoint.broker.tool_side.log_messages import listeners
from mcp_endpoint.broker.tool_side.program import AgentOfToolSide, ToolProgram
from mcp_endpoint.broker.tool_side.subscriptions import subscribers
from mcp_endpoint.broker.tool_side.whom_to_ask import refuse_to_ask, whom_to_ask
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.definitions.flaws import Remark
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.repair.error_objects import is_unread, proper
from mcp_endpoint.wire.repair.ids import respelled

MAX_SERVER_INFO = 16_384
"""Bytes of a `serverInfo` that is passed on; icons can make it long."""
MAX_INSTRUCTIONS = 8_000
"""Characters of a tool side's instructions that are passed on."""
MOST_ASKED = 32
"""Requests of one tool side that wait for answers of clients."""


class ToolSide(ToolProgram):
    """One link of a tool program: greeted by the broker, then asked for its tools, then called."""

    __slots__ = ("_asking", "_frame_repair", "_review")

    def __init__(self, agent: AgentOfToolSide, link: Link, now: float) -> None:
        super().__init__(agent, link, now)
        self._asking: dict[bytes, tuple[Caller, int]] = {}
        """Its requests that wait for a client's answer, by the keys of their ids: whom it asks, and their ids there."""
        self._frame_repair: FrameRepair | None = None
        self._review: Timer | None = None

    # --- the handshake ---

    def greet(self, now: float) -> None:
        """Begin the handshake. It has no deadline: a child process may still be downloading itself."""
        self._review = self.broker.timers.at(now + self.agent.limits.tools_wait, self.agent.review)
        self._initialize(mcp.NEWEST, now)

    def _initialize(self, revision: str, now: float) -> None:
        def answered(answer: wire.Envelope | None, now: float) -> None:
            result = wire.members(answer.result) if answer is not None else None
            if result is not None:
                self._initialized(result, now)
            elif revision != mcp.OLDEST:
                self._initialize(mcp.OLDEST, now)
            else:
                self.note(Note.REFUSED_INITIALIZE, now)
                self.agent.settle_lists(now)

        client = {"name": mcp.OWN_NAME, "version": self.broker.version}
        may_ask: dict[str, object] = {ability: {} for ability in self.agent.limits.ask_clients}
        params = {"protocolVersion": revision, "capabilities": may_ask, "clientInfo": client}
        self.ask("initialize", encode(params), answered, None)

    def _initialized(self, result: dict[str, Raw], now: float) -> None:
        self.protocol_version = mcp.text(result.get("protocolVersion"))
        raw = result.get("serverInfo", UNSET)
        self.info = mcp.read_implementation(raw)
        # Every `initialize` of a device carries these, within the smallest buffer among clients.
        self.server_info = bytes(raw) if raw is not UNSET and len(raw) <= MAX_SERVER_INFO else None
        self.instructions = mcp.text(result.get("instructions"), MAX_INSTRUCTIONS) or None
        capabilities = wire.members(result.get("capabilities", UNSET)) or {}
        if not mcp.begins_tasks(capabilities):
            capabilities.pop("tasks", None)
        self.capabilities = frozenset(capabilities)
        self.link.send(wire.notification(mcp.INITIALIZED))
        for kind, fetch in self.lists.items():
            fetch.settled = kind.capability not in self.capabilities
        self.agent.settle_lists(now)
        for kind, fetch in self.lists.items():
            # It may have tools that it did not promise: nobody waits for them, but they are taken.
            if not fetch.settled or kind is Kind.TOOLS:
                fetch.ask(now)

    def remark(self, kind: Kind, remark: Remark) -> None:
        """Something was wrong with a definition on the page that comes next."""
        self.lists[kind].remark(remark)

    def _changed(self, kind: Kind, now: float) -> None:
        """The program says that a list is another one. Before its handshake is over it will be asked for anyway."""
        if self.registration is not None and kind.capability in self.capabilities | {Kind.TOOLS.capability}:
            self.lists[kind].changed(now)

    # --- what the program says by itself ---

    def unreadable(self, frame: bytes, now: float) -> str | None:
        """Take what can be made of a frame that cannot be read; a stray print is dropped and counted."""
        payers = [self.receive(one, now) for one in self.repair(frame, now, self.receive)]
        return next(filter(None, payers), None)

    def repair(self, frame: bytes, now: float, deliver: Deliver) -> list[bytes]:
        """What can be made of a frame that cannot be read; see `FrameRepair.repair`."""
        if self._frame_repair is None:
            self._frame_repair = FrameRepair(self)
        return self._frame_repair.repair(frame, now, deliver)

    def meant(self, raw: bytes, error: Raw | UnsetType, now: float) -> int:
        """Which of our ids an answer means that has none of them as we spelled it; 0 where that is not clear."""
        if awaits(self, raw):
            self.note(Note.IDS_RESPELLED, now)
            return respelled(raw)
        awaited = self.awaited_ids
        if raw not in (b"", wire.NULL_ID) or len(awaited) != 1:
            return 0
        # Who cannot read a request does not know its id (JSON-RPC 2.0, section 5).
        if is_unread(error):
            return awaited[0]
        if self._given_up:
            return 0  # it may be the late answer to another caller
        self.note(Note.IDS_RESPELLED, now)
        return awaited[0]

    def notified(self, method: str, envelope: wire.Envelope, now: float) -> str | None:
        """The agent that a notification is for, where it is for one that asked."""
        if method == mcp.PROGRESS:
            return self._progress(envelope, now)
        if method in mcp.CHANGED:
            for kind in mcp.CHANGED[method]:
                self._changed(kind, now)
        elif method == mcp.RESOURCE_UPDATED:
            self._updated(wire.members(envelope.params) or {})
        elif method == mcp.CANCELLED:
            self._gave_up(wire.members(envelope.params) or {})
        elif method == mcp.TASK_STATUS:
            self._task_is(wire.members(envelope.params) or {})
        elif method == mcp.MESSAGE:
            self._said(wire.members(envelope.params) or {}, envelope.params)
        else:
            self.drop("notification_not_routed")
        return None

    def _gave_up(self, params: dict[str, Raw]) -> None:
        """The program does not wait any longer for what it asked a client."""
        key = wire.id_key(params["requestId"]) if "requestId" in params else None
        asking = self._asking.pop(key, None) if key is not None else None
        if asking is None:
            self.drop("cancelled_nothing_pending")
            return
        client, number = asking
        client.reverse_requests.give_up(number, params.get("reason"))

    def _task_is(self, params: dict[str, Raw]) -> None:
        """The program says how a task is."""
        own, registration = mcp.string(params.get("taskId")), self.registration
        task = registration.tasks.get(own) if registration is not None and own is not None else None
        if task is None or not task.status_told(self, params):
            self.drop("status_of_unknown_task")

    def _updated(self, params: dict[str, Raw]) -> None:
        """A resource changed: tell those who subscribed to it, or to one that it is part of."""
        uri = mcp.string(params.get("uri"))
        served = self.registration if self.registration is not None and self.registration.live is self else None
        told = subscribers(served, uri) if served is not None and uri is not None else []
        if not told:
            self.drop("update_for_nobody")
        for device, public in told:
            body = params if public == uri else params | {"uri": Raw(encode(public))}
            device.link.send(wire.notification(mcp.RESOURCE_UPDATED, encode(body)))

    def _said(self, params: dict[str, Raw], raw: Raw | UnsetType) -> None:
        """The program logs something: pass it to the clients that want to hear it (docs/protocol.md, section 14)."""
        level = mcp.string(params.get("level"))
        if level not in mcp.LEVELS:
            self.drop("bad_log_level")
            return
        frame = wire.notification(mcp.MESSAGE, raw)
        told = list(listeners(self, mcp.LEVELS.index(level)))
        if not told:
            self.drop("log_for_nobody")
        for device, about in told:
            device.link.send(frame, about)

    def _progress(self, envelope: wire.Envelope, now: float) -> str | None:
        params = wire.members(envelope.params)
        raw = bytes(params["progressToken"]) if params and "progressToken" in params else b""
        number = respelled(raw)
        call, about = self.pending.get(number), True
        if call is None:
            call, about = self.begun.get(number), False  # its own request has its answer
        if params is None or call is None or call.progress_token is None:
            self.drop("progress_for_nothing_pending")
            return None
        params["progressToken"] = call.progress_token
        call.renew(now)
        call.caller.link.send(wire.notification(mcp.PROGRESS, encode(params)), call.key if about else None)
        return call.caller.agent_id

    def requested(self, method: str, id_: bytes, raw: Raw | UnsetType, now: float) -> None:
        """Answer a request of the tool program, or send it on to the client that it can only be meant for."""
        key = wire.id_key(id_)
        if key is None:
            self.drop("bad_id")
        elif method == "ping":
            self.link.send(wire.result(id_, b"{}"))
        elif key in self._asking:
            self.link.send(self.failure(id_, Fault.ID_IN_FLIGHT, id=id_[:80].decode(errors="replace")))
        elif method in mcp.ASKS:
            ability = mcp.ASKS[method]
            if len(self._asking) >= MOST_ASKED:
                self.link.send(self.failure(id_, Fault.TOO_MANY_QUESTIONS, limit=MOST_ASKED))
                return
            call = whom_to_ask(self, ability, raw, now)
            if call is None:
                refuse_to_ask(self, id_, ability, raw)
            else:
                client = call.caller
                number = client.reverse_requests.add(call, partial(self._client_answers, id_, key))
                self._asking[key] = client, number
                client.reverse_requests.send(number, method, raw, now)
        elif is_echo(self, method, id_, raw):
            self.drop("echo")
            self.note(Note.ECHOES, now)
        else:
            fault = Fault.DEVICE_ON_TOOL_DOOR if method == "initialize" else Fault.NO_SUCH_METHOD
            self.link.send(self.failure(id_, fault, method=method[:100]))
            if fault is Fault.DEVICE_ON_TOOL_DOOR and Note.DEVICE_ON_TOOL_DOOR not in self.notes:
                self.note(Note.DEVICE_ON_TOOL_DOOR, now)
                self.agent.settle_lists(now)

    def _client_answers(self, id_: bytes, key: bytes, envelope: wire.Envelope | None) -> None:
        """A client answers what the program asked it; None: its call is over, and it will not."""
        self._asking.pop(key, None)
        result, error = (UNSET, UNSET) if envelope is None else (envelope.result, envelope.error)
        if result is not UNSET and (result != wire.NULL or error is UNSET):
            frame = wire.result(id_, result)
        elif error is not UNSET and error != wire.NULL:
            frame = wire.error(id_, proper(error))
        else:
            frame = self.failure(id_, Fault.NO_ANSWER)
        self.link.send(wire.one_line(frame))

    # --- the end ---

    def ended(self, ended: Ended) -> None:
        """The link is gone, or its program is replaced: its calls end with errors at once."""
        if self._review is not None:
            self._review.cancel()
        if self._frame_repair is not None:
            self._frame_repair.forget()
        super().ended(ended)
