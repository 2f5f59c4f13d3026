"""An HTTP API as a tool server: each operation of its OpenAPI document is a tool.

The document comes from a file or a URL that the settings name, and requests go to the server that it names or that the
settings put in its place. Headers and credentials of the settings are sent to that server only, never with the request
for a document, and never to another server that a single operation names.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from mcp_endpoint.logs.redaction import Redactor, quote_peer
from mcp_endpoint.net.addresses import AllowedAddresses, checked_addresses
from mcp_endpoint.net.http_answer import HttpAnswer
from mcp_endpoint.net.http_client import HttpLimits, HttpSettings, make_client, send
from mcp_endpoint.net.proxies import Route
from mcp_endpoint.providers.local.server import LocalServer
from mcp_endpoint.providers.local.threads import Threads
from mcp_endpoint.providers.local.tool_spec import Call, FeatureSpec, Limits, Refused, ServerSpec, failed
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.openapi.api import Api, OpenApiSettings
from mcp_endpoint.providers.openapi.document.values import BadDocument
from mcp_endpoint.providers.openapi.loaders import FileLoader, UrlLoader, body_of
from mcp_endpoint.providers.openapi.loading import read_documents
from mcp_endpoint.providers.openapi.operations.operation import Operation
from mcp_endpoint.providers.openapi.operations.servers import is_url
from mcp_endpoint.providers.openapi.requests.headers import call_headers
from mcp_endpoint.providers.openapi.requests.request import RequestBuilder
from mcp_endpoint.providers.openapi.requests.response import error_text, result
from mcp_endpoint.providers.openapi.requests.security import Credentials
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.wire.mcp import Kind

__all__ = ["OpenApi", "OpenApiSettings"]

MOST_NOTES = 20
"""Operations that were left out and are named one by one."""

LONGEST_LIST = 8 * 1024 * 1024
"""Bytes of tools in one page: whoever has a limit is to know how many there are over it."""
RESOLVE_WITHIN = 3.0
"""Seconds that the name of the server may take to resolve when a document is read; who calls it waits for longer."""


class OpenApi:
    """A Source of an API's operations."""

    def __init__(self, settings: OpenApiSettings) -> None:
        self._settings = settings
        self._parsing = Threads(1, "read OpenAPI document")
        values = [*settings.headers.values(), *settings.env.values(), *settings.document_headers.values()]
        # Of `Bearer x` and `user:x` a server repeats the x.
        self._redact = Redactor([*values, *[part for value in values for part in re.split("[ :]", value)[1:]]])
        self._server: LocalServer | None = None
        self._client: httpx.AsyncClient | None = None

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Read the document. Raises Stopped: BAD_DOCUMENT, or what keeps its URL from being read."""
        settings = self._settings
        try:
            allowed = AllowedAddresses.of(settings.allow_private)
            async with asyncio.timeout(settings.timeout):
                tools = await self._read(allowed)
        except TimeoutError:
            raise Stopped(StopReason.BAD_DOCUMENT, f"not read within {settings.timeout:g} s") from None
        except (BadDocument, ValueError) as error:
            raise Stopped(StopReason.BAD_DOCUMENT, self._shown(str(error))) from error
        await _check_place(tools.server, allowed, settings.route)
        self._client = _client(allowed, settings)
        spec = ServerSpec(
            tools.title,
            tools.version,
            kinds={
                Kind.TOOLS: [self._feature(one, tools.server, tools.security.of(one.security)) for one in tools.found]
            },
        )
        limits = Limits(settings.calls, settings.timeout, 3 * settings.max_response, page=LONGEST_LIST)
        self._server = LocalServer(spec, take, limits)
        for note in tools.notes:
            self._server.note(self._shown(note))
        for note in tools.left_out[:MOST_NOTES]:
            self._server.note(f"left out: {note}")
        if len(tools.left_out) > MOST_NOTES:
            self._server.note(f"left out: {len(tools.left_out) - MOST_NOTES} more")

    def send(self, frame: bytes) -> None:
        """Hand it one frame."""
        if self._server is not None:
            self._server.receive(frame)

    async def close(self) -> None:
        """End all calls and connections."""
        if self._server is not None:
            await self._server.close()
        if self._client is not None:
            await self._client.aclose()

    @property
    def said(self) -> Sequence[str]:
        """Which operations were left out and why, and what went wrong lately."""
        return () if self._server is None else tuple(self._server.said)

    def _shown(self, text: str) -> str:
        return quote_peer(self._redact(text), 300)

    async def _read(self, allowed: AllowedAddresses) -> Api:
        """What the document says. Raises Stopped or BadDocument."""
        settings = self._settings
        if not is_url(settings.document):
            return await read_documents(settings, FileLoader(settings.document, self._parsing), self._parsing)
        async with _client(allowed, settings) as client:
            loader = UrlLoader(settings.document, settings.document_headers, client)
            return await read_documents(settings, loader, self._parsing)

    def _feature(self, operation: Operation, server: str, credentials: Credentials) -> FeatureSpec:
        builder = RequestBuilder(operation)
        base = server if operation.server is None or self._settings.base_url else urljoin(server, operation.server)
        ours = _origin(base) == _origin(server)

        async def answer(call: Call) -> Mapping[str, object]:
            prepared = builder.build(call.arguments, call.ignored)
            headers = call_headers(prepared.headers, [credentials.headers, self._settings.headers] if ours else [])
            query, cookies = "", list(prepared.cookies)
            if ours:
                query = "&".join(credentials.query)
                cookies += credentials.cookies
            if cookies:
                headers["Cookie"] = "; ".join(cookies)
            url = base.rstrip("/") + prepared.path
            if query:
                url += ("&" if "?" in prepared.path else "?") + query
            return await self._call(operation.method, url, headers, prepared.content, list(prepared.parts))

        return FeatureSpec(operation.definition(), answer)

    async def _call(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, parts: list[Any]
    ) -> Mapping[str, object]:
        """One request. Raises Refused where there is no answer."""
        assert self._client is not None
        most = self._settings.max_response
        raw = [(name.encode(), value.encode(errors="replace")) for name, value in headers.items()]
        try:
            request = self._client.build_request(method.upper(), url, headers=raw, content=content, files=parts or None)
            with as_stopped():
                response = await send(self._client, request)
        except (httpx.InvalidURL, UnicodeError):
            raise Refused("地址无效 / The URL that these arguments make cannot be used.") from None
        except Stopped as stopped:
            shown = Stopped(stopped.why, self._shown(stopped.detail))
            raise Refused(" / ".join(shown.sentences(300))) from stopped
        try:
            body = await body_of(response, most)
        except Stopped as stopped:
            raise Refused(f"{stopped.why.zh} / {stopped.why.en}") from stopped
        finally:
            await response.aclose()
        if len(body) > most:
            raise Refused(f"应答超过 {most} 字节，已放弃 / The answer has more than {most} bytes and was given up.")
        answer = HttpAnswer.of(response.status_code, response.headers, body)
        if answer.status >= 400:  # servers like to repeat the key that they do not accept
            return failed(self._redact(error_text(answer)))
        return result(answer)


async def _check_place(server: str, allowed: AllowedAddresses, route: Route) -> None:
    """Say now, and not at each call, that the server is at a place that must not be connected to. Raises Stopped."""
    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if route(parts.scheme, host, port) is not None:
        return  # the proxy knows where it is
    try:
        async with asyncio.timeout(RESOLVE_WITHIN):
            with as_stopped():
                await checked_addresses(host, port, allowed)
    except TimeoutError:
        return
    except Stopped as stopped:
        if stopped.why is StopReason.UNREACHABLE:
            return  # it may be there later
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        line = stopped.detail.partition(";")[0]
        raise Stopped(stopped.why, f'the server is {where}: add {line} or another "base_url" to the entry') from None


def _client(allowed: AllowedAddresses, settings: OpenApiSettings) -> httpx.AsyncClient:
    limits = HttpLimits(read=settings.timeout, connections=settings.calls)
    return make_client(HttpSettings(allowed=allowed, tls=settings.tls, limits=limits, route=settings.route))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
