"""An API whose document refers to others: real files, a real server, and what must never be read."""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from mcp_endpoint.providers.openapi.document import references, texts
from mcp_endpoint.providers.openapi.source import OpenApi, OpenApiSettings
from mcp_endpoint.providers.source import Stopped
from support.paths import OPENAPI_DOCUMENTS
from support.servers.echo_server import Echo, echoing
from support.servers.source_client import Asker, asking

FOLDER = OPENAPI_DOCUMENTS
SECRET = "s3cret-value-of-mine"
SERVER = "http://8.8.8.8"  # nothing is sent; a name would be looked up


def written(folder: Path, texts: dict[str, Any], main: str = "api.json") -> OpenApi:
    """Files of these contents, `.json` or `.yaml`, and a source of the main one."""
    for name, content in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content) if name.endswith("yaml") else json.dumps(content))
    return OpenApi(OpenApiSettings(str(folder / main), base_url=SERVER))


def asked(ref: str) -> dict[str, Any]:
    """An operation with one parameter, whose schema is elsewhere."""
    return {"get": {"parameters": [{"name": "q", "in": "query", "schema": {"$ref": ref}}]}}


def api(paths: Any, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "paths": paths} | more


PAGE = {"name": "page", "in": "query", "required": True, "schema": {"$ref": "#/components/schemas/Number"}}
SPLIT = {
    "pets/list.yaml": {"operationId": "list", "parameters": [{"$ref": "../common.json#/components/parameters/Page"}]},
    "pets/one.yaml": {
        "parameters": [{"name": "id", "in": "path", "schema": {"$ref": "#/x-id"}}],
        "put": {"operationId": "put", "requestBody": {"$ref": "../bodies.yaml#/bodies/a~1b"}},
        "x-id": {"type": "integer"},
    },
    "bodies.yaml": {
        "bodies": {"a/b": {"content": {"application/json": {"schema": {"$ref": "schemas/pet.yaml#/Pet"}}}}}
    },
    "schemas/pet.yaml": {
        "Pet": {
            "type": "object",
            "required": ["owner"],
            "properties": {
                "owner": {"$ref": "owner.yaml"},
                "kind": {"$ref": "../api.json#/components/schemas/Kind"},
                "other": {"$ref": "#/Kind"},
            },
        },
        "Kind": {"type": "boolean"},
    },
    "schemas/owner.yaml": {"properties": {"pets": {"type": "array", "items": {"$ref": "pet.yaml#/Pet"}}}},
    "common.json": {"components": {"parameters": {"Page": PAGE}, "schemas": {"Number": {"type": "integer"}}}},
}


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
async def test_an_api_in_several_files_becomes_tools_that_stand_alone(tmp_path: Path, version: str) -> None:
    main = {
        "openapi": version,
        "paths": {"/pets": {"get": {"$ref": "pets/list.yaml"}}, "/pets/{id}": {"$ref": "./pets/one.yaml"}},
        "components": {"schemas": {"Kind": {"enum": ["cat", "dog"]}}},
    }
    source = written(tmp_path, {**SPLIT, "api.json": main})
    async with asking(source) as asker:
        listed = await asker.listed("tools/list")
        assert source.said == ()
        assert listed["list"]["inputSchema"]["required"] == ["page"]
        assert listed["list"]["inputSchema"]["$defs"] == {"Number": {"type": "integer"}}
        schema = listed["put"]["inputSchema"]
        Draft202012Validator.check_schema(schema)
        assert "yaml" not in json.dumps(schema)
        # What has one name in two documents has two here, and what refers to itself round two documents still does.
        assert schema["$defs"].keys() == {"x-id", "Pet", "owner", "Kind", "Kind_2"}
        assert schema["$defs"]["owner"]["properties"]["pets"]["items"] == {"$ref": "#/$defs/Pet"}
        fits = Draft202012Validator(schema).is_valid
        assert fits({"id": 1, "body": {"owner": {"pets": [{"owner": {}, "kind": "cat", "other": True}]}}})
        assert not fits({"id": 1, "body": {"owner": {"pets": [{"kind": "cat"}]}}})
        assert not fits({"id": 1, "body": {"owner": {}, "kind": True}})


async def test_a_path_list_of_its_own_and_references_that_lead_round(tmp_path: Path) -> None:
    main = api({"$ref": "paths/all.yaml"})
    paths = {
        "/good": asked("../main.yaml#/x-text"),
        "/round": {"get": {"parameters": [{"$ref": "a.yaml#/x"}]}},
        "/self": {"get": {"parameters": [{"$ref": "all.yaml#/~1self/get/parameters/0"}]}},
    }
    texts = {"paths/a.yaml": {"x": {"$ref": "b.yaml#/x"}}, "paths/b.yaml": {"x": {"$ref": "a.yaml#/x"}}}
    source = written(
        tmp_path, {"main.yaml": main | {"x-text": {"type": "string"}}, "paths/all.yaml": paths, **texts}, "main.yaml"
    )
    async with asking(source) as asker:
        tools = await asker.listed("tools/list")
        assert tools["get_good"]["inputSchema"]["$defs"] == {"x-text": {"type": "string"}}
        assert list(tools) == ["get_good"]
        assert len(source.said) == 2
        assert all("one to the next" in line for line in source.said)


