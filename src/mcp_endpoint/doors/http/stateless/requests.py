"""Streamable HTTP of the stateless era (2026-07-28): every POST stands for itself.

There are no sessions, no GET and nothing to resume; closing the answer's stream cancels the request. Tool sides behind
the broker are of the handshake era, so a request is translated on its way there, and its answer on its way back.
"""

import asyncio
import contextlib
from http import HTTPStatus

from msgspec import UNSET

from mcp_endpoint.broker.tool_side.subscriptions import MAX_SUBSCRIPTIONS
from mcp_endpoint.doors.http.access import Client
from mcp_endpoint.doors.http.body import Message, Post, Refused
from mcp_endpoint.doors.http.event_link import EventLinks
from mcp_endpoint.doors.http.event_stream import write_events
from mcp_endpoint.doors.http.exchange import Exchange
from mcp_endpoint.doors.http.media import Accepted
from mcp_endpoint.doors.http.stateless.input_required import InputRequiredRequests
from mcp_endpoint.doors.http.stateless.link import RequestLink, StatelessLink
from mcp_endpoint.doors.http.stateless.listen import ListenLink
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp, param_headers
from mcp_endpoint.wire import stateless as rules

SOON = 1.0
"""Seconds within which an answer goes out as JSON; after them comments keep the connection alive."""
ACKNOWLEDGED_WITHIN = 5.0
"""Seconds a tool side has to grant a subscription: a client waits for the acknowledgement."""


class Stateless:
    """The door: answers every request whose token was found good. Raises Refused for what it does not take."""

    def __init__(self, port_state: PortState) -> None:
        self._links = EventLinks(port_state)
        self._input_required = InputRequiredRequests(port_state)

    async def post(self, exchange: Exchange, client: Client, posted: Post) -> None:
        """Answer one POST."""
        if posted.is_batch:
            raise Refused(Refusal.NOT_ONE_MESSAGE)
        [message] = posted.messages
        exchange.about(message.id)
        try:
            await self._answer(exchange, client, message, posted.takes)
        except rules.InvalidRequest as unfit:
            raise Refused(unfit.why, message.id, details=unfit.details, facts=unfit.data) from None

    async def _answer(self, exchange: Exchange, client: Client, message: Message, takes: Accepted) -> None:
        method, params = message.envelope.method, message.envelope.params
        if method is UNSET:
            raise Refused(Refusal.NOT_ONE_MESSAGE)  # an answer: the broker asks nothing
        version = exchange.headers.get(rules.VERSION_HEADER)
        unsupported = None if version is None else rules.unsupported(version)
        if message.key is None:
            if unsupported is not None:
                raise unsupported
            await exchange.reply(HTTPStatus.ACCEPTED)  # none means anything in this era, and nobody reads an error
            return
        if unsupported is not None and not rules.has_envelope(params):
            raise unsupported  # it tells a client of another era which versions there are
        opening = rules.check(method, params, exchange.headers, exchange.repeated)
        if method in rules.REMOVED:
            raise rules.InvalidRequest(
                Refusal.REMOVED_METHOD,
                f"{rules.REVISION} 没有方法 {method}；旧版本请先发送 initialize 建立会话",
                f"{method} is none of {rules.REVISION}; with an older version begin a session by initialize",
                supported=list(rules.SUPPORTED),
            )
        if method == rules.LISTEN:
            if not takes.events:
                raise Refused(Refusal.NOT_ACCEPTABLE, message.id)
            await self._listen(exchange, client, message, opening)
        else:
            await self._ask(exchange, client, message, opening, takes)

    async def _ask(
        self, exchange: Exchange, client: Client, message: Message, opening: rules.RequestMeta, takes: Accepted
    ) -> None:
        again = self._asked_before(client, message)
        link = again or RequestLink(self._links, client, message, exchange.connection)
        try:
            link.wants_log = opening.log_level is not None
            link.answers_only = not takes.events
            if again is not None:
                link.go_on(message, exchange.connection)
            else:
                link.initialize(opening)
                if message.envelope.method == "tools/call":
                    _check_param_headers(exchange, link)
                link.ask()
        except BaseException:
            link.leave()
            raise
        await self._answer_with(exchange, link, takes)

    def _asked_before(self, client: Client, message: Message) -> RequestLink | None:
        """The link of a request that was answered with a question, and is made again. Raises InvalidRequest."""
        state = (wire.members(message.envelope.params) or {}).get(rules.STATE, wire.NULL)
        if state == wire.NULL:
            return None
        link = self._input_required.take(mcp.string(state) or "", client.agent_id, message)
        if link is None:
            raise rules.InvalidRequest(
                Refusal.UNKNOWN_STATE,
                "请不带 requestState 重新发出请求",
                "make the request anew, without requestState",
            )
        return link

    async def _answer_with(self, exchange: Exchange, link: RequestLink, takes: Accepted) -> None:
        kept = False
        try:
            if not await _settled(exchange, link, SOON if takes.streams else None):
                return
            # A status of its own says more than a stream, and is no answer that a client chooses the form of.
            alone = link.answer is not None and link.waiting == [link.answer]
            if alone and (takes.json or link.status != HTTPStatus.OK):
                assert link.answer is not None
                kept = self._leave_or_keep(link)  # before the client can ask for more
                await exchange.reply(link.status, link.answer)
            else:
                await write_events(exchange, link)
                kept = kept or self._leave_or_keep(link)
        finally:
            if not kept:
                link.leave()

    def _leave_or_keep(self, link: RequestLink) -> bool:
        """It is answered: whether it is kept, because its answer is a question."""
        if link.state is None or link.ended is not None:
            link.leave()
            return False
        self._input_required.put(link.state, link)
        return True

    async def _listen(self, exchange: Exchange, client: Client, message: Message, opening: rules.RequestMeta) -> None:
        asked = rules.read_filter(message.envelope.params, MAX_SUBSCRIPTIONS)
        link = ListenLink(self._links, client, message, exchange.connection, asked)
        try:
            link.initialize(opening._replace(log_level=None))  # log messages belong to requests, never to this stream
            link.subscribe()
            if await _settled(exchange, link, ACKNOWLEDGED_WITHIN):
                link.give_up()
                await write_events(exchange, link)
        finally:
            link.leave()


def _check_param_headers(exchange: Exchange, link: RequestLink) -> None:
    """Hold the headers of a call against its arguments, if its tool says which there are. Raises InvalidRequest."""
    params = wire.members(link.message.envelope.params) or {}
    name = mcp.string(params.get("name"))
    definition = None if name is None or link.side is None else link.side.definition(name)
    if definition is not None:
        param_headers.check(definition, params.get("arguments"), exchange.headers, exchange.repeated)


async def _settled(exchange: Exchange, link: StatelessLink, patience: float | None) -> bool:
    """Wait until it is clear how to answer, or for so many seconds if any; False if the client left meanwhile."""
    if link.settled:
        return True
    leaving = asyncio.ensure_future(exchange.gone())
    leaving.add_done_callback(lambda _: link.wake.set())
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not link.settled and not leaving.done():
                    link.wake.clear()
                    await link.wake.wait()
        return not leaving.done()
    finally:
        leaving.cancel()
