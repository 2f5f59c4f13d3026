"""Reads the documents of an API, from files or from URLs, round by round as its operations turn out to need them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from mcp_endpoint.net.http_answer import HttpAnswer
from mcp_endpoint.net.http_client import body_chunks, error_body, send
from mcp_endpoint.providers.local.threads import Threads
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.openapi.api import Api, OpenApiSettings, read_api
from mcp_endpoint.providers.openapi.document import Document, NoDocument, read_document
from mcp_endpoint.providers.openapi.pages import PLACES, Search
from mcp_endpoint.providers.openapi.references import MOST_BYTES, shown_url
from mcp_endpoint.providers.openapi.servers import is_url
from mcp_endpoint.providers.openapi.texts import Page
from mcp_endpoint.providers.openapi.values import BadDocument
from mcp_endpoint.providers.source import Stopped, Why
from mcp_endpoint.wire.text import clean


class Shelf(Protocol):
    """Where the documents of an API are."""

    async def first(self) -> tuple[str, bytes]:
        """The place, a URI, and the bytes of the document that the settings name. Raises Stopped or BadDocument."""

    async def another(self, place: str, most: int) -> tuple[str, bytes]:
        """Where a document comes from in the end, and its bytes, of which at most `most` + 1 are read.

        Raises Stopped or BadDocument.
        """


async def read_documents(settings: OpenApiSettings, shelf: Shelf, threads: Threads) -> Api:
    """The API that a document and those it refers to describe. Raises Stopped or BadDocument."""
    document = await _main(shelf, threads)
    references = document.references
    while True:
        api = await threads.run(lambda: read_api(document, settings))
        wanted = references.take_wanted()
        if not wanted:
            break
        for place in wanted:
            try:
                base, data = await shelf.another(place, references.left)
                await threads.run(lambda: references.add(place, base, data))  # noqa: B023  done before they change
            except (BadDocument, Stopped) as error:
                references.refuse(place, str(error))
    if not api.found:
        why = f"; {api.left_out[0]}" if api.left_out else ""
        raise BadDocument(f"none of its operations can be a tool (or none fits methods, tags and operations){why}")
    return api


async def _main(shelf: Shelf, threads: Threads) -> Document:
    """The document that the settings name, or the one that what they name leads to. Raises Stopped or BadDocument."""
    place, data = await shelf.first()
    try:
        return await threads.run(lambda: read_document(data, place))
    except (Page, NoDocument) as error:
        if not is_url(place):
            raise
        why: BadDocument = error
    search = Search(place)
    _remember(search, place, data, why)
    while (candidate := search.next()) is not None:
        try:
            base, data = await shelf.another(candidate, MOST_BYTES)
            document = await threads.run(lambda: read_document(data, base))  # noqa: B023  done before they change
        except BadDocument as error:
            _remember(search, candidate, data, error)
        except Stopped:
            continue  # there is nothing
        else:
            document.notes.append(f"the document is at {shown_url(base)}: name that in openapi")
            return document
    raise BadDocument(f"{why}; {PLACES}")


def _remember(search: Search, place: str, data: bytes, why: BadDocument) -> None:
    """Have a search know what a text names that is no document."""
    if isinstance(why, Page):
        search.page(why.text, place)
    elif urlsplit(place).path.endswith(".js"):
        search.page(data.decode(errors="replace"), place)
    elif isinstance(why, NoDocument):
        search.values(why.content, place)


class Files:
    """Documents in a folder and in those inside it."""

    def __init__(self, path: str, threads: Threads) -> None:
        self._path = Path(path)
        self._threads = threads

    async def first(self) -> tuple[str, bytes]:
        """The file that the settings name; its place is where it really is. Raises BadDocument."""

        def read() -> tuple[str, bytes]:
            try:
                data = _read(self._path, MOST_BYTES)
            except OSError as error:
                raise BadDocument(f"{self._path} cannot be read: {_words(error)}") from None
            self._path = self._path.resolve()
            return self._path.as_uri(), data

        return await self._threads.run(read)

    async def another(self, place: str, most: int) -> tuple[str, bytes]:
        """Another file. Raises BadDocument for one that is not there, or leads out of the folder by a link."""

        def read() -> tuple[str, bytes]:
            try:
                path = Path(url2pathname(urlsplit(place).path)).resolve()
                if not path.is_relative_to(self._path.parent):
                    raise BadDocument("it leads out of the folder")
                if path.exists() and not path.is_file():
                    raise BadDocument("it is no file")  # the end of a pipe might never come
                return place, _read(path, most)
            except OSError as error:
                raise BadDocument(f"it cannot be read: {_words(error)}") from None
            except (ValueError, RuntimeError):  # a name with a zero byte, links that lead round
                raise BadDocument("there can be no such file") from None

        return await self._threads.run(read)


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most + 1)


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__


class Urls:
    """Documents that are fetched by HTTP."""

    def __init__(self, url: str, headers: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._url = url
        self._headers = headers
        self._client = client

    async def first(self) -> tuple[str, bytes]:
        """The document that the settings name. Raises Stopped."""
        return await self.another(self._url, MOST_BYTES)

    async def another(self, place: str, most: int) -> tuple[str, bytes]:
        """Another one. Raises Stopped."""
        request = self._client.build_request("GET", place, headers=dict(self._headers))
        with as_stopped():
            response = await send(self._client, request)
        try:
            if response.status_code != 200:
                raise await _refused(response)
            return str(response.url), await body_of(response, most)
        finally:
            await response.aclose()


async def _refused(response: httpx.Response) -> Stopped:
    """Why there is no document, in the server's own words, and what helps."""
    status = response.status_code
    body = await error_body(response)
    said = clean(HttpAnswer.of(status, {"Content-Type": response.headers.get("Content-Type", "")}, body).told(), 160)
    if status in (401, 403):
        return Stopped(Why.UNAUTHORIZED, f"{said}; what the document asks for belongs into document_headers")
    return Stopped(Why.HTTP_STATUS, f"{said}; {PLACES}" if status in (404, 410) else said)


async def body_of(response: httpx.Response, most: int) -> bytes:
    """The body of a response; of a longer one `most` + 1 bytes. Raises Stopped."""
    body = bytearray()
    with as_stopped():
        async for chunk in body_chunks(response):
            body += chunk
            if len(body) > most:
                break
    return bytes(body[: most + 1])
