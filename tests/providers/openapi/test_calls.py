"""An OpenAPI document against live servers: what is sent, what comes back as what, and what is never done."""

import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_endpoint.providers.openapi.source import OpenApi, OpenApiSettings
from mcp_endpoint.providers.source import Stopped, StopReason
from support.paths import OPENAPI_DOCUMENTS
from support.peers import Broker
from support.servers.echo_server import Echo, echoing
from support.servers.source_client import Asker, asking, text_of

FOLDER = OPENAPI_DOCUMENTS
NAMES = (
    *("echo", "away", "here", "round", "big", "long", "slow", "broken", "empty", "latin", "picture", "bytes"),
    *("problem", "validation", "html", "words", "repeats"),
)
SECRET = "s3cret-value-of-mine"


def paths() -> dict[str, Any]:
    found: dict[str, Any] = {f"/{name}": {"get": {"operationId": name}} for name in NAMES}
    found["/echo"]["post"] = {
        "operationId": "send",
        "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
        "parameters": [
            {"name": "X-Note", "in": "header", "schema": {"type": "string"}},
            {"name": "c", "in": "cookie", "schema": {"type": "string"}},
            {"name": "n", "in": "query", "schema": {"type": "integer"}},
        ],
    }
    found["/here"]["post"] = {"operationId": "post_here"}
    found["/away"]["post"] = {"operationId": "post_away"}
    return found


@pytest.fixture(scope="module")
def other() -> Iterator[tuple[Echo, str]]:
    """Another server: the same address, another port."""
    with echoing() as both:
        yield both


@pytest.fixture(scope="module")
def echo(other: tuple[Echo, str]) -> Iterator[tuple[Echo, str]]:
    with echoing(other[1]) as both:
        yield both


Serve = Callable[..., AbstractAsyncContextManager[Asker]]


@pytest.fixture
def serve(echo: tuple[Echo, str]) -> Serve:
    """Serves a document that the echo server has, as it is there now."""

    @asynccontextmanager
    async def serving(document: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Asker]:
        app, url = echo
        app.document = {"openapi": "3.1.0", "paths": paths(), "servers": [{"url": "/api"}]} | (document or {})
        app.requests.clear()
        facts: dict[str, Any] = {"allow_private": ("127.0.0.0/8",)} | settings
        async with asking(OpenApi(OpenApiSettings(f"{url}/openapi.json", **facts))) as asker:
            yield asker

    return serving


async def test_a_document_by_url_names_its_server_by_a_path(serve: Serve, echo: tuple[Echo, str]) -> None:
    async with serve() as asker:
        sent = {"X-Note": "é", "c": "a;b", "n": 5, "body": {"a": "中"}}
        seen = (await asker.call("send", sent))["structuredContent"]
        assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/api/echo", "n=5")
        assert json.loads(seen["body"]) == {"a": "中"}
        assert seen["headers"]["cookie"] == "c=a%3Bb"
        assert seen["headers"]["content-type"] == "application/json"
        assert "é" in (
            seen["headers"]["x-note"],
            seen["headers"]["x-note"].encode("latin-1", "ignore").decode("utf-8", "ignore"),
        )
        assert echo[0].requests[0]["path"] == "/openapi.json"


async def test_answers_of_every_kind(serve: Serve) -> None:
    async with serve() as asker:
        long = await asker.call("long")
        assert len(long["structuredContent"]["text"]) == 20_000
        assert len(text_of(long)) < 8200
        assert "characters in all" in text_of(long)
        assert await asker.text("broken") == "{broken"
        assert "204" in await asker.text("empty")
        assert await asker.text("latin") == "é"
        (block,) = (await asker.call("picture"))["content"]
        assert block == {"type": "image", "data": "iVBORw==", "mimeType": "image/png"}
        assert "2 bytes of application/octet-stream" in await asker.text("bytes")


async def test_errors_carry_the_words_of_the_body(serve: Serve) -> None:
    async with serve() as asker:
        assert await asker.error("problem") == "HTTP 422 Unprocessable Entity: No such thing"
        assert '"msg": "wrong"' in await asker.error("validation")
        assert await asker.error("html") == "HTTP 500 Internal Server Error"
        assert await asker.error("words") == "HTTP 503 Service Unavailable: come back later"


async def test_a_secret_that_an_error_repeats_is_cut(serve: Serve) -> None:
    async with serve(headers={"X-Mine": SECRET}) as asker:
        assert (await asker.error("repeats")).startswith("HTTP 403 Forbidden: not ***")
    assert OpenApi(OpenApiSettings("x", env={"a": "me:" + SECRET}))._shown(f"a {SECRET} b") == "a *** b"


