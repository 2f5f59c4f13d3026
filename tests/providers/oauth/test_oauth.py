"""Signing in to a tool server by OAuth: the SDK's server, its provider, and a browser that is an HTTP client."""

import asyncio
import contextlib
import json
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from mcp_endpoint.net.addresses import AllowedAddresses
from mcp_endpoint.net.http_client import HttpSettings
from mcp_endpoint.providers.oauth.browser import LoopbackSignIn
from mcp_endpoint.providers.oauth.client import INSTALL, OAuth, OAuthSettings
from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.providers.transports.streamable_http.client import StreamableHttpSettings, StreamableHttpSource
from support.paths import PROGRAMS
from support.peers import PATIENCE
from support.servers.http_peers import LOOPBACK, free_port, process
from support.servers.sources import Talk, talking


@contextlib.asynccontextmanager
async def locked(seconds: int = 3600) -> AsyncIterator[str]:
    port = free_port()
    command = (sys.executable, str(PROGRAMS / "sdk_oauth_server.py"), str(port), str(seconds))
    async with process(*command, until="running on", port=port) as served:
        yield f"{served.url}/mcp"


@contextlib.asynccontextmanager
async def signed(url: str, store: Path, sign_in: LoopbackSignIn | None = None) -> AsyncIterator[Talk]:
    oauth = OAuth(url, OAuthSettings(store, http=HttpSettings(allowed=AllowedAddresses.of(LOOPBACK))), sign_in)
    try:
        source = StreamableHttpSource(StreamableHttpSettings(url, allow_private=LOOPBACK), oauth.send)
        async with talking(source) as talk:
            yield talk
    finally:
        await oauth.close()


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[LoopbackSignIn]:
    """A person who opens what is shown."""
    tasks: list[asyncio.Task[None]] = []

    async def visit(url: str) -> None:
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False, timeout=PATIENCE) as client:
            assert "can be closed" in (await client.get(url)).text

    sign_in = await LoopbackSignIn.start(lambda url: tasks.append(asyncio.create_task(visit(url))))
    try:
        yield sign_in
    finally:
        await asyncio.gather(*tasks)
        await sign_in.close()
    assert len(tasks) <= 1


async def test_a_person_signs_in_once(tmp_path: Path) -> None:
    store = tmp_path / "tokens.json"
    async with locked() as url:
        async with browser() as sign_in, signed(url, store, sign_in) as talk:
            assert (await talk.greet())["serverInfo"]["name"] == "Locked"
            calls = [talk.ask("tools/call", name="inside", arguments={}) for _ in range(5)]
            for call in calls:
                assert (await talk.answer(call))["result"]["content"][0]["text"] == "you are in"
        if sys.platform != "win32":
            assert stat.S_IMODE(store.stat().st_mode) == 0o600
        # The next time nobody has to be there.
        async with signed(url, store) as talk:
            await talk.greet()
            assert await talk.call("inside") == "you are in"


async def test_a_token_that_ran_out_is_renewed_without_a_person(tmp_path: Path) -> None:
    store = tmp_path / "tokens.json"
    async with locked() as url:
        async with browser() as sign_in, signed(url, store, sign_in) as talk:
            await talk.greet()
        kept = json.loads(store.read_text("utf-8"))
        store.write_text(json.dumps(kept | {"expires_at": 1}), "utf-8")
        async with signed(url, store) as talk:
            await talk.greet()
        renewed = json.loads(store.read_text("utf-8"))
        assert renewed["tokens"]["access_token"] != kept["tokens"]["access_token"]
        assert renewed["server"] == kept["server"]


@pytest.mark.parametrize("kept", [None, "{", '{"tokens":{"access_token":"old","token_type":"Bearer"}}'])
async def test_nobody_has_signed_in(tmp_path: Path, kept: str | None) -> None:
    store = tmp_path / "tokens.json"
    if kept is not None:
        store.write_text(kept, "utf-8")
    async with locked() as url, signed(url, store) as talk:
        talk.ask("initialize")
        end = await talk.end()
        assert end.why is StopReason.UNAUTHORIZED
        assert "signed in" in end.detail


async def test_a_person_who_says_no(tmp_path: Path) -> None:
    async def refuse(url: str) -> None:
        state = httpx.URL(url).params["state"]
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(httpx.URL(url).params["redirect_uri"], params={"error": "access_denied", "state": state})

    tasks: list[asyncio.Task[None]] = []
    sign_in = await LoopbackSignIn.start(lambda url: tasks.append(asyncio.create_task(refuse(url))))
    async with locked() as url, signed(url, tmp_path / "tokens.json", sign_in) as talk:
        talk.ask("initialize")
        end = await talk.end()
        assert end.why is StopReason.UNAUTHORIZED
        await asyncio.gather(*tasks)
    await sign_in.close()


async def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mcp.client.auth", None)
    with pytest.raises(Stopped) as stopped:
        OAuth("https://x/mcp", OAuthSettings(tmp_path / "tokens.json"))
    assert (stopped.value.why, stopped.value.detail) == (StopReason.UNAUTHORIZED, INSTALL)
