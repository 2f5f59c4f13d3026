"""Signing in to a tool server by OAuth, with the provider of MCP's own SDK, which need not be installed otherwise.

The SDK knows the protocol; its requests are sent by the same checked client as everything else. A token that is good is
put on directly: the SDK would send one request after the other, each until its answer begins.
"""

import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode

import httpx

from mcp_endpoint.logs.redaction import Redactor
from mcp_endpoint.net.http_client import HttpSettings, drain, make_client, read_body, send
from mcp_endpoint.providers.entries.url_access import OAuthClient
from mcp_endpoint.providers.oauth.store import OAuthStore
from mcp_endpoint.providers.source import Stopped, StopReason

if TYPE_CHECKING:
    from mcp.client.auth import AuthorizationCodeResult

ANSWER_LIMIT = 256 * 1024
ANSWER_WITHIN = 30.0
INSTALL = "signing in needs the MCP SDK: pip install mcp"
logging.getLogger("mcp.client.auth").setLevel(logging.CRITICAL)
"""What goes wrong is told with its reason; the library would print where it was noticed, and the peer's words."""
_RECODED = {"content-encoding", "content-length", "transfer-encoding"}


class SignIn(Protocol):
    """How a person signs in: shown a URL, and sent back to `redirect_uri` with a code."""

    @property
    def redirect_uri(self) -> str:
        """Where the browser is sent back to."""

    async def show(self, url: str) -> None:
        """Have a person open this URL."""

    async def answer(self) -> dict[str, str]:
        """The query with which the browser came back: `code`, `state` and perhaps `iss`. Raises Stopped."""


@dataclass(frozen=True)
class OAuthSettings:
    """What signing in needs beside the server's URL."""

    store: Path
    """The file in which tokens are kept, readable by its owner only; one for each server."""
    client_name: str = "mcp-endpoint"
    """As which the broker registers itself; people see it when they are asked to agree."""
    client: OAuthClient = field(default_factory=OAuthClient)
    """As which client it signs in, where the entry says so, and what is asked for."""
    http: HttpSettings = field(default_factory=HttpSettings, repr=False)
    """How the authorization server is connected to. Its headers are sent there too, so it should have none."""


