"""Servers by URL through the whole broker: a device calls their tools, and `/stats` and `servers` say what is wrong."""

import ssl
from pathlib import Path

import pytest

from support.brokers import Brokers
from support.certificates import make_pair
from support.peers import said
from support.servers.http_peers import HELLO, Exchange, Script, scripted
from support.servers.proxy_server import forward_proxy
from support.servers_command import command

TOOL = {"name": "t", "inputSchema": {"type": "object"}}


def tools(calls: Script, gets: int = 404, init: int = 200) -> Script:
    """A tool server with one tool, which answers POST alone; `calls` answers calls."""

    async def script(exchange: Exchange) -> None:
        if exchange.method != "POST":
            await exchange.answer(gets)
            return
        match exchange.frame["method"]:
            case "initialize":
                await exchange.result(HELLO, Mcp_Session_Id="s")
            case "tools/list":
                await exchange.result({"tools": [TOOL]})
            case "tools/call":
                await calls(exchange)
            case _:
                await exchange.answer(202)

    return script


async def done(exchange: Exchange) -> None:
    text = exchange.headers.get("x-key", "done")
    await exchange.result({"content": [{"type": "text", "text": text}]})


async def test_a_server_that_takes_post_alone(opening: Brokers) -> None:
    async with scripted(tools(done)) as url:
        broker = opening(post={"url": f"{url}/mcp"})
        async with broker.agent().device() as device:
            assert await device.names() == ["t"]
            assert said(await device.call("t")) == "done"
            assert (await broker.stats())["servers"][0]["state"] == "serving"


@pytest.mark.parametrize(("status", "words"), [(410, b"gone"), (401, b"session not found"), (404, b"")])
async def test_a_lost_session_costs_no_call(opening: Brokers, status: int, words: bytes) -> None:
    calls: list[int] = []

    async def forgets(exchange: Exchange) -> None:
        calls.append(1)
        await (exchange.answer(status, words, "text/plain") if len(calls) == 2 else done(exchange))

    async with scripted(tools(forgets)) as url:
        broker = opening(forgetful={"url": f"{url}/mcp"})
        async with broker.agent().device() as device:
            assert await device.names() == ["t"]
            for _ in range(3):
                assert said(await device.call("t")) == "done"
            assert (await broker.stats())["servers"][0]["starts"] == 1
    assert len(calls) == 4


async def test_an_error_is_told_in_the_servers_words(opening: Brokers) -> None:
    async def limited(exchange: Exchange) -> None:
        await exchange.answer(429, b'{"error":"rate limited"}', Retry_After="7")

    async with scripted(tools(limited)) as url:
        broker = opening(limited={"url": f"{url}/mcp"})
        async with broker.agent().device() as device:
            await device.names()
            answer = str(await device.call("t"))
            assert "429" in answer
            assert "rate limited" in answer
            assert "Retry-After: 7" in answer


async def test_a_private_ca_and_what_to_do_without(opening: Brokers, tmp_path: Path) -> None:
    cert, key = make_pair(tmp_path, "home")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    async with scripted(tools(done), tls=tls) as url, forward_proxy() as proxy:
        way = f"http://127.0.0.1:{proxy.port}"
        broker = opening(
            trusted={"url": url, "ca": "../home.crt", "proxy": way, "autostart": True},
            stranger={"url": url, "autostart": True},
        )
        await broker.logged(r"server stranger: .*\(certificate\)")
        await broker.logged("server trusted: serving")
        assert proxy.asked[0].startswith("CONNECT 127.0.0.1:")
        reports = {one["name"]: one["failure"] for one in (await broker.stats())["servers"]}
        assert reports["trusted"] is None
        assert "SSL_CERT_FILE" in reports["stranger"]["todo"]["en"]
        assert "私有 CA" in reports["stranger"]["todo"]["zh"]


async def test_a_header_that_is_none_is_told_by_its_name(opening: Brokers) -> None:
    bad = {"url": "http://127.0.0.1:1/", "headers": {"X-Api-Key": "ses\name"}, "autostart": True}
    broker = opening(bad=bad)
    cause = "headers X-Api-Key"
    await broker.logged(rf"server bad: .*\(bad_entry\): {cause}")
    stats = await broker.stats()
    failure = stats["servers"][0]["failure"]
    assert "name" not in str(failure).replace("X-Api-Key", "")
    assert failure["detail"].startswith(cause)
    assert failure["detail"] == failure["cause"]["en"]
    assert failure["cause"]["zh"].startswith(f"{cause}：")
    assert failure["todo"] == {"zh": "", "en": ""}
    assert f"is not right: {cause}" in stats["ended"][0]["detail"]
    for language, due in (("en", f"is not right: {cause}"), ("zh", f"有误：{cause}")):
        code, out, _ = await command(broker.config.parent, "--lang", language, broker=broker)
        assert code == 1
        assert due in out
