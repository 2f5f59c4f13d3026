"""Decorated Python functions as a tool server: a file or a module, loaded in this process, anew when it changes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loguru import logger

from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.local.python.functions import feature_of
from mcp_endpoint.providers.local.python.module import Unloadable, UserModule
from mcp_endpoint.providers.local.python.parameters import Unusable
from mcp_endpoint.providers.local.server import LocalServer
from mcp_endpoint.providers.local.threads import Threads
from mcp_endpoint.providers.local.tool_spec import FeatureSpec, Limits, ServerSpec
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.wire.mcp import Kind


@dataclass(frozen=True)
class PythonSettings:
    """Which functions are served, and how they are bounded; durations in seconds."""

    source: str
    """A file's path, or a module's name."""
    reload: bool = False
    """Whether a file that changes is loaded again."""
    limits: Limits = field(default_factory=Limits)
    threads: int = 8
    """Functions without `async` that run at a time; one more waits."""
    load_within: float = 30.0
    look_every: float = 1.0
    """How often files are looked at for a change."""


class PythonFile:
    """A Source of decorated functions. Each object is opened once; state in the module lives as long as it is open."""

    def __init__(self, settings: PythonSettings) -> None:
        self._settings = settings
        self._module = UserModule(settings.source)
        self._threads = Threads(settings.threads, f"tool of {self._module.title}")
        self._loading = Threads(1, f"load {self._module.title}")
        self._server: LocalServer | None = None
        self._watch: asyncio.Task[None] | None = None
        self.background: frozenset[str] = frozenset()
        """The tools whose decorator says `background=True`."""

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Load the functions; nothing of them ends by itself later. Raises Stopped: BAD_MODULE."""
        try:
            spec = await self._load()
        except Unloadable as error:
            raise Stopped(StopReason.BAD_MODULE, quote_peer(str(error), 500)) from error
        self._server = LocalServer(spec, take, self._settings.limits)
        if self._settings.reload:
            self._watch = asyncio.create_task(self._reload_on_change(self._server))

    def send(self, frame: bytes) -> None:
        """Hand it one frame."""
        if self._server is not None:
            self._server.receive(frame)

    async def close(self) -> None:
        """End all calls. A function in a thread cannot be ended: its result is dropped."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._server is not None:
            await self._server.close()
        self._module.forget()

    @property
    def said(self) -> Sequence[str]:
        """What went wrong lately: errors of functions, and why a change was not loaded."""
        return () if self._server is None else tuple(self._server.said)

    async def _load(self) -> ServerSpec:
        """What the module offers now. Raises Unloadable."""
        within = self._settings.load_within
        try:
            async with asyncio.timeout(within):
                found = await self._loading.run(self._module.load)
        except TimeoutError:
            raise Unloadable(f"{self._settings.source}: was not loaded within {within:g} s") from None
        kinds: dict[Kind, dict[str, FeatureSpec]] = {kind: {} for kind in Kind}
        for function, mark in found:
            try:
                kind, feature = feature_of(function, mark, self._threads)
            except Unusable as error:
                raise Unloadable(str(error)) from error
            name = str(feature.definition[kind.naming])
            if name in kinds[kind]:
                raise Unloadable(f"{self._settings.source}: two {kind.member} are called {name}")
            kinds[kind][name] = feature
        if not found:
            raise Unloadable(f"{self._settings.source}: no function is marked with @tool, @prompt or @resource")
        self.background = frozenset(mark.name or function.__name__ for function, mark in found if mark.background)
        return ServerSpec(
            self._module.title,
            changes=self._settings.reload,
            kinds={kind: list(features.values()) for kind, features in kinds.items()},
        )

    async def _reload_on_change(self, server: LocalServer) -> None:
        while True:
            await asyncio.sleep(self._settings.look_every)
            if not self._module.changed():
                continue
            try:
                server.change(await self._load())
            except Unloadable as error:
                server.note(f"not loaded, the tools stay as they were: {error}")
            else:
                logger.info("loaded again: {}", quote_peer(self._settings.source))
