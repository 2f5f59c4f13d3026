"""Where the tokens of one server are kept: a file that only its owner may read."""

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from mcp_endpoint.providers.entries.url_access import OAuthClient

if TYPE_CHECKING:
    from mcp.client.auth.oauth2 import OAuthContext
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

FOLDER = ".mcp_tokens"
"""The folder beside the settings in which the tokens of servers are kept that somebody has signed in to."""
FILE_LIMIT = 256 * 1024


def token_file(folder: Path, server: str) -> Path:
    """Where the tokens of a server are kept; `folder` is that of the settings."""
    return folder / FOLDER / f"{server.encode().hex()}.json"


class OAuthStore:
    """The tokens and the registration with one server, as the SDK's provider wants them kept.

    It also keeps when a token runs out and where a new one is asked for, which the SDK forgets: after a restart a token
    that has run out would otherwise cost a person another sign-in, though it could be renewed.
    """

    def __init__(self, path: Path, client: OAuthClient | None = None, redirect_uri: str = "") -> None:
        """`client` is the one that the entry names; `redirect_uri` where a person who signs in now is sent back to."""
        self._path = path
        self._client = client or OAuthClient()
        self._redirect_uri = redirect_uri
        self._context: OAuthContext | None = None

    def belongs_to(self, context: "OAuthContext") -> None:
        """Keep what this context knows, and tell it what was kept."""
        self._context = context

    async def get_tokens(self) -> "OAuthToken | None":
        """The tokens that were kept, if any; whoever belongs to it learns when they run out."""
        from mcp.shared.auth import OAuthMetadata, OAuthToken, ProtectedResourceMetadata

        kept = self._read()
        if "tokens" not in kept:
            return None
        if self._context is not None:
            self._context.token_expiry_time = kept.get("expires_at")
            if self._context.oauth_metadata is None and "server" in kept:
                self._context.oauth_metadata = OAuthMetadata.model_validate(kept["server"])
            if self._context.protected_resource_metadata is None and "resource" in kept:
                self._context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(kept["resource"])
        return OAuthToken.model_validate(kept["tokens"])

    async def set_tokens(self, tokens: "OAuthToken") -> None:
        """Keep new tokens."""
        expires = None if tokens.expires_in is None else time.time() + tokens.expires_in
        self._write(self._read() | {"tokens": _dump(tokens), "expires_at": expires})

    async def get_client_info(self) -> "OAuthClientInformationFull | None":
        """The client of the entry, or the registration that was kept, if any.

        One that was made for another way back is of no use to a person who signs in now.
        """
        from mcp.shared.auth import OAuthClientInformationFull

        if self._client.client_id:
            own = {"client_id": self._client.client_id, "client_secret": self._client.client_secret or None}
            own["token_endpoint_auth_method"] = self._method()
            return OAuthClientInformationFull.model_validate(own)
        kept = self._read().get("client")
        if kept is None or (self._redirect_uri and self._redirect_uri not in kept.get("redirect_uris", ())):
            return None
        return OAuthClientInformationFull.model_validate(kept)

    def choose_method(self) -> None:
        """Have the entry's client show its secret in the way that the server says it takes, which is known by now."""
        if self._client.client_id and self._context is not None and self._context.client_info is not None:
            self._context.client_info.token_endpoint_auth_method = self._method()

    def _method(self) -> str:
        """How the entry's client shows its secret (RFC 6749, section 2.3.1); Basic is what servers have to know."""
        if not self._client.client_secret:
            return "none"
        known = self._context.oauth_metadata if self._context is not None else None
        methods = (known.token_endpoint_auth_methods_supported if known is not None else None) or []
        post = "client_secret_post" in methods and "client_secret_basic" not in methods
        return "client_secret_post" if post else "client_secret_basic"

    async def set_client_info(self, client_info: "OAuthClientInformationFull") -> None:
        """Keep a registration."""
        self._write(self._read() | {"client": _dump(client_info)})

    def keep_metadata(self) -> None:
        """Keep where tokens are asked for, as it was found out."""
        if self._context is None or self._context.oauth_metadata is None:
            return
        kept = self._read()
        found = {"server": _dump(self._context.oauth_metadata)}
        if self._context.protected_resource_metadata is not None:
            found["resource"] = _dump(self._context.protected_resource_metadata)
        if "tokens" in kept and any(kept.get(name) != value for name, value in found.items()):
            self._write(kept | found)

    def _read(self) -> dict[str, Any]:
        """What was kept; nothing where the file is not there or of no use."""
        try:
            with self._path.open("rb") as file:
                kept = json.loads(file.read(FILE_LIMIT))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("Tokens cannot be read: {}", type(error).__name__)
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: Mapping[str, Any]) -> None:
        """Replace the file in one go. A new one is made readable by its owner only, whatever the umask."""
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(kept, file)
            os.replace(name, self._path)
        except BaseException:
            os.unlink(name)
            raise


def _dump(model: Any) -> dict[str, Any]:
    dumped = model.model_dump(mode="json", exclude_none=True)
    assert isinstance(dumped, dict)
    return dumped