async def test_version_2_in_several_files(tmp_path: Path) -> None:
    main = {
        "swagger": "2.0",
        "paths": {"/a/{id}": {"$ref": "paths/a.yaml"}, "/b": {"get": {"parameters": [{"$ref": "none.yaml"}]}}},
        "definitions": {"Kind": {"enum": ["cat"]}},
    }
    path = {
        "parameters": [{"$ref": "../common.yaml#/parameters/Id"}],
        "put": {"operationId": "put", "parameters": [{"$ref": "../common.yaml#/parameters/Pet"}]},
        "post": {"operationId": "post", "parameters": [{"$ref": "../common.yaml#/parameters/File"}]},
    }
    common = {
        "parameters": {
            "Id": {"name": "id", "in": "path", "required": True, "type": "integer"},
            "Pet": {"name": "pet", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}},
            "File": {"name": "file", "in": "formData", "type": "file"},
        },
        "definitions": {"Pet": {"properties": {"kind": {"$ref": "api.json#/definitions/Kind"}}}},
    }
    source = written(tmp_path, {"api.json": main, "paths/a.yaml": path, "common.yaml": common})
    async with asking(source) as asker:
        listed = await asker.listed("tools/list")
        assert list(listed) == ["put", "post"]
        assert listed["put"]["inputSchema"]["properties"]["id"] == {"type": "integer"}
        assert listed["put"]["inputSchema"]["$defs"] == {
            "Pet": {"type": "object", "properties": {"kind": {"$ref": "#/$defs/Kind"}}},
            "Kind": {"enum": ["cat"]},
        }
        file = listed["post"]["inputSchema"]["properties"]["body"]["properties"]["file"]
        assert file == {"type": "string", "contentEncoding": "base64"}
        assert "GET /b: the document none.yaml cannot be used" in source.said[0]


@pytest.mark.parametrize(
    ("name", "parts"), [("petstore-2.0.json", "definitions"), ("petstore-3.1.json", "components/schemas")]
)
async def test_a_store_cut_up_into_files_is_the_same_store(tmp_path: Path, name: str, parts: str) -> None:
    def cut(node: Any, place: str) -> Any:
        """Each schema that is referred to in a file of its own."""
        text = json.dumps(node)
        return json.loads(text.replace(f'"$ref": "#/{parts}/', f'"$ref": "{place}'))

    whole = json.loads((FOLDER / name).read_text("utf-8"))
    schemas = whole
    for step in parts.split("/"):
        schemas = schemas[step]
    texts = {f"schemas/{key}": cut(schema, "") for key, schema in schemas.items()}
    for number, item in enumerate(whole["paths"].values()):
        text = json.dumps(cut(item, "../schemas/"))
        texts[f"paths/{number}"] = json.loads(text.replace('"$ref": "#/', '"$ref": "../api.json#/'))
    main = cut(whole, "schemas/")
    main["paths"] = {path: {"$ref": f"paths/{number}"} for number, path in enumerate(whole["paths"])}
    cut_up = written(tmp_path, {"api.json": main, **texts})
    async with (
        asking(OpenApi(OpenApiSettings(str(FOLDER / name), base_url=SERVER))) as one,
        asking(cut_up) as other,
    ):
        assert await other.listed("tools/list") == await one.listed("tools/list")
        assert cut_up.said == ()


