"""Reads the documents of an API round by round, as its operations turn out to need them."""

from urllib.parse import urlsplit

from mcp_endpoint.providers.local.threads import Threads
from mcp_endpoint.providers.openapi.api import Api, OpenApiSettings, read_api
from mcp_endpoint.providers.openapi.document.document import Document, NoDocument, read_document
from mcp_endpoint.providers.openapi.document.references import MOST_BYTES, shown_url
from mcp_endpoint.providers.openapi.document.search import PLACES, DocumentSearch
from mcp_endpoint.providers.openapi.document.texts import WebPage
from mcp_endpoint.providers.openapi.document.values import BadDocument
from mcp_endpoint.providers.openapi.loaders import Loader
from mcp_endpoint.providers.openapi.operations.servers import is_url
from mcp_endpoint.providers.source import Stopped


async def read_documents(settings: OpenApiSettings, loader: Loader, threads: Threads) -> Api:
    """The API that a document and those it refers to describe. Raises Stopped or BadDocument."""
    document = await _main(loader, threads)
    references = document.references
    while True:
        api = await threads.run(lambda: read_api(document, settings))
        wanted = references.take_wanted()
        if not wanted:
            break
        for place in wanted:
            try:
                base, data = await loader.load(place, references.left)
                await threads.run(lambda: references.add(place, base, data))  # noqa: B023  done before they change
            except (BadDocument, Stopped) as error:
                references.refuse(place, str(error))
    if not api.found:
        why = f"; {api.left_out[0]}" if api.left_out else ""
        raise BadDocument(f"none of its operations can be a tool (or none fits methods, tags and operations){why}")
    return api


async def _main(loader: Loader, threads: Threads) -> Document:
    """The document that the settings name, or the one that what they name leads to. Raises Stopped or BadDocument."""
    place, data = await loader.main()
    try:
        return await threads.run(lambda: read_document(data, place))
    except (WebPage, NoDocument) as error:
        if not is_url(place):
            raise
        why: BadDocument = error
    search = DocumentSearch(place)
    _remember(search, place, data, why)
    while (candidate := search.next()) is not None:
        try:
            base, data = await loader.load(candidate, MOST_BYTES)
            document = await threads.run(lambda: read_document(data, base))  # noqa: B023  done before they change
        except BadDocument as error:
            _remember(search, candidate, data, error)
        except Stopped:
            continue  # there is nothing
        else:
            document.notes.append(f"the document is at {shown_url(base)}: name that in openapi")
            return document
    raise BadDocument(f"{why}; {PLACES}")


def _remember(search: DocumentSearch, place: str, data: bytes, why: BadDocument) -> None:
    """Have a search know what a text names that is no document."""
    if isinstance(why, WebPage):
        search.page(why.text, place)
    elif urlsplit(place).path.endswith(".js"):
        search.page(data.decode(errors="replace"), place)
    elif isinstance(why, NoDocument):
        search.values(why.content, place)