async def test_limits_of_time_and_size(serve: Serve) -> None:
    async with serve(timeout=0.2, max_response=100_000) as asker:
        assert "more than 100000 bytes" in await asker.error("big")
        assert "did not finish within 0.2 s" in await asker.error("slow")
        assert await asker.ask("ping") == {}


async def test_a_cancelled_call_ends_its_request(serve: Serve) -> None:
    async with serve() as asker:
        number = asker.begin("tools/call", {"name": "slow", "arguments": {}})
        asker.tell(method="notifications/cancelled", params={"requestId": number})
        await asker.call("echo")
        assert asker.kept == []


async def test_redirects_stay_on_their_host(serve: Serve, other: tuple[Echo, str]) -> None:
    other[0].requests.clear()
    async with serve(headers={"X-Key": SECRET}) as asker:
        seen = (await asker.call("here"))["structuredContent"]
        assert (seen["path"], seen["query"], seen["headers"]["x-key"]) == ("/api/echo", "redirected=1", SECRET)
        assert (await asker.call("post_here"))["structuredContent"]["method"] == "POST"
        for name in ("away", "post_away", "round"):
            assert "redirect" in await asker.error(name)
    assert other[0].requests == []


async def test_credentials_go_to_the_documents_server_only(
    serve: Serve, echo: tuple[Echo, str], other: tuple[Echo, str]
) -> None:
    document = {
        "components": {
            "securitySchemes": {
                "by_query": {"type": "apiKey", "in": "query", "name": "key"},
                "by_cookie": {"type": "apiKey", "in": "cookie", "name": "session"},
                "by_name": {"type": "http", "scheme": "basic"},
                "unfilled": {"type": "http", "scheme": "bearer"},
            }
        },
        "security": [{}, {"unfilled": []}, {"by_query": [], "by_cookie": []}],
        "paths": {
            "/echo": {
                "get": {"operationId": "echo"},
                "put": {"operationId": "basic", "security": [{"by_name": []}]},
                "post": {"operationId": "open", "security": []},
                "patch": {"operationId": "elsewhere", "servers": [{"url": other[1]}]},
            }
        },
    }
    env = {"by_query": SECRET + "&", "BY_COOKIE": SECRET, "by_name": "me:" + SECRET}
    async with serve(document, env=env, headers={"X-Mine": SECRET}) as asker:
        assert "key" not in str([one["inputSchema"] for one in (await asker.listed("tools/list")).values()])
        seen = (await asker.call("echo"))["structuredContent"]
        assert seen["query"] == f"key={SECRET}%26"
        assert seen["headers"]["cookie"] == f"session={SECRET}"
        seen = (await asker.call("basic"))["structuredContent"]
        assert seen["headers"]["authorization"].startswith("Basic ")
        seen = (await asker.call("open"))["structuredContent"]
        assert (seen["query"], seen["headers"]["x-mine"]) == ("", SECRET)
        seen = (await asker.call("elsewhere"))["structuredContent"]
        assert SECRET not in json.dumps(seen)
    assert SECRET not in json.dumps(echo[0].requests[0])
    async with serve(document, env=env, base_url=echo[1], document_headers={"X-Doc": "1"}) as asker:
        seen = (await asker.call("elsewhere"))["structuredContent"]
        assert seen["headers"]["host"] in echo[1]
    assert echo[0].requests[0]["headers"]["x-doc"] == "1"


async def test_a_document_cannot_send_credentials_to_another_host(serve: Serve, echo: tuple[Echo, str]) -> None:
    document = {"servers": [{"url": "http://api.example.com"}]}
    for secret in ({"headers": {"X-Mine": SECRET}}, {"env": {"key": SECRET}}):
        with pytest.raises(Stopped, match="credentials go there only if base_url"):
            async with serve(document, **secret):
                pass
    async with serve(document, headers={"X-Mine": SECRET}, base_url=echo[1]) as asker:
        assert (await asker.call("echo"))["structuredContent"]["headers"]["x-mine"] == SECRET
    async with serve(document):
        pass


async def test_private_addresses_are_refused_unless_they_are_listed(serve: Serve, echo: tuple[Echo, str]) -> None:
    with pytest.raises(Stopped) as stopped:
        async with serve(allow_private=()):
            pass
    assert stopped.value.why is StopReason.PRIVATE_ADDRESS
    assert echo[0].requests == []
    petstore = OpenApiSettings(str(FOLDER / "petstore-3.0.yaml"), base_url=echo[1])
    with pytest.raises(Stopped, match=r'add "allow_private": \["127\.0\.0\.1"\]') as stopped:
        async with asking(OpenApi(petstore)):
            pass
    assert stopped.value.why is StopReason.PRIVATE_ADDRESS
    assert echo[0].requests == []
    with pytest.raises(Stopped) as stopped:
        async with serve(allow_private=("not a network/99",)):
            pass
    assert stopped.value.why is StopReason.BAD_DOCUMENT


