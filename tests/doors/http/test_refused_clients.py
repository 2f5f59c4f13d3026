"""What somebody reads whose token is wrong: the broker's own sentence, by clients of the official SDKs."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import httpx
import pytest

from support.node import needs_node, ran
from support.paths import PROGRAMS, ROOT
from support.peers import Broker
from support.sdks import CLIENT_PYTHON, PATIENCE, environ
from support.sockets import Wire

HOW = "main.py token --agent"
DISCOVERY = ["oauth-protected-resource", "oauth-authorization-server", "openid-configuration", "mcp.json"]
PATHS = [
    *(f"/.well-known/{name}" for name in DISCOVERY),
    *(f"/.well-known/{name}/mcp_endpoint/mcp/" for name in DISCOVERY),
    *(f"/mcp_endpoint/mcp/.well-known/{name}" for name in DISCOVERY),
    "/.well-known/oauth-protected-resource/call",
    "/.well-known/oauth-protected-resource/sse/",
    "/prefix/.well-known/oauth-protected-resource?token=x",
    "//.well-known//openid-configuration",
    "/%2Ewell-known/oauth-authorization-server",
    "/.well-known",
    "/register",
    "/register/",
    "/authorize?response_type=code&client_id=x",
    "/token",
    "/mcp_endpoint/register",
    "/mcp_endpoint/mcp/token",
    "/any/prefix/authorize",
]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_looks_like_oauth(broker: Broker, path: str) -> None:
    """404 with a JSON body, whatever the method and whatever header an SDK client sends along."""
    sent = {"MCP-Protocol-Version": "2025-11-25", "Accept": "application/json, text/event-stream"}
    for method in ("GET", "POST", "OPTIONS", "DELETE", "PUT"):
        reply = await broker.get(path, method=method, **sent)
        assert (reply.status, reply.headers["content-type"]) == (404, "application/json")
        assert "www-authenticate" not in reply.headers
        body = json.loads(reply.body)
        assert body.keys() == {"error", "error_description"}
        assert HOW in body["error_description"]
        assert "本服务不使用 OAuth" in body["error_description"]
    async with Wire.open(broker) as wire:
        wire.write(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (await wire.rest()).startswith(b"HTTP/1.1 404 ")


async def test_a_page_may_read_that_there_is_no_oauth(broker: Broker) -> None:
    page = {"Origin": "http://localhost:6274"}
    asked = page | {"Access-Control-Request-Method": "POST"}
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        url = broker.url("/register", "http")
        reply = await http.options(url, headers=asked)
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (204, page["Origin"])
        reply = await http.post(url, headers=page, json={})
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (404, page["Origin"])
        reply = await http.options(url, headers=asked | {"Origin": "https://evil.example.com"})
        assert (reply.status_code, "access-control-allow-origin" in reply.headers) == (404, False)


URLS = ["/mcp_endpoint/mcp/", "/mcp_endpoint/mcp/?token=wrong", "/call?token=wrong"]


@needs_node
@pytest.mark.parametrize("sdk", ["1", "2"])
@pytest.mark.parametrize("oauth", [(), ("oauth",)], ids=["plain", "oauth"])
@pytest.mark.parametrize("url", URLS)
async def test_the_typescript_sdk_shows_our_sentence(
    broker: Broker, tmp_path: Path, sdk: str, oauth: tuple[str, ...], url: str
) -> None:
    script = str(ROOT / "tests" / "npm" / "refused.mjs")
    said = await ran(script, sdk, "http", broker.url(url, "http"), *oauth, home=tmp_path)
    assert HOW in said
    assert "token" in said
    assert "SIGN IN" not in said


@needs_node
@pytest.mark.parametrize("sdk", ["1", "2"])
async def test_the_typescript_sdk_over_sse_shows_our_sentence(broker: Broker, tmp_path: Path, sdk: str) -> None:
    """Without OAuth its error has the status alone."""
    script = str(ROOT / "tests" / "npm" / "refused.mjs")
    said = await ran(script, sdk, "sse", broker.url("/sse?token=wrong", "http"), "oauth", home=tmp_path)
    assert HOW in said


@pytest.mark.parametrize("python", [str(CLIENT_PYTHON), sys.executable], ids=["1.x", "2.x"])
@pytest.mark.parametrize("oauth", [(), ("oauth",)], ids=["plain", "oauth"])
async def test_the_python_sdk_shows_our_sentence(broker: Broker, python: str, oauth: tuple[str, ...]) -> None:
    script = str(PROGRAMS / "sdk_refused_client.py")
    command = (python, script, broker.url("/mcp_endpoint/mcp/?token=wrong", "http"), *oauth)
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environ())
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    said = out.decode()
    assert "CONNECTED" not in said, err
    assert "SIGN IN" not in said
    if python == str(CLIENT_PYTHON) and not oauth:
        assert "401 Unauthorized" in said, "1.x reads no body of such an answer"
    else:
        assert HOW in said
