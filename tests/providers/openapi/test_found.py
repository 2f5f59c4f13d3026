"""A document that is wrapped up, or is named by a page, and a server that cannot be the one: read, found, or told."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_endpoint.providers.openapi.document.document import read_document
from mcp_endpoint.providers.openapi.document.values import BadDocument
from mcp_endpoint.providers.openapi.source import OpenApi, OpenApiSettings
from mcp_endpoint.providers.source import Stopped, StopReason
from support.servers.echo_server import Echo, echoing
from support.servers.source_client import asking

API: dict[str, Any] = {"openapi": "3.0.1", "paths": {"/echo": {"get": {"operationId": "echo"}}}}
TEXT = json.dumps(API).encode()
YAML = b"""
openapi: 3.0.1
x-common: &common
  parameters: [{name: q, in: query, schema: {enum: [no, 2026-01-02, 12:30, on]}}]
  operationId: common
x-more: &more {operationId: more, tags: [a]}
paths:
  /echo:
    get: {<<: *common, operationId: echo}
    post: {<<: [*more, *common]}
"""


@pytest.mark.parametrize(
    "data",
    [
        base64.b64encode(TEXT),
        base64.encodebytes(TEXT),
        base64.urlsafe_b64encode(TEXT),
        json.dumps(base64.b64encode(TEXT).decode()).encode(),
        json.dumps(TEXT.decode()).encode(),
        gzip.compress(TEXT, mtime=0),
        b"\xef\xbb\xbf" + TEXT,
        TEXT.decode().encode("utf-16"),
        TEXT.decode().encode("utf-16-be"),
        b"\r\n  " + TEXT,
        TEXT.replace(b"}}}}", b"}}},}"),
        b"{openapi: 3.0.1, paths: {/echo: {get: {operationId: echo}}}}",
        b'"openapi": 3.0.1\n"paths": {"/echo": {"get": {"operationId": "echo"}}}',
        b"openapi: 3.0.1\npaths: !Sub {/echo: {get: {operationId: echo, x: !!timestamp 2026-01-01}}}",
        TEXT.replace(b"}}}}", b'}}}, "x": [NaN, -Infinity, "\\ud83d"]}'),
    ],
)
def test_wrapped_documents_are_read(data: bytes) -> None:
    read = read_document(data)
    assert read.paths()["/echo"]["get"]["operationId"] == "echo"
    json.dumps(read.content, allow_nan=False, ensure_ascii=False).encode()


def test_merge_keys_are_merged_and_texts_stay_texts() -> None:
    item = read_document(YAML).paths()["/echo"]
    assert item["get"]["operationId"] == "echo"
    assert item["get"]["parameters"][0]["schema"]["enum"] == ["no", "2026-01-02", "12:30", "on"]
    assert "<<" not in item["get"]
    assert item["post"]["operationId"] == "more"
    assert item["post"]["tags"] == ["a"]
    assert item["post"]["parameters"]
    assert read_document(b"openapi: 3.0.0\na: &a {<<: *a, b: <<}\npaths: {<<: 5}").content["a"] == {"b": "<<"}


def test_merges_of_merges_are_bounded() -> None:
    members = b",".join(b"k%d: 1" % number for number in range(1000))
    lines = [b"%c: &%c {<<: [%s]}" % (c, c, b",".join([b"*%c" % (c - 1)] * 100)) for c in range(ord("b"), ord("f"))]
    with pytest.raises(BadDocument, match="merge keys"):
        read_document(b"openapi: 3.0.0\na: &a {%s}\n" % members + b"\n".join(lines))


@pytest.mark.parametrize("data", [TEXT.replace(b"{", b'{"openapi": "3.0.0", ', 1), b"openapi: 3.0.0\nopenapi: 3.0.1\n"])
def test_a_key_that_is_there_twice_is_told(data: bytes) -> None:
    read = read_document(data)
    assert read.content["openapi"] == "3.0.1"
    assert '"openapi" is there twice' in read.notes[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"asyncapi": "2.6.0"}, "AsyncAPI"),
        ({"swaggerVersion": "1.2"}, "Swagger 1"),
        ({"info": {"schema": "https://schema.getpostman.com/json/collection/v2.1.0/"}}, "Postman"),
        ({"openapi": "1.0"}, "version: 1.0"),
    ],
)
def test_what_is_something_else_is_called_by_its_name(content: Any, words: str) -> None:
    with pytest.raises(BadDocument, match=words):
        read_document(json.dumps(content).encode())


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[Echo, str]]:
    with echoing() as both:
        yield both


PAGES = {
    "swagger": b"<html><script>SwaggerUIBundle({url: '/deep/api.json', dom_id: '#a'})</script>",
    "initializer": b'<!DOCTYPE html><script src="./swagger-initializer.js" charset="UTF-8"></script>',
    "redoc": b"<html><redoc spec-url='/deep/api.json'></redoc>",
    "redoc-init": b'<html><script>Redoc.init("deep/api.json", {})</script>',
    "scalar": b'<html><script id="api-reference" data-url="../deep/api.json"></script>',
    "elements": b'<html><elements-api apiDescriptionUrl="/deep/api.json"/>',
    "config": json.dumps({"configUrl": "/config.json", "urls": [{"url": "/deep/api.json", "name": "a"}]}).encode(),
    "resources": json.dumps([{"name": "a", "location": "/deep/api.json", "swaggerVersion": "2.0"}]).encode(),
    "usual": b"<html>nothing</html>",
}


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_leads_to_its_document(echo: tuple[Echo, str], page: str) -> None:
    app, url = echo
    app.document = {}
    app.requests.clear()
    script = b"window.ui = SwaggerUIBundle({ configUrl: '/config.json', url: \"https://elsewhere.example/a.json\" })"
    app.texts = {
        f"/{page}": PAGES[page],
        "/deep/api.json" if page != "usual" else "/v3/api-docs": TEXT,
        "/swagger-initializer.js": script,
        "/config.json": json.dumps({"urls": [{"url": "/deep/api.json"}]}).encode(),
    }
    source = OpenApi(OpenApiSettings(f"{url}/{page}", allow_private=("127.0.0.1",)))
    async with asking(source) as asker:
        assert list(await asker.listed("tools/list")) == ["echo"]
        assert "/api" in source.said[0]
        assert "name that in openapi" in source.said[0]
    assert len(app.requests) <= 17


@pytest.mark.parametrize(
    ("path", "why", "words"),
    [
        ("/page", StopReason.BAD_DOCUMENT, "web page.*usually at /openapi.json"),
        ("/problem", StopReason.HTTP_STATUS, "HTTP 422 .*No such"),
        ("/repeats", StopReason.UNAUTHORIZED, "HTTP 403 .*document_headers"),
        ("/other", StopReason.BAD_DOCUMENT, "no OpenAPI document.*usually at"),
    ],
)
async def test_where_there_is_none_is_told(echo: tuple[Echo, str], path: str, why: StopReason, words: str) -> None:
    app, url = echo
    app.requests.clear()
    app.texts = {"/page": b"<html>" + b"url: '/x1' url: '/x2'" * 50_000, "/other": b'{"hello": "world"}'}
    source = OpenApi(OpenApiSettings(url + path, allow_private=("127.0.0.1",)))
    with pytest.raises(Stopped, match=words) as stopped:
        await source.open(lambda _frame: None, lambda _why: None)
    assert stopped.value.why is why
    assert len(app.requests) <= 17
    await source.close()


@pytest.mark.parametrize(
    ("servers", "why", "words"),
    [
        (
            [{"url": "http://localhost:9000"}],
            StopReason.PRIVATE_ADDRESS,
            r'"allow_private": \["localhost"\].*"base_url"',
        ),
        ([{"url": "http://192.168.1.9/v1"}], StopReason.PRIVATE_ADDRESS, r'"allow_private": \["192.168.1.9"\]'),
        (
            [{"url": "/v1"}, {"url": "https://a.example/v1"}],
            StopReason.BAD_DOCUMENT,
            r"but /v1.*base_url.*https://a\.example",
        ),
        ([], StopReason.BAD_DOCUMENT, "no server: base_url"),
        ("none", StopReason.BAD_DOCUMENT, "base_url"),
        ([{"url": "https://{tenant}.example/"}], StopReason.BAD_DOCUMENT, r"no value for \{tenant\}.*base_url"),
        ([{"url": "ftp://a.example"}], StopReason.BAD_DOCUMENT, "base_url"),
        ([{"url": "http://[bad"}], StopReason.BAD_DOCUMENT, "base_url"),
    ],
)
async def test_a_server_that_no_call_could_reach_is_told_when_the_document_is_read(
    tmp_path: Path, servers: Any, why: StopReason, words: str
) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(API | {"servers": servers}))
    source = OpenApi(OpenApiSettings(str(file)))
    with pytest.raises(Stopped, match=words) as stopped:
        await source.open(lambda _frame: None, lambda _why: None)
    assert stopped.value.why is why
    assert why is StopReason.BAD_DOCUMENT or "allow_private" in stopped.value.detail[:120]
    await source.close()


@pytest.mark.parametrize(
    "servers", ["{url}/api", {"url": "{url}/api"}, [{"url": "{url}/{v}", "variables": {"v": {"default": "api"}}}]]
)
async def test_servers_of_other_forms_are_used(echo: tuple[Echo, str], tmp_path: Path, servers: Any) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(API | {"servers": servers}).replace("{url}", echo[1]))
    async with asking(OpenApi(OpenApiSettings(str(file), allow_private=("127.0.0.1",)))) as asker:
        assert (await asker.call("echo"))["structuredContent"]["path"] == "/api/echo"
