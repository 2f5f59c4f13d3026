"""What the official Python SDK's client, 1.x or 2.x as installed, tells when it is refused; test_refused_clients.py.

Usage: sdk_refused_client.py URL [oauth]
"""

import asyncio
import sys
import traceback
from typing import Any

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

try:
    import httpx2 as http
except ImportError:
    import httpx as http  # type: ignore[no-redef]


class Memory:
    """Where what was signed in for is kept."""

    async def get_tokens(self) -> None:
        return None

    async def set_tokens(self, tokens: Any) -> None:
        return None

    async def get_client_info(self) -> None:
        return None

    async def set_client_info(self, info: Any) -> None:
        return None


async def redirected(url: str) -> None:
    print("SIGN IN")


def signing_in(url: str) -> OAuthClientProvider:
    metadata = OAuthClientMetadata.model_validate({"redirect_uris": ["http://127.0.0.1:1/callback"]})
    return OAuthClientProvider(url, metadata, Memory(), redirected, None)  # type: ignore[arg-type]


async def main(url: str, *oauth: str) -> None:
    auth: Any = signing_in(url) if oauth else None
    async with http.AsyncClient(auth=auth, trust_env=False) as client:
        transport: Any = streamable_http_client(url, http_client=client)
        async with transport as (read, write, *_), ClientSession(read, write) as session:
            await session.initialize()
            print("CONNECTED")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except BaseException:  # noqa: BLE001  all that is told, groups of exceptions included
        print(traceback.format_exc())
