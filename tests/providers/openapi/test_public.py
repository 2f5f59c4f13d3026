"""Public API documents against an echo server: each operation but DELETE is a tool or says why, and sends what it says.

`make test` fetches the documents (documents/public.py); without npm there is only that of GitHub.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml

from mcp_endpoint.providers.openapi.document.document import read_document
from mcp_endpoint.providers.openapi.operations.operation import BODY, Operation
from mcp_endpoint.providers.openapi.operations.operations import Filter, operations
from mcp_endpoint.providers.openapi.source import OpenApi, OpenApiSettings
from support.paths import OPENAPI_DOCUMENTS
from support.servers.echo_server import Echo, echoing
from support.servers.openapi_check import Reading, fits_template, pairs_of, style_of
from support.servers.source_client import Asker, asking

FOLDER = OPENAPI_DOCUMENTS
PUBLIC = json.loads((FOLDER / "PUBLIC.json").read_text())
NAMES = [name for package in PUBLIC for name in package["files"]]
NEVER = {"accept", "content-type", "authorization", "content-length", "host", "content-encoding", "accept-encoding"}
MOST_CALLED = 150
"""Operations of one document that are called; of a larger one they are spread over all of it."""
MOST_ARGUMENTS = 25


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[Echo, str]]:
    with echoing() as both:
        yield both


def text_of(name: str) -> bytes:
    file = FOLDER / name if name == "github.json.gz" else FOLDER / "public" / name
    if not file.exists():
        pytest.skip("the public documents are not there: `make test` fetches them with npm")
    data = file.read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["github.json.gz", *NAMES])
async def test_requests_are_as_the_document_says(name: str, echo: tuple[Echo, str], tmp_path: Path) -> None:
    data = text_of(name)
    content = yaml.safe_load(data) if name.endswith("yaml") else json.loads(data)
    reading = Reading(json.loads(json.dumps(content, default=str)))
    known = {
        (one.method, one.path): one
        for one in operations(read_document(data), Filter(), frozenset(reading.keys())).found
    }
    file = tmp_path / "api.json"
    file.write_bytes(data)
    source = OpenApi(OpenApiSettings(str(file), base_url=echo[1], allow_private=("127.0.0.1",)))
    called = refused = 0
    async with asking(source) as asker:
        everything = list(reading.operations())
        missing = [f"{method.upper()} {path}" for path, method, _, _ in everything if (method, path) not in known]
        assert len(await asker.listed("tools/list")) == len(everything) - len(missing) > 0
        assert all(any(f"{way}: " in line for line in source.said) for way in missing)
        there = [one for one in everything if (one[1], one[0]) in known]
        faults: list[str] = []
        for path, method, operation, listed in there[:: -(-len(there) // MOST_CALLED)]:
            fault = await differs(asker, reading, known[method, path], operation, listed)
            refused += fault is None
            called += 1
            if fault:
                faults.append(f"{method} {path}: {fault}"[:700])
    assert faults == []
    assert refused <= called // 5, (refused, called)


async def differs(
    asker: Asker, reading: Reading, tool: Operation, operation: dict[str, Any], listed: list[dict[str, Any]]
) -> str | None:
    """What a request has that the document does not say; empty for none, None where the sample is not valid."""
    declared = {(one["in"], one["name"].lower()): one for one in listed}
    arguments: dict[str, Any] = {}
    query: list[tuple[str, str]] = []
    headers: dict[str, Any] = {}
    gaps: dict[str, Any] = {}
    for one in tool.parameters:
        said = declared.pop((one.where, one.name.lower()), {"schema": {"type": "string"}})
        kinds = list(said.get("content", {}))
        if not said.get("required") and one.where != "path" and len(arguments) > MOST_ARGUMENTS:
            continue
        schema = (
            said["content"][kinds[0]].get("schema", {}) if kinds else said if reading.old else said.get("schema", {})
        )
        value = arguments[one.argument] = reading.sample(schema)
        if one.where == "query":
            style, explode = style_of(said, reading.old)
            query += pairs_of(one.name, value, style, explode, json_text=bool(kinds))
        elif one.where == "header":
            headers[one.name.lower()] = value
        elif one.where == "path":
            # Of the other styles test_styles.py has the specification's own examples.
            gaps[one.name] = value if said.get("style", "simple") == "simple" else None
    left = {key for key in declared if key[0] in ("query", "header", "cookie") and key[1] not in NEVER}
    if left - reading.keys():
        return f"no argument for {left - reading.keys()}"
    kind, schema, encoding = reading.body(operation, listed)
    if tool.body is not None and kind:
        arguments[BODY] = reading.sample(schema)
    result = await asker.call(tool.name, arguments)
    if result.get("isError"):
        text = result["content"][0]["text"]
        return None if "do not fit" in text or "must not be empty" in text or "must be" in text else text
    if tool.method == "head":
        return ""
    seen = result["structuredContent"]
    path = tool.path.partition("#")[0]
    if seen["method"] != tool.method.upper() or not fits_template(path.partition("?")[0], gaps, seen["path"]):
        return f"the path {seen['method']} {seen['path']} for {gaps}"
    fixed = parse_qsl(path.partition("?")[2], keep_blank_values=True)
    found = parse_qsl(seen["query"], keep_blank_values=True)
    if sorted(found) != sorted(fixed + query):
        return f"the query {found} for {query}"
    for header, value in headers.items():
        if isinstance(value, str | int) and header not in seen["headers"]:
            return f"no header {header}"
    return body_differs(seen, kind, arguments.get(BODY), encoding)


def body_differs(seen: dict[str, Any], kind: str, value: Any, encoding: dict[str, Any]) -> str:
    if value is None:
        return f"a body {seen['body'][:100]}" if seen["body"] else ""
    sent = seen["headers"].get("content-type", "")
    if not sent.startswith(kind):
        return f"{sent} for {kind}"
    if kind.endswith("json"):
        return "" if json.loads(seen["body"]) == value else f"the body {seen['body'][:300]} for {value}"
    if kind == "application/x-www-form-urlencoded":
        wanted: list[tuple[str, str]] = []
        for name, one in value.items():
            said = encoding.get(name, {})
            style = said.get("style", "form")
            if said or isinstance(one, list):
                wanted += pairs_of(name, one, style, said.get("explode", style == "form"))
            else:
                wanted += pairs_of(name, one, style, explode=False, json_text=isinstance(one, dict))
        found = parse_qsl(seen["body"], keep_blank_values=True)
        return "" if sorted(found) == sorted(wanted) else f"the form {sorted(found)} for {sorted(wanted)}"
    return "" if seen["body"] or not value else "no body"


def test_the_list_of_documents_is_long_enough() -> None:
    assert len(NAMES) >= 10
