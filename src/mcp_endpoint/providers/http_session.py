"""One session with a server over Streamable HTTP: the requests it is made of, and what their answers bring."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from mcp_endpoint.providers.addresses import Allowed, Resolve, look_up
from mcp_endpoint.providers.events import EVENT_LIMIT
from mcp_endpoint.providers.http_answers import EVENTS, JSON, Place, media_type, refused, split
from mcp_endpoint.providers.http_client import HttpLimits, HttpSettings, Sending, drained, make_client, read_body
from mcp_endpoint.providers.http_streams import answers, following
from mcp_endpoint.providers.outlet import Pace
from mcp_endpoint.providers.proxies import Route, direct
from mcp_endpoint.providers.source import Stopped, Take, Why
from mcp_endpoint.redaction import quote_peer

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
        self.pace = Pace()
        """That of all its streams and answers."""
        self._headers: dict[str, str] = {}
        limits = HttpLimits(read=settings.silence, connections=settings.most_in_flight + 8)
        allowed = Allowed.of(settings.allow_private)
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
        """Be no session any more: the stateless era has none."""
        self._headers.clear()

    async def tell(self, frame: bytes) -> None:
        """POST a frame that has no answer. Raises Stopped."""
        response = await self.http("POST", frame)
        if response.status_code >= 300:
            await refused(response, None, in_session=self.has_id)
        await drained(response)

    async def ask(self, id_: bytes, frame: bytes, take: Take, headers: Mapping[str, str] | None = None) -> None:
        """POST a request and take all that its answer brings; its own answer comes last. Raises Stopped."""
        response = await self.http("POST", frame, headers)
        try:
            if response.status_code >= 300:
                take(await refused(response, id_, in_session=self.has_id))
                return
            session = response.headers.get("mcp-session-id", "")
            if not self.greeted and 0 < len(session) <= LONGEST_SESSION:
                self._headers["Mcp-Session-Id"] = session
            kind = media_type(response)
            if kind == EVENTS:
                await following(response, Place(), id_, take, self.stream, self.settings, self.pace)
            elif kind == JSON:
                body = await read_body(response, self.settings.event_limit, self.settings.silence)
                frames = split(body)
                if not any(answers(one, id_) for one in frames):
                    raise Stopped(Why.NOT_MCP, "the body holds no answer to the request")
                for one in sorted(frames, key=lambda one: answers(one, id_)):
                    await self.pace.frame(take(one) or 0.0)
            else:
                raise Stopped(Why.NOT_MCP, quote_peer(f"HTTP {response.status_code}, {kind or 'no body'}"))
        finally:
            await response.aclose()

    async def stream(self, last_id: str | None) -> httpx.Response:
        """GET a stream of events, behind the event with this id if there is one."""
        return await self.http("GET", headers={} if last_id is None else {"Last-Event-ID": last_id}, endless=True)

    async def http(
        self, method: str, content: bytes | None = None, headers: Mapping[str, str] | None = None, endless: bool = False
    ) -> httpx.Response:
        """One HTTP request in the session. Raises Stopped."""
        accept = EVENTS if method == "GET" else f"{JSON}, {EVENTS}"
        fields = {"Accept": accept, **self._headers, **(headers or {})}
        if content is not None:
            fields["Content-Type"] = JSON
        timeout = httpx.Timeout(self._client.timeout)
        if endless:
            timeout.read = None
        try:
            request = self._client.build_request(
                method, self.settings.url, content=content, headers=fields, timeout=timeout
            )
        except (httpx.InvalidURL, ValueError, TypeError):
            raise Stopped(Why.UNREACHABLE, "the URL or a header cannot be used") from None
        return await self._sending(self._client, request)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
