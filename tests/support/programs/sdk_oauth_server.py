"""A real MCP server that wants OAuth, with the official SDK 2.x: it is its own authorization server, and asks nobody.

`sdk_oauth_server.py PORT SECONDS [SECRET METHOD]`: tokens are good for so many seconds. With a secret nobody can
register, and there is one client, `known`, that shows its secret by the method and is sent back to /back on localhost.
"""

import secrets
import sys
import time

import uvicorn
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl

PORT, SECONDS = int(sys.argv[1]), int(sys.argv[2])
SECRET, METHOD = sys.argv[3:5] or ("", "")


class Everybody(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Lets everybody in, and keeps what it gave in memory."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        if SECRET:
            known: dict[str, object] = {"client_id": "known", "client_secret": SECRET, "scope": "read write"}
            known |= {"token_endpoint_auth_method": METHOD, "redirect_uris": ["http://localhost/back"]}
            self.clients["known"] = OAuthClientInformationFull.model_validate(known)
        self.codes: dict[str, AuthorizationCode] = {}
        self.refreshes: dict[str, RefreshToken] = {}
        self.tokens: dict[str, AccessToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=secrets.token_hex(16),
            client_id=client.client_id or "",
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._give(client, authorization_code.resource)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return self.refreshes.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self.refreshes[refresh_token.token]
        print("renewed", flush=True)
        return self._give(client, f"http://127.0.0.1:{PORT}/mcp")

    def _give(self, client: OAuthClientInformationFull, resource: str | None) -> OAuthToken:
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        name = client.client_id or ""
        self.tokens[access] = AccessToken(
            token=access, client_id=name, scopes=[], expires_at=int(time.time()) + SECONDS, resource=resource
        )
        self.refreshes[refresh] = RefreshToken(token=refresh, client_id=name, scopes=[])
        return OAuthToken(access_token=access, token_type="Bearer", expires_in=SECONDS, refresh_token=refresh)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.tokens.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        raise NotImplementedError


here = AnyHttpUrl(f"http://127.0.0.1:{PORT}")
server = MCPServer(
    "Locked",
    log_level="WARNING",
    auth_server_provider=Everybody(),
    auth=AuthSettings(
        issuer_url=here,
        resource_server_url=AnyHttpUrl(f"http://127.0.0.1:{PORT}/mcp"),
        client_registration_options=ClientRegistrationOptions(enabled=not SECRET),
    ),
)


@server.tool(structured_output=False)
async def inside() -> str:
    """Say that one is in."""
    return "you are in"


if __name__ == "__main__":
    uvicorn.run(
        server.streamable_http_app(), host="127.0.0.1", port=PORT, log_level="info", timeout_graceful_shutdown=1
    )