async def test_a_server_that_is_not_there(serve: Serve) -> None:
    async with serve(base_url="http://127.0.0.1:1") as asker:
        assert "cannot be reached" in await asker.error("echo")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("no-such-file.yaml", "cannot be read"),
        (str(FOLDER / "README.md"), "line|no object|neither"),
        (str(FOLDER), "cannot be read"),
    ],
)
async def test_a_document_that_cannot_be_used_says_why(document: str, words: str) -> None:
    source = OpenApi(OpenApiSettings(document))
    with pytest.raises(Stopped, match=words) as stopped:
        await source.open(lambda _frame: None, lambda _why: None)
    assert stopped.value.why is StopReason.BAD_DOCUMENT
    await source.close()


async def test_a_file_that_names_no_server_says_what_helps(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}))
    source = OpenApi(OpenApiSettings(str(file)))
    with pytest.raises(Stopped, match="base_url"):
        await source.open(lambda _frame: None, lambda _why: None)
    await source.close()


async def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    bad = {f"/bad{number}": {"get": {"parameters": [{"$ref": "x.yaml"}]}} for number in range(30)}
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"openapi": "3.0.0", "paths": {"/good": {"get": {}}} | bad}))
    source = OpenApi(OpenApiSettings(str(file), base_url="http://8.8.8.8"))
    async with asking(source) as asker:
        assert list(await asker.listed("tools/list")) == ["get_good"]
        assert "GET /bad0: the document x.yaml cannot be used: it cannot be read: No such file" in source.said[0]
        assert source.said[-1] == "left out: 10 more"


async def test_this_brokers_own_document(broker: Broker) -> None:
    url = f"http://{broker.host}:{broker.port}/openapi.json"
    async with asking(OpenApi(OpenApiSettings(url, allow_private=("127.0.0.1",)))) as asker:
        tools = await asker.listed("tools/list")
        assert "get_stats_stats_get" in tools
        stats = await asker.call("get_stats_stats_get")
        assert isinstance(stats["structuredContent"], dict)
        assert not stats.get("isError")
        assert json.loads(text_of(stats)) == stats["structuredContent"]


async def test_a_large_public_document_is_called(echo: tuple[Echo, str], tmp_path: Path) -> None:
    file = tmp_path / "github.json"
    file.write_bytes(gzip.decompress((FOLDER / "github.json.gz").read_bytes()))
    settings = OpenApiSettings(
        str(file), base_url=echo[1], headers={"Authorization": "Bearer " + SECRET}, allow_private=("127.0.0.1",)
    )
    async with asking(OpenApi(settings)) as asker:
        listed = await asker.listed("tools/list")
        assert 1000 < len(listed) < 1223
        assert not any(name.startswith("repos_delete") for name in listed)
        arguments = {"owner": "a b", "repo": "c/d", "state": "open", "labels": "x,y", "per_page": 5}
        seen = (await asker.call("issues_list-for-repo", arguments))["structuredContent"]
        assert (seen["path"], seen["query"]) == ("/repos/a%20b/c%2Fd/issues", "state=open&labels=x%2Cy&per_page=5")
        assert seen["headers"]["authorization"] == "Bearer " + SECRET
        body = {"title": "t", "labels": ["a", {"name": "b"}]}
        seen = (await asker.call("issues_create", {"owner": "a", "repo": "b", "body": body}))["structuredContent"]
        assert json.loads(seen["body"]) == body
        assert "state" in await asker.error("issues_list-for-repo", {"owner": "a", "repo": "b", "state": "no"})
        seen = (await asker.call("markdown_render-raw", {"body": "# a"}))["structuredContent"]
        assert (seen["headers"]["content-type"], seen["body"]) == ("text/plain; charset=utf-8", "# a")
        seen = (await asker.call("gists_list", {}))["structuredContent"]
        assert seen["path"] == "/gists"


async def test_many_calls_at_once(serve: Serve) -> None:
    async with serve(calls=50) as asker:
        numbers = [asker.begin("tools/call", {"name": "send", "arguments": {"n": number}}) for number in range(40)]
        answers = [await asker.answer(number) for number in numbers]
        queries = {answer["result"]["structuredContent"]["query"] for answer in answers}
        assert queries == {f"n={number}" for number in range(40)}
