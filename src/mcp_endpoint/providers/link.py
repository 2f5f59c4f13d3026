"""Where a running source meets the broker: one more tool-side link, with what its entry in the file asks for between.

Frames pass as they are, but for the names of tools, the lists that name them, and calls that take too long: these
become jobs, which are asked for here and go on when the broker has no link any more.
"""

from collections import deque
from collections.abc import Callable, Mapping
from time import thread_time
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.broker.link import Peer, Session
from mcp_endpoint.broker.timers import Timer, Timers
from mcp_endpoint.broker.tool_side.tool_side import ToolSide
from mcp_endpoint.broker.work_budget import MEASURED, expected
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.providers.definitions import Definitions, Withhold
from mcp_endpoint.providers.jobs import job_tasks
from mcp_endpoint.providers.jobs.job_watch import JobWatch
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.repair.answers import repaired
from mcp_endpoint.wire.repair.ids import respelled

if TYPE_CHECKING:
    from mcp_endpoint.providers.source import Source

EARLY_FRAMES = 64
"""Frames that wait for a source to open; the broker sends one, its greeting."""


class ProviderLink:
    """The broker's `Link` to one run of a source. `join` and `connect` are called once each, in this order."""

    call_timeout: float | None = None

    def __init__(
        self,
        peer: Peer,
        definitions: Definitions,
        withhold: Withhold,
        timers: Timers,
        clock: Callable[[], float],
        timeout: float | None,
        *,
        local: bool,
    ) -> None:
        self.peer = peer
        self.heard = clock()
        self.greeted = False
        """Whether it said what tools it has, so that its handshake is over."""
        self.on_greeted: Callable[[], None] = lambda: None
        self.on_close: Callable[[End], None] = lambda end: None
        self.pays: Callable[[str, float], None] = lambda agent_id, work: None
        """Told which agent asked for something that took so many seconds of work."""
        self._definitions = definitions
        self._withhold = withhold
        self._timers = timers
        self._clock = clock
        self._timeout = timeout
        self._job_watch: JobWatch | None = None
        self._local = local
        self._may_take_long: Callable[[str], bool] = lambda tool: False
        self._shared = False
        self._session: ToolSide | None = None
        self._source: Source | None = None
        self._early: deque[bytes] = deque(maxlen=EARLY_FRAMES)
        self._lists: set[int] = set()
        self._calls: dict[int, Timer] = {}
        self._greeting: int | None = None
        self._own_tasks = False
        """Whether the source has tasks of its own, so that none are made of its calls here."""
        self._traffic: dict[str, float | int | None] = dict.fromkeys(
            ("frames_in", "frames_out", "bytes_in", "bytes_out"), 0
        )
        self._last_frame: float | None = None

    def join(self, session: Session) -> None:
        """The broker let it in."""
        assert isinstance(session, ToolSide), "it joined as one"
        self._session = session

    def watch(self, job_watch: JobWatch, may_take_long: Callable[[str], bool], *, shared: bool) -> None:
        """Calls of some tools may become jobs; `shared` says that several agents have this one server."""
        self._job_watch = job_watch
        self._may_take_long = may_take_long
        self._shared = shared

    def connect(self, source: "Source") -> None:
        """The source is open: what the broker said meanwhile goes to it."""
        self._source = source
        while self._early:
            source.send(self._early.popleft())

    def part(self) -> None:
        """The broker has no link here any more; jobs go on until `leave`."""
        self._session = None
        for timer in self._calls.values():
            timer.cancel()
        self._calls.clear()
        if self._job_watch is not None:
            self._job_watch.parted()

    def leave(self, why: str) -> None:
        """The run is over; nothing is passed on any more."""
        self._source = None
        self.part()
        if self._job_watch is not None:
            self._job_watch.ended(why)

    @property
    def has_jobs(self) -> bool:
        """Whether calls go on that were answered as jobs."""
        return self._job_watch is not None and self._job_watch.has_jobs

    @property
    def session(self) -> Session | None:
        """What the broker made of it, until it left."""
        return self._session

    @property
    def not_listed(self) -> int:
        """How many tools the broker did not take, because they are over its limits."""
        return 0 if self._session is None else self._session.lists[mcp.Kind.TOOLS].not_taken

    # --- the broker's side: Link ---

    def ping(self, now: float) -> None:
        """Below MCP there is nothing to ask: a source tells when it has ended."""

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        """Hand a frame of the broker to the source."""
        envelope = wire.read(frame)
        if envelope.method is not UNSET and envelope.id is not UNSET:
            asked = self._asked(int(bytes(envelope.id)), envelope, frame)
            if asked is None:
                return
            frame = asked
        elif envelope.method == mcp.CANCELLED:
            self._cancelled(wire.members(envelope.params) or {})
        self.to_source(frame)

    def to_source(self, frame: bytes) -> None:
        """Hand a frame to the source, or keep it until that is open."""
        self._count("out", frame)
        if self._source is not None:
            self._source.send(frame)
        else:
            self._early.append(frame)

    def _cancelled(self, params: dict[str, Raw]) -> None:
        raw = bytes(params.get("requestId", Raw(b"")))
        if raw.isdigit():
            timer = self._calls.pop(int(raw), None)
            if timer is not None:
                timer.cancel()
            if self._job_watch is not None:
                self._job_watch.cancelled(int(raw))

    def close(self, end: End) -> None:
        """The broker wants the link closed; whoever runs the source does it."""
        self.on_close(end)

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of it."""
        return self._traffic | {"last_frame": self._last_frame, "ping_rtt_ms": None}

    def _count(self, way: str, frame: bytes) -> None:
        frames, size = self._traffic[f"frames_{way}"], self._traffic[f"bytes_{way}"]
        self._traffic[f"frames_{way}"] = int(frames or 0) + 1
        self._traffic[f"bytes_{way}"] = int(size or 0) + len(frame)

    def _asked(self, number: int, envelope: wire.Envelope, frame: bytes) -> bytes | None:
        """A request as the source is to see it; None if it is answered here."""
        if envelope.method == mcp.Kind.TOOLS.method:
            if "cursor" not in (wire.members(envelope.params) or {}):
                self._definitions.begin()
            self._lists.add(number)
        elif envelope.method == "tools/call":
            return self._called(number, envelope, frame)
        elif self._job_watch is not None:
            if envelope.method == "initialize":
                self._greeting = number
            elif envelope.method in job_tasks.METHODS and not self._own_tasks:
                self._job_watch.tasks.asked(number, str(envelope.method), wire.members(envelope.params) or {})
                return None
            params = wire.members(envelope.params) or {}
            if not self._local and (kept := _without_caller(params)) is not params:
                return wire.request(number, str(envelope.method), encode(kept))
        return frame

    def _called(self, number: int, envelope: wire.Envelope, frame: bytes) -> bytes | None:
        params = asked = wire.members(envelope.params) or {}
        shown = mcp.string(params.get("name")) or ""
        own = self._definitions.own_name(shown)
        if own is None:
            # It may have it all the same: its owner chose what is shown of it.
            text = f"没有名为 {shown[:100]} 的工具。 / There is no tool {shown[:100]}."
            self.to_broker(wire.failure(b"%d" % number, int(Code.INVALID_PARAMS), text))
            return None
        as_task = "task" in params and self._job_watch is not None and not self._own_tasks
        if as_task:
            params = {name: value for name, value in params.items() if name != "task"}
        if self._job_watch is not None and self._may_take_long(own):
            watched = self._job_watch.call(number, shown, params, as_task=as_task)
            if watched is None:
                return None
            params = watched
        elif self._timeout is not None:
            until = self._clock() + self._timeout
            self._calls[number] = self._timers.at(until, lambda now: self._too_late(number, now))
        if not self._local:
            params = _without_caller(params)
        if own == shown and params is asked:
            return frame
        return wire.request(number, "tools/call", encode(params | {"name": Raw(encode(own))}))

    def _too_late(self, number: int, now: float) -> None:
        """The server's own `timeout` is over: the broker ends the call, as it does at the caller's."""
        del self._calls[number]
        if self._session is not None:
            self._session.overdue(number, now)

    # --- the source's side ---

    def take(self, frame: bytes) -> float:
        """Hand a frame of the source to the broker; the seconds of work that it was, unless an agent asked for it."""
        if len(frame) < MEASURED:
            self._taken(frame)
            return 0.0
        began = thread_time()
        payer = self._taken(frame)
        work = max(thread_time() - began, expected(len(frame)))
        if payer is None:
            return work
        self.pays(payer, work)
        return 0.0

    def _taken(self, frame: bytes) -> str | None:
        """The agent that asked for a frame, once it was handed on."""
        if self._session is None and self._source is None:
            return None
        now = self.heard = self._last_frame = self._clock()
        self._count("in", frame)
        if not frame.isascii():
            try:
                str(frame, "utf-8")
            except UnicodeDecodeError:
                return self._repaired(frame, now)
        return self._passed(frame, now)

    def _repaired(self, frame: bytes, now: float) -> str | None:
        """What can be made of a frame that cannot be read goes the same way as one that can."""
        frames = repaired(frame) if self._session is None else self._session.repair(frame, now, self._passed)
        payers = [self._passed(one, now) for one in frames]
        return next(filter(None, payers), None)

    def _passed(self, frame: bytes, now: float) -> str | None:
        if self._lists or self._calls or self._job_watch or self._greeting is not None:
            try:
                seen = self._answered(frame)
            except ValueError:
                return self._repaired(frame, now)
            if seen is None:
                return None
            frame = seen
        if self._session is None:
            self._alone(frame)
            return None
        payer = self._session.receive(frame, now)
        if not self.greeted and self._session.registration is not None:
            # However its list ended: of one that is too long, or never ends, the broker takes what it has.
            self.greeted = True
            self.on_greeted()
        return payer

    def _answered(self, frame: bytes) -> bytes | None:
        """The frame as the broker is to see it; None if it is not. Raises ValueError."""
        envelope = wire.read(frame)
        if envelope.method == mcp.PROGRESS and self._job_watch is not None:
            mine = self._job_watch.progressed(wire.members(envelope.params) or {})
            return None if mine else frame
        if envelope.method in mcp.ASKS and envelope.id is not UNSET and self.has_jobs:
            # The caller of a job has its answer: whoever has a call in flight would be asked in its place.
            text = "后台任务不能询问客户端。 / A job in the background cannot ask a client."
            self.to_source(wire.failure(bytes(envelope.id), int(Code.METHOD_NOT_FOUND), text))
            return None
        if envelope.method == mcp.MESSAGE and self._shared and self.has_jobs:
            return None  # it may be about a job of an agent that the broker knows nothing of
        raw = b"" if envelope.id is UNSET or envelope.method is not UNSET else bytes(envelope.id)
        number = int(raw) if raw.isdigit() and len(raw) <= 10 else respelled(raw)
        timer = self._calls.pop(number, None)
        if timer is not None:
            timer.cancel()
        if number and self._job_watch is not None and self._job_watch.answered(number, envelope):
            return None
        if number == self._greeting:
            return self._introduced(raw, envelope, frame)
        if number not in self._lists:
            return frame
        self._lists.discard(number)
        if envelope.result is UNSET:
            return frame
        result = self._definitions.page(envelope.result, self._withhold, self._as_task, self._becomes_job)
        if self._session is not None:
            for remark in self._definitions.remarks:
                self._session.remark(mcp.Kind.TOOLS, remark)
            self._session.unmatched = self._definitions.unmatched
        return wire.result(raw, result)

    def _alone(self, frame: bytes) -> None:
        """The broker has no link any more: of what a source says beside its jobs, a ping has an answer."""
        try:
            envelope = wire.read(frame)
        except ValueError:
            return
        if envelope.method == "ping" and envelope.id is not UNSET:
            self.to_source(wire.result(bytes(envelope.id), b"{}"))

    def _introduced(self, id_: bytes, envelope: wire.Envelope, frame: bytes) -> bytes:
        """The source's answer to its greeting, with what is done for it here."""
        self._greeting = None
        if wire.members(envelope.result) is None:
            return frame
        assert envelope.result is not UNSET, "it has members"
        claimed = job_tasks.claimed(envelope.result)
        self._own_tasks = claimed is None
        return frame if claimed is None else wire.result(id_, claimed)

    def _becomes_job(self, own: str) -> bool:
        """Whether a call of a tool may be answered by what says that it goes on."""
        return self._job_watch is not None and self._may_take_long(own)

    def _as_task(self, own: str) -> bool:
        """Whether a tool may be called as a task that is made here."""
        return self._becomes_job(own) and not self._own_tasks

    def to_broker(self, frame: bytes) -> None:
        """Hand the broker an answer of this side's own making."""
        if self._session is not None:
            self._session.receive(frame, self._clock())

    def list_again(self) -> None:
        """Have the broker ask for the tools anew: other ones may be shown."""
        if self._session is not None and self.greeted:
            self._session.receive(wire.notification(mcp.Kind.TOOLS.changed), self._clock())


def _without_caller(params: dict[str, Raw]) -> dict[str, Raw]:
    """Who calls is for the broker's own use, and none of a third party's business."""
    meta = wire.members(params.get("_meta", UNSET))
    if meta is None or mcp.CALLER not in meta:
        return params
    del meta[mcp.CALLER]
    rest = {name: value for name, value in params.items() if name != "_meta"}
    return rest | ({"_meta": Raw(encode(meta))} if meta else {})
