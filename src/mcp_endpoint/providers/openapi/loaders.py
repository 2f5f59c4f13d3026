"""Where the documents of an API come from: files, or URLs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from mcp_endpoint.net.http_answer import HttpAnswer
from mcp_endpoint.net.http_client import body_chunks, error_body, send
from mcp_endpoint.providers.local.threads import Threads
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.openapi.document.references import MOST_BYTES
from mcp_endpoint.providers.openapi.document.search import PLACES
from mcp_endpoint.providers.openapi.document.values import BadDocument
from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.wire.text import clean


class Loader(Protocol):
    """Loads the documents of an API."""

    async def main(self) -> tuple[str, bytes]:
        """The place, a URI, and the bytes of the document that the settings name. Raises Stopped or BadDocument."""

    async def load(self, place: str, most: int) -> tuple[str, bytes]:
        """Where a document comes from in the end, and its bytes, of which at most `most` + 1 are read.

        Raises Stopped or BadDocument.
        """


class FileLoader:
    """Documents in a folder and in those inside it."""

    def __init__(self, path: str, threads: Threads) -> None:
        self._path = Path(path)
        self._threads = threads

    async def main(self) -> tuple[str, bytes]:
        """The file that the settings name; its place is where it really is. Raises BadDocument."""

        def read() -> tuple[str, bytes]:
            try:
                data = _read(self._path, MOST_BYTES)
            except OSError as error:
                raise BadDocument(f"{self._path} cannot be read: {_words(error)}") from None
            self._path = self._path.resolve()
            return self._path.as_uri(), data

        return await self._threads.run(read)

    async def load(self, place: str, most: int) -> tuple[str, bytes]:
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


class UrlLoader:
    """Documents that are fetched by HTTP."""

    def __init__(self, url: str, headers: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._url = url
        self._headers = headers
        self._client = client

    async def main(self) -> tuple[str, bytes]:
        """The document that the settings name. Raises Stopped."""
        return await self.load(self._url, MOST_BYTES)

    async def load(self, place: str, most: int) -> tuple[str, bytes]:
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
    answer = HttpAnswer.of(status, response.headers, body)
    # How soon the server wants to be asked again is not for who reads why: its next start is due when it is due.
    said = clean(replace(answer, retry_after="").told(), 160)
    if status in (401, 403):
        return Stopped(StopReason.UNAUTHORIZED, f"{said}; what the document asks for belongs into document_headers")
    return Stopped(StopReason.HTTP_STATUS, f"{said}; {PLACES}" if status in (404, 410) else said)


async def body_of(response: httpx.Response, most: int) -> bytes:
    """The body of a response; of a longer one `most` + 1 bytes. Raises Stopped."""
    body = bytearray()
    with as_stopped():
        async for chunk in body_chunks(response):
            body += chunk
            if len(body) > most:
                break
    return bytes(body[: most + 1])
