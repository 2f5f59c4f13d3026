"""An MCP server inside this process: what a source answers with whose tools are functions and not a program.

It speaks the handshake era in frames and knows nothing of what is behind its tools. Nothing it sends is sent from
within `receive`, so whoever hands it a frame is never called back before that returned.
"""

import asyncio
import contextlib
import traceback
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Any

from loguru import logger
from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.arguments.meanings import arguments_of
from mcp_endpoint.providers.local.tool_spec import Call, FeatureSpec, Limits, Refused, ServerSpec, failed
from mcp_endpoint.providers.source import OnFrame
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.repair.requests import read_request

PAGE = 256 * 1024
"""Bytes of definitions in one page of a list; one definition at least."""
SAID = 50
MOST_IGNORED = 100
"""Arguments nobody declared that are told of, once for each tool and name: callers choose the names."""
CLOSE_WITHIN = 5.0

_ANSWERING = {"tools/call": Kind.TOOLS, "prompts/get": Kind.PROMPTS, "resources/read": Kind.RESOURCES}


class LocalServer:
    """Answers frames for a `ServerSpec`. It is made in a running event loop; `close` must be called in the end."""

    def __init__(self, spec: ServerSpec, take: OnFrame, limits: Limits | None = None) -> None:
        self._take = take
        self._limits = limits or Limits()
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, tuple[Call, asyncio.Task[None]]] = {}
        self._works: set[asyncio.Task[Any]] = set()
        self._ignored: set[tuple[str, str]] = set()
        self._closed = False
        self.level = mcp.LEVELS.index("info")
        """Which log messages are wanted: an index of `mcp.LEVELS`."""
        self.said: deque[str] = deque(maxlen=SAID)
        """What its owner should know, as a program's last lines of stderr."""
        self._put(spec)

    def time(self) -> float:
        """Seconds by the loop's clock."""
        return self._loop.time()

    def _put(self, spec: ServerSpec) -> None:
        self._spec = spec
        self._listed = {kind: [encode(one.definition) for one in spec.of(kind)] for kind in Kind}
        self._named = {kind: {str(one.definition[kind.naming]): one for one in spec.of(kind)} for kind in Kind}

    def change(self, spec: ServerSpec) -> None:
        """Offer something else from now on, and say which lists changed. Calls in flight end as they began."""
        before = self._listed
        self._put(spec)
        changed = {kind.changed for kind in Kind if before[kind] != self._listed[kind]}
        for method in sorted(changed):
            self._send(wire.notification(method))

    def note(self, line: str) -> None:
        """Keep one line for the owner, and log it: secrets cut, controls escaped."""
        shown = quote_peer(line, 500)
        self.said.append(shown)
        logger.warning("[{}] {}", quote_peer(self._spec.name, 64), shown)

    async def close(self) -> None:
        """End all calls; nothing is sent any more. What does not end within 5 s is left to itself."""
        self._closed = True
        self._drop_calls()
        if self._works:
            await asyncio.wait(self._works, timeout=CLOSE_WITHIN)

    # --- frames ---

    def receive(self, frame: bytes) -> None:
        """Take one frame. Never blocks and never raises."""
        if self._closed:
            return
        try:
            envelope = wire.read(frame)
        except wire.NotJson:
            self._repaired(frame)
            return
        except wire.NotAnEnvelope as error:
            self._fail(error.id, Code.INVALID_REQUEST, f"不是 JSON-RPC 请求。 / This is no JSON-RPC request: {error}.")
            return
        if envelope.method is UNSET:
            return
        if envelope.id is UNSET:
            if envelope.method == mcp.CANCELLED:
                self._cancelled(wire.members(envelope.params) or {})
            return
        id_ = bytes(envelope.id)
        key = wire.id_key(id_)
        if key is None or key in self._waiting:
            why = "编号无效或仍在处理中。 / The id is no string or integer, or is still in flight."
            self._fail(wire.NULL_ID if key is None else id_, Code.INVALID_REQUEST, why)
        else:
            self._requested(id_, key, envelope.method, envelope.params)

    def _repaired(self, frame: bytes) -> None:
        """A bridge hands in what an endpoint sent, as it came."""
        reading = read_request(frame)
        for one in reading.frames:
            self.receive(one)
        if reading.lost is not None and reading.lost.is_request:
            flaw = reading.lost.flaw
            self._fail(reading.lost.id, Code.PARSE_ERROR, f"消息有误：{flaw.zh} / This cannot be read: {flaw.en}")
        elif not reading.frames:
            self._fail(wire.NULL_ID, Code.PARSE_ERROR, "不是 JSON。 / This is not JSON.")

    def _requested(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType) -> None:
        params = wire.members(raw) or {}
        if method in _ANSWERING:
            self._call(id_, key, _ANSWERING[method], params)
        elif method in mcp.LISTED:
            self._list(id_, mcp.LISTED[method], params)
        elif method == "initialize":
            self._drop_calls()  # a new session: nobody knows of the last one's any more
            self._send(wire.result(id_, encode(self._introduction(mcp.read_initialize(raw).revision))))
        elif method == "ping":
            self._send(wire.result(id_, b"{}"))
        elif method == "logging/setLevel":
            self._set_level(id_, mcp.string(params.get("level")))
        else:
            self._fail(id_, Code.METHOD_NOT_FOUND, f"没有该方法。 / There is no method {quote_peer(method, 100)}.")

    def _introduction(self, revision: str) -> dict[str, object]:
        spec, changes = self._spec, {"listChanged": True} if self._spec.changes else {}
        capabilities: dict[str, object] = {
            kind.capability: changes for kind in Kind if kind is Kind.TOOLS or spec.of(kind) or spec.changes
        }
        return {
            "protocolVersion": revision if revision in mcp.REVISIONS else mcp.NEWEST,
            "capabilities": capabilities | {"logging": {}},
            "serverInfo": {"name": spec.name, "version": spec.version or "0"},
            **({"instructions": spec.instructions} if spec.instructions else {}),
        }

    def _set_level(self, id_: bytes, level: str | None) -> None:
        if level not in mcp.LEVELS:
            known = ", ".join(mcp.LEVELS)
            self._fail(id_, Code.INVALID_PARAMS, f"level 应为其中之一 / level must be one of: {known}")
            return
        self.level = mcp.LEVELS.index(level)
        self._send(wire.result(id_, b"{}"))

    def _list(self, id_: bytes, kind: Kind, params: Mapping[str, Raw]) -> None:
        cursor = mcp.string(params.get("cursor")) or "0"
        listed = self._listed[kind]
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10 and int(cursor) <= len(listed)):
            self._fail(id_, Code.INVALID_PARAMS, "分页游标无效。 / The cursor is not valid; list from the start.")
            return
        start = end = int(cursor)
        most = max(PAGE, self._limits.page)
        size = 0
        while end < len(listed) and (end == start or size + len(listed[end]) <= most):
            size += len(listed[end])
            end += 1
        page = {kind.member: [Raw(one) for one in listed[start:end]]}
        more = {"nextCursor": str(end)} if end < len(listed) else {}
        self._send(wire.result(id_, encode(page | more)))

    # --- calls ---

    def _call(self, id_: bytes, key: bytes, kind: Kind, params: Mapping[str, Raw]) -> None:
        name = mcp.string(params.get(kind.naming))
        feature = None if name is None else self._find(kind, name)
        arguments = arguments_of(params.get("arguments"))
        if name is None or feature is None:
            shown = quote_peer(name or "", 100)
            known = ", ".join(list(self._named[kind])[:20]) or "-"
            self._fail(id_, Code.INVALID_PARAMS, f"没有“{shown}”。 / There is no {shown!r}; there are: {known}")
        elif arguments is None:
            self._fail(id_, Code.INVALID_PARAMS, "arguments 应为对象。 / arguments must be an object.")
        elif len(self._works) >= self._limits.calls:
            text = "同时进行的调用过多，请稍后再试。 / Too many calls are running at once; try again shortly."
            self._answer(id_, kind, Refused(text))
        else:
            seconds = feature.timeout or self._limits.timeout
            meta = wire.members(params.get("_meta", UNSET)) or {}
            call = Call(self, name, arguments, meta, self.time() + seconds)
            self._waiting[key] = call, self._loop.create_task(self._run(id_, key, kind, feature, call, seconds))

    def _find(self, kind: Kind, name: str) -> FeatureSpec | None:
        exact = self._named[kind].get(name)
        if exact is not None or kind is not Kind.RESOURCES:
            return exact
        return next((one for one in self._spec.of(Kind.TEMPLATES) if one.fits(name)), None)

    async def _run(self, id_: bytes, key: bytes, kind: Kind, feature: FeatureSpec, call: Call, seconds: float) -> None:
        """One call up to its answer, which comes in time even where the handler does not mind being cancelled."""
        work: asyncio.Task[Mapping[str, object]] = self._loop.create_task(_safely(feature.answer(call)))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        outcome: Mapping[str, object] | BaseException
        try:
            done, _ = await asyncio.wait({work}, timeout=seconds)
            if not done:
                outcome = Refused(
                    f"“{call.name}”在 {seconds:g} 秒内没有完成。 / {call.name} did not finish within {seconds:g} s."
                )
            elif work.cancelled():
                outcome = Refused(f"“{call.name}”被中止。 / {call.name} was broken off.")
            else:
                outcome = work.exception() or work.result()
        finally:
            call.ended = True
            work.cancel()
            if self._waiting.get(key, (None,))[0] is call:
                del self._waiting[key]
        self._answer(id_, kind, outcome, call.name)

    def _answer(self, id_: bytes, kind: Kind, outcome: Mapping[str, object] | BaseException, name: str = "") -> None:
        if isinstance(outcome, BaseException):
            self._answer_error(id_, kind, outcome, name)
            return
        try:
            body = encode(outcome)
        except (TypeError, ValueError, RecursionError) as error:
            self._answer_error(id_, kind, error, name)
            return
        if len(body) > self._limits.result:
            limit = f"{len(body)} > {self._limits.result}"
            self._answer_error(id_, kind, Refused(f"结果过大。 / The result is too large ({limit} bytes)."), name)
            return
        self._send(wire.result(id_, body))

    def _answer_error(self, id_: bytes, kind: Kind, error: BaseException, name: str) -> None:
        if isinstance(error, Refused | BadArguments):
            text = str(error)
        else:
            shown = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            text = f"“{name}”出错 / {name} failed: {quote_peer(shown, 500)}"
            self.note(f"{name}: {_where(error)}{shown}")
        if kind is Kind.TOOLS:
            self._send(wire.result(id_, encode(failed(text))))
        else:
            code = Code.INVALID_PARAMS if isinstance(error, BadArguments) else Code.INTERNAL_ERROR
            self._fail(id_, code, text)

    def _cancelled(self, params: Mapping[str, Raw]) -> None:
        key = wire.id_key(params["requestId"]) if "requestId" in params else None
        if key is not None and key in self._waiting:
            self._drop(key)

    def _drop_calls(self) -> None:
        for key in list(self._waiting):
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        call, task = self._waiting.pop(key)
        call.ended = True
        task.cancel()

    # --- what is sent, and what is told ---

    def ignored(self, call: Call, argument: str) -> None:
        """Log, once, that calls of a tool have an argument that nobody declared."""
        about = call.name, argument[:100]
        if about in self._ignored or len(self._ignored) >= MOST_IGNORED:
            return
        self._ignored.add(about)
        shown = [quote_peer(text, 100) for text in (self._spec.name, call.name, argument)]
        logger.info("[{}] {} has no argument {!r}: it is left out, and told of only once", *shown)

    def tell(self, call: Call, frame: bytes) -> None:
        """Send what a call has to say, from whatever thread, while somebody waits for its answer."""

        def say() -> None:
            if not call.ended and not self._closed:
                self._take(frame)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(say)

    def _fail(self, id_: bytes, code: Code, message: str) -> None:
        self._send(wire.failure(id_, code, message))

    def _send(self, frame: bytes) -> None:
        self._loop.call_soon(self._deliver, frame)

    def _deliver(self, frame: bytes) -> None:
        if not self._closed:
            self._take(frame)


async def _safely(work: Awaitable[Mapping[str, object]]) -> Mapping[str, object]:
    """A handler's work; `sys.exit()` in it ends the call and not the program."""
    try:
        return await work
    except SystemExit as error:
        raise Refused(f"程序试图退出。 / It tried to exit ({error.code}).") from error


def _where(error: BaseException) -> str:
    """The last place in a traceback, as `file.py, line 3: `."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""