async def test_files_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    text = {"type": "string", "description": SECRET}
    texts: dict[str, Any] = {"secret.yaml": text, "apis/inside/good.yaml": text, "apis/inside/up.yaml": text}
    inside = tmp_path / "apis/inside"
    refs = {
        "up": "../secret.yaml",
        "encoded": "%2e%2e/secret.yaml",
        "whole": (tmp_path / "secret.yaml").as_uri(),
        "link": "inside/link.yaml",
        "links": "linked/secret.yaml",
        "round": "round.yaml",
        "pipe": "pipe.yaml",
        "folder": "inside",
        "zero": "a%00b.yaml",
        "url": "http://127.0.0.1:1/a.yaml",
        "host": "//127.0.0.1/a.yaml",
        "odd": "http://[",
        "nowhere": "inside/good.yaml#/none",
        "number": "inside/good.yaml#/description/x",
        "broken": "broken.yaml",
        "good": "inside/up.yaml",
        "folders_own": "inside/../inside/good.yaml#/",
    }
    main = "apis/api.json"
    source = written(tmp_path, {**texts, main: api({f"/{key}": asked(ref) for key, ref in refs.items()})}, main)
    (inside / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (tmp_path / "apis/linked").symlink_to(tmp_path)
    (tmp_path / "apis/round.yaml").symlink_to(tmp_path / "apis/round.yaml")
    os.mkfifo(tmp_path / "apis/pipe.yaml")
    (tmp_path / "apis/broken.yaml").write_text("a: [\n")
    async with asking(source) as asker:
        assert list(await asker.listed("tools/list")) == ["get_good"]
        reasons = {line.split()[3].strip("/:"): line for line in source.said}
        words = {
            **dict.fromkeys(("up", "whole", "url", "host", "odd"), "is not followed there"),
            **dict.fromkeys(("encoded", "link", "links"), "leads out of the folder"),
            **dict.fromkeys(("round", "zero"), "no such file"),
            **dict.fromkeys(("pipe", "folder"), "it is no file"),
            **dict.fromkeys(("nowhere", "number", "folders_own"), "leads nowhere: inside/good.yaml#/"),
            "broken": "line 2",
        }
        assert reasons.keys() == words.keys()
        for key, said in words.items():
            assert said in reasons[key], reasons[key]


async def test_a_link_to_the_document_leads_to_its_real_folder(tmp_path: Path) -> None:
    written(tmp_path / "real", {"api.json": api({"/a": asked("b.yaml")}), "b.yaml": {"type": "string"}})
    (tmp_path / "link.json").symlink_to(tmp_path / "real/api.json")
    async with asking(OpenApi(OpenApiSettings(str(tmp_path / "link.json"), base_url=SERVER))) as asker:
        assert "get_a" in await asker.listed("tools/list")


async def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    answer = {"200": {"content": {"application/json": {"schema": {"$ref": "none.yaml"}}}}}
    paths = {"/a": asked("a.yaml"), "/b": asked("none.yaml"), "/c": {"delete": {"$ref": "none.yaml"}}}
    paths["/a"]["get"] |= {"responses": answer, "tags": ["wanted"]}
    written(tmp_path, {"api.json": api(paths), "a.yaml": {"type": "string"}})
    source = OpenApi(OpenApiSettings(str(tmp_path / "api.json"), base_url=SERVER, tags=frozenset({"wanted"})))
    async with asking(source) as asker:
        assert list(await asker.listed("tools/list")) == ["get_a"]
        assert source.said == ()


async def test_limits_hold_for_all_documents_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {f"/{number}": asked(f"{number}.json") for number in range(105)}
    parts = {f"{number}.json": {"type": "string", "enum": ["x" * 500]} for number in range(105)}
    source = written(tmp_path, {"api.json": api(paths), **parts})
    async with asking(source) as asker:
        assert len(await asker.listed("tools/list")) == 99
        assert "GET /99: there are more than 100 documents; this is one more: 99.json" in source.said[0]
        assert len(source.said) == 6
    size = (tmp_path / "api.json").stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(references, "MOST_BYTES", size + 2000)
        source = OpenApi(OpenApiSettings(str(tmp_path / "api.json"), base_url=SERVER))
        async with asking(source) as asker:
            assert list(await asker.listed("tools/list")) == ["get_0", "get_1", "get_2"]
            assert "bytes, together with those before it" in source.said[0]
    monkeypatch.setattr(texts, "MOST_VALUES", 1000)
    source = OpenApi(OpenApiSettings(str(tmp_path / "api.json"), base_url=SERVER))
    async with asking(source) as asker:
        assert 0 < len(await asker.listed("tools/list")) < 99
        assert "more than 1000 values" in source.said[0]


async def test_where_nothing_can_be_had_the_first_reason_is_told(tmp_path: Path) -> None:
    source = written(tmp_path, {"api.json": api({"/a": asked("none.yaml")})})
    with pytest.raises(Stopped, match=r"none of its operations can be a tool.*none\.yaml cannot be used"):
        await source.open(lambda _frame: None, lambda _why: None)
    await source.close()
    source = written(tmp_path, {"api.json": api({"$ref": "none.yaml"})})
    with pytest.raises(Stopped, match=r"none\.yaml cannot be used"):
        await source.open(lambda _frame: None, lambda _why: None)
    await source.close()


@pytest.fixture(scope="module")
def other() -> Iterator[tuple[Echo, str]]:
    with echoing() as both:
        yield both


Serve = Callable[..., AbstractAsyncContextManager[tuple[OpenApi, Asker]]]


@pytest.fixture(scope="module")
def echo(other: tuple[Echo, str]) -> Iterator[tuple[Echo, str]]:
    with echoing(other[1]) as both:
        yield both


@pytest.fixture
def serve(echo: tuple[Echo, str]) -> Serve:
    """Serves a document of the echo server, which has these other texts as well."""

    @asynccontextmanager
    async def serving(paths: Any, texts: dict[str, Any], **settings: Any) -> AsyncIterator[tuple[OpenApi, Asker]]:
        app, url = echo
        app.document = api(paths)
        app.texts = {path: json.dumps(content).encode() for path, content in texts.items()}
        app.requests.clear()
        facts: dict[str, Any] = {"allow_private": ("127.0.0.0/8",), "base_url": url} | settings
        source = OpenApi(OpenApiSettings(f"{url}/openapi.json", **facts))
        async with asking(source) as asker:
            yield source, asker

    return serving


async def test_an_api_in_several_urls_is_called(serve: Serve, echo: tuple[Echo, str]) -> None:
    texts = {
        "/paths/a.json": asked("../schemas/b.json"),
        "/schemas/b.json": {"oneOf": [{"type": "integer"}, {"$ref": echo[1] + "/schemas/c.json#/d"}]},
        "/schemas/c.json": {"d": {"const": "x"}},
    }
    secrets = {"headers": {"X-Mine": SECRET}, "env": {"k": SECRET}, "document_headers": {"X-Doc": "1"}}
    async with serve({"/api/a": {"$ref": "/paths/a.json"}}, texts, **secrets) as (source, asker):
        assert source.said == ()
        read = list(echo[0].requests)
        assert [one["path"] for one in read] == ["/openapi.json", *texts]
        assert all(one["headers"]["x-doc"] == "1" for one in read)
        assert SECRET not in json.dumps(read)
        assert "q" in await asker.error("get_api_a", {"q": "y"})
        seen = (await asker.call("get_api_a", {"q": "x"}))["structuredContent"]
        assert (seen["path"], seen["query"], seen["headers"]["x-mine"]) == ("/api/a", "q=x", SECRET)


async def test_urls_of_another_origin_and_files_are_not_read(
    serve: Serve, echo: tuple[Echo, str], other: tuple[Echo, str], tmp_path: Path
) -> None:
    other[0].requests.clear()
    (tmp_path / "a.json").write_text('{"type": "string"}')
    refs = {
        "good": "good.json",
        "port": other[1] + "/a.json",
        "host": echo[1].replace("127.0.0.1", "localhost") + "/good.json",
        "scheme": echo[1].replace("http:", "https:") + "/good.json",
        "user": echo[1].replace("//", f"//{SECRET}@") + f"/words?key={SECRET}",
        "file": (tmp_path / "a.json").as_uri(),
        "odd": "http://[",
        "urn": "urn:a:b",
        "away": "away",
        "round": "round",
        "words": "words",
        "broken": "broken",
    }
    paths = {f"/{key}": asked(ref) for key, ref in refs.items()}
    async with serve(paths, {"/good.json": {"type": "string"}}) as (source, asker):
        assert list(await asker.listed("tools/list")) == ["get_good"]
        reasons = {line.split()[3].strip("/:"): line for line in source.said}
        words = {
            **dict.fromkeys(("port", "host", "scheme", "file", "odd", "urn"), "is not followed there"),
            **dict.fromkeys(("away", "round"), "redirect"),
            **dict.fromkeys(("words", "user"), "words cannot be used: it answered with an HTTP error: HTTP 503"),
            "broken": "broken cannot be used: line 1",
        }
        assert reasons.keys() == words.keys()
        for key, said in words.items():
            assert said in reasons[key], reasons[key]
        assert SECRET not in str(source.said)
    assert other[0].requests == []


async def test_references_are_those_of_where_a_document_really_was(serve: Serve, echo: tuple[Echo, str]) -> None:
    texts = {"/api/echo": {"deep": {"$ref": "found.json"}}, "/api/found.json": {"type": "string"}}
    async with serve({"/a": asked("here#/deep")}, texts) as (source, asker):  # `here` redirects into the folder `api`
        assert "get_a" in await asker.listed("tools/list")
        assert source.said == ()


async def test_the_time_for_reading_is_for_all_documents(serve: Serve, echo: tuple[Echo, str]) -> None:
    with pytest.raises(Stopped, match="not read within 1 s"):
        async with serve({"/a": asked("slow")}, {}, timeout=1):
            pass
    assert [one["path"] for one in echo[0].requests] == ["/openapi.json", "/slow"]


async def test_the_size_of_documents_at_urls_is_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST_BYTES", 2_000_000)
    paths = {"/a": asked("a.json"), "/b": asked("big"), "/c": asked("c.json")}
    async with serve(paths, {"/a.json": {}, "/c.json": {}}) as (source, asker):
        assert list(await asker.listed("tools/list")) == ["get_a"]  # what was read too much of counts as well
        assert len(source.said) == 2
        assert "the document big cannot be used: it has more than 2000000 bytes, together" in source.said[0]
