"""One session with a server over Streamable HTTP: the requests it is made of, and what their answers bring."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.addresses import AllowedAddresses, Resolve, look_up
from mcp_endpoint.net.event_reader import EVENT_LIMIT
from mcp_endpoint.net.http_answer import HttpAnswer
from mcp_endpoint.net.http_client import REPEATABLE, HttpLimits, HttpSettings, Sending, drain, make_client
from mcp_endpoint.net.proxies import Route, direct
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.providers.source_output import Pacer
from mcp_endpoint.providers.transports.http_answers import (
    EVENTS,
    JSON,
    StreamPosition,
    answer_to,
    frames_in,
    media_type,
    refused,
)
from mcp_endpoint.providers.transports.streamable_http.streams import following

SILENCE = 300.0
MOST_IN_FLIGHT = 256
LONGEST_SESSION = 1024
"""Characters of a session's id."""


@dataclass(frozen=True)
class StreamableHttpSettings:
    """Where a server is and how to speak to it."""

    url: str = field(repr=False)
    """It may hold a secret in its query."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private: tuple[str, ...] = ()
    """Private networks, addresses and host names that may be connected to; loopback is private."""
    event_limit: int = EVENT_LIMIT
    """Bytes of one event or of one JSON body."""
    silence: float = SILENCE
    """Seconds that an answer may be silent before its request fails."""
    most_in_flight: int = MOST_IN_FLIGHT
    """Frames on their way or not answered yet."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Whose certificates are trusted; None for the usual ones."""
    route: Route = field(default=direct, repr=False)
    """Which proxy leads where."""
    resolve: Resolve = field(default=look_up, repr=False)


class Session:
    """One session. Its id and its revision stand in each request, once they are known."""

    def __init__(self, settings: StreamableHttpSettings, sending: Sending) -> None:
        """Raises ValueError where `allow_private` has an entry that is none."""
        self.settings = settings
        self.greeted = False
        """Whether the server has answered `initialize`; it cannot name the session any more then."""
        self.stateless = False
        """Whether the server is of the stateless era, which has no sessions."""
        self.number = 0
        """Of how many sessions there were before this one."""
        self.pacer = Pacer()
        """That of all its streams and answers."""
        self._headers: dict[str, str] = {}
        self._url: httpx.URL | str = settings.url
        limits = HttpLimits(read=settings.silence, connections=settings.most_in_flight + 8)
        allowed = AllowedAddresses.of(settings.allow_private)
        self._sending = sending
        self._client = make_client(
            HttpSettings(settings.headers, allowed, settings.tls, settings.route, limits, settings.resolve)
        )

    @property
    def has_id(self) -> bool:
        """Whether the server has given it an id, and may forget it."""
        return "Mcp-Session-Id" in self._headers

    def speak(self, version: str) -> None:
        """Name this revision in every request from now on."""
        self._headers["MCP-Protocol-Version"] = version

    def forget(self) -> None:
        """Be a new session, or none where the server has none."""
        self._headers.clear()
        self.greeted = False
        self.number += 1

    async def tell(self, frame: bytes, *, repeatable: bool = False) -> None:
        """POST a frame that has no answer. Raises Stopped."""
        greeted, has_state, named = self.greeted, self._has_state, self.has_id
        response = await self.http("POST", frame, repeatable=repeatable)
        if response.status_code >= 300:
            await refused(response, None, greeted=greeted, has_state=has_state, named=named)
        await drain(response)

    async def ask(
        self,
        id_: bytes,
        frame: bytes,
        take: OnFrame,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = False,
    ) -> bool:
        """POST a request and take all that its answer brings; its own answer comes last. Raises Stopped.

        False if the server has accepted it without an answer, which may come on the standing stream.
        """
        # As it is now: it may be another session when the answer comes.
        greeted, has_state, named = self.greeted, self._has_state, self.has_id
        response = await self.http("POST", frame, headers, repeatable=repeatable)
        try:
            if response.status_code >= 300:
                take(await refused(response, id_, greeted=greeted, has_state=has_state, named=named))
                return True
            session = response.headers.get("mcp-session-id", "").strip()
            if not greeted and 0 < len(session) <= LONGEST_SESSION:
                self._headers["Mcp-Session-Id"] = session

            def answer(frame: bytes) -> bytes | None:
                return answer_to(frame, id_, has_state=has_state)

            if media_type(response) == EVENTS:
                await following(response, StreamPosition(), answer, take, self.stream, self.settings, self.pacer)
                return True
            frames = await frames_in(response, self.settings.event_limit, self.settings.silence)
            if not frames:
                if response.status_code not in (202, 204):
                    raise Stopped(StopReason.NOT_MCP, f"HTTP {response.status_code} without a body")
                return False
            found = [(answer(one), one) for one in frames]
            if not any(mine for mine, _ in found):
                words = HttpAnswer(response.status_code, JSON, frames[0]).own_words
                raise Stopped(StopReason.NOT_MCP, quote_peer(f"the body holds no answer to the request: {words}"))
            for mine, one in sorted(found, key=lambda pair: pair[0] is not None):
                await self.pacer.frame(take(mine or one) or 0.0)
            return True
        finally:
            await response.aclose()

    @property
    def _has_state(self) -> bool:
        """Whether there is something that the server can have forgotten."""
        return self.greeted and not self.stateless

    async def stream(self, last_id: str | None) -> httpx.Response:
        """GET a stream of events, behind the event with this id if there is one."""
        return await self.http("GET", headers={} if last_id is None else {"Last-Event-ID": last_id}, endless=True)

    async def http(
        self,
        method: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        endless: bool = False,
        repeatable: bool = False,
    ) -> httpx.Response:
        """One HTTP request in the session; a repeatable one may be sent twice. Raises Stopped."""
        accept = EVENTS if method == "GET" else f"{JSON}, {EVENTS}"
        fields = {"Accept": accept, **self._headers, **(headers or {})}
        if content is not None:
            fields["Content-Type"] = JSON
        timeout = httpx.Timeout(self._client.timeout)
        if endless:
            timeout.read = None
        try:
            request = self._client.build_request(
                method, self._url, content=content, headers=fields, timeout=timeout, extensions={REPEATABLE: repeatable}
            )
        except (httpx.InvalidURL, ValueError, TypeError):
            raise Stopped(StopReason.UNREACHABLE, "the URL or a header cannot be used") from None
        with as_stopped():
            response = await self._sending(self._client, request)
        if response.request.url != request.url and response.status_code < 400:
            self._url = response.request.url  # where it was led to, which is on the same host
        return response

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
