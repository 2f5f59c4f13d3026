"""A source whose requests are signed by OAuth."""

from collections.abc import Callable, Sequence

from mcp_endpoint.providers.oauth.client import OAuth
from mcp_endpoint.providers.source import OnFrame, Source, Stopped


class SignedSource:
    """Both end together: the source, and what signs its requests."""

    def __init__(self, source: Source, oauth: OAuth) -> None:
        self._source = source
        self._oauth = oauth

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Open it. Raises Stopped."""
        await self._source.open(take, stopped)

    def send(self, frame: bytes) -> None:
        """Hand it one frame."""
        self._source.send(frame)

    async def close(self) -> None:
        """End both."""
        await self._source.close()
        await self._oauth.close()

    @property
    def said(self) -> Sequence[str]:
        """Its last lines."""
        return self._source.said