class OAuth:
    """Signs the requests to one server. Without a `sign_in`, whoever is not signed in gets UNAUTHORIZED."""

    def __init__(self, url: str, settings: OAuthSettings, sign_in: SignIn | None = None) -> None:
        """Raises Stopped (UNAUTHORIZED) where the SDK is not installed; the detail says what to install."""
        try:
            from mcp.client.auth import OAuthClientProvider
            from mcp.shared.auth import OAuthClientMetadata
        except ImportError:
            raise Stopped(StopReason.UNAUTHORIZED, INSTALL) from None
        self._sign_in = sign_in
        redirect_uri = sign_in.redirect_uri if sign_in is not None else ""
        self._store = OAuthStore(settings.store, settings.client, redirect_uri)
        self._client = make_client(settings.http)
        self._scope = settings.client.scope
        self._redact = Redactor([settings.client.client_secret])
        self._client_id, self._secret = settings.client.client_id, settings.client.client_secret
        metadata = {
            "client_name": settings.client_name,
            "redirect_uris": [redirect_uri or "http://127.0.0.1/callback"],
            "scope": settings.client.scope or None,
        }
        self._provider: OAuthClientProvider = OAuthClientProvider(
            url,
            OAuthClientMetadata.model_validate(metadata),
            self._store,
            redirect_handler=None if sign_in is None else self._show,
            callback_handler=None if sign_in is None else _answer_of(sign_in),
        )
        self._store.belongs_to(self._provider.context)

    async def _show(self, url: str) -> None:
        """Have a person open the URL, with the scope that the entry names: the SDK asks for what the server says."""
        assert self._sign_in is not None
        self._store.choose_method()
        if self._scope:
            parts = httpx.URL(url)
            url = str(parts.copy_with(params=parts.params.set("scope", self._scope)))
        await self._sign_in.show(url)

    async def send(self, client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        """Send a request signed; sign in, or renew the token, where the server wants it.

        Raises NetError as the client's `send` does, and Stopped (UNAUTHORIZED) where signing in failed.
        """
        context = self._provider.context
        if context.is_token_valid() and context.current_tokens is not None:
            request.headers["Authorization"] = f"Bearer {context.current_tokens.access_token}"
            response = await send(client, request)
            if response.status_code != 401:
                return response
            await drain(response)
        return await self._signed(client, request)

    async def _signed(self, client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        """Have the SDK's flow say what to send next, until it is content with an answer to `request`."""
        import httpx2
        from mcp.client.auth import OAuthFlowError

        twin = httpx2.Request(request.method, str(request.url), headers=_plain(request.headers))
        flow: AsyncGenerator[Any, Any] = self._provider.async_auth_flow(twin)
        response: httpx.Response | None = None
        try:
            asked = await anext(flow)
            while True:
                if asked is twin:
                    if response is not None:
                        await drain(response)
                    if "authorization" in twin.headers:
                        request.headers["Authorization"] = twin.headers["authorization"]
                    response = await send(client, request)
                    told = httpx2.Response(response.status_code, headers=_plain(response.headers), request=twin)
                elif response is not None and self._sign_in is None:
                    await response.aclose()
                    raise Stopped(StopReason.UNAUTHORIZED, "nobody has signed in to it yet, or not for long enough")
                else:
                    told = await self._told(asked)
                asked = await flow.asend(told)
        except StopAsyncIteration:
            assert response is not None
            self._store.keep_metadata()
            return response
        except (OAuthFlowError, ValueError, httpx2.HTTPError) as error:
            raise Stopped(StopReason.UNAUTHORIZED, self._redact(f"signing in failed: {error}")) from None
        finally:
            await flow.aclose()

    async def _told(self, asked: Any) -> Any:
        """Send a request of the flow itself, such as for a token, and read its answer."""
        answer = await self._asked(asked.method, str(asked.url), asked.content, dict(_plain(asked.headers)))
        status, headers, body = answer
        if status in (400, 401) and b"invalid_client" in body and self._secret:
            # A server takes a secret in one way or in both, and what it says of that is not always so.
            content, fields = self._in_the_other_way(asked)
            status, headers, body = await self._asked(asked.method, str(asked.url), content, fields)
        import httpx2

        return httpx2.Response(status, headers=headers, content=body, request=asked)

    async def _asked(
        self, method: str, url: str, content: bytes, fields: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        request = self._client.build_request(method, url, content=content, headers=fields)
        response = await send(self._client, request)
        body = await read_body(response, ANSWER_LIMIT, ANSWER_WITHIN)
        return response.status_code, _plain(response.headers), body

    def _in_the_other_way(self, asked: Any) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a request for a token that shows the client's secret in its body, or no more there."""
        fields = {name: value for name, value in _plain(asked.headers) if name.lower() != "authorization"}
        form = {name: value for name, value in parse_qsl(asked.content.decode()) if name != "client_secret"}
        if "authorization" in asked.headers:
            form |= {"client_id": self._client_id, "client_secret": self._secret}
        else:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._secret, safe='')}"
            fields["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        return urlencode(form).encode(), fields

    async def close(self) -> None:
        """Close all connections to the authorization server."""
        await self._client.aclose()


def _plain(headers: Any) -> list[tuple[str, str]]:
    """Headers without those that tell how a body was coded on its way."""
    return [(name, value) for name, value in headers.multi_items() if name.lower() not in _RECODED]


def _answer_of(sign_in: SignIn) -> "Callable[[], Awaitable[AuthorizationCodeResult]]":
    async def answer() -> "AuthorizationCodeResult":
        from mcp.client.auth import AuthorizationCodeResult

        query = await sign_in.answer()
        return AuthorizationCodeResult(code=query.get("code", ""), state=query.get("state"), iss=query.get("iss"))

    return answer
