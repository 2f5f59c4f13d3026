"""The one place that builds the broker from its settings and hands uvicorn an app."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import uvicorn
from loguru import logger
from uvicorn.server import HANDLED_SIGNALS

from mcp_endpoint import __version__
from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.broker.link import Role
from mcp_endpoint.doors.connection import Connection, PortConfig
from mcp_endpoint.doors.http.era import EraRouter
from mcp_endpoint.doors.http.ops import build_app
from mcp_endpoint.doors.http.router import Router
from mcp_endpoint.doors.http.sse import Sse
from mcp_endpoint.doors.http.stateless.requests import Stateless
from mcp_endpoint.doors.http.streamable.requests import StreamableHttp
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.doors.websocket.link import open_websocket
from mcp_endpoint.doors.websocket.links import WebSocketLinks
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.link_log import LinkLog
from mcp_endpoint.providers.entries.servers_file import SERVERS
from mcp_endpoint.providers.factory import SourceContext, make_source
from mcp_endpoint.providers.jobs.job_manager import JobManager
from mcp_endpoint.providers.pins import PinFile
from mcp_endpoint.providers.provider import ProviderContext
from mcp_endpoint.providers.supervisor import Providers
from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import Loaded
from mcp_endpoint.settings.reload import Reload
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tls import Certificate
from mcp_endpoint.tokens import Tokens

PINS = ".mcp_tools.json"
"""The file beside the settings in which the definitions of their tools are kept."""
TICK = 0.1
"""Seconds between two sweeps of deadlines: how late an error at `call_timeout` may be."""


class Server(uvicorn.Server):
    """uvicorn's server, stopping as peers expect: /health says so first, then every link is closed with 1012."""

    def __init__(
        self, config: PortConfig, websockets: WebSocketLinks, providers: Providers, job_manager: JobManager
    ) -> None:
        super().__init__(config)
        self._port_state = config.port_state
        self._websockets = websockets
        self._providers = providers
        self._job_manager = job_manager

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; `handshake_timeout` holds for a TLS handshake too, which uvicorn would give a minute."""
        loop, config, limits = asyncio.get_running_loop(), self.config, self._port_state.settings.websocket

        def connection() -> Connection:
            assert isinstance(config, PortConfig)
            return Connection(config, self.server_state, {}, loop)

        timeout = limits.handshake_timeout if config.ssl else None
        self.servers = [
            await loop.create_server(
                connection, sock=sock, backlog=config.backlog, ssl=config.ssl, ssl_handshake_timeout=timeout
            )
            for sock in sockets or ()
        ]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop listening. A peer that reads nothing is cut off after `close_timeout`."""
        port_state = self._port_state
        port_state.draining = True
        self._job_manager.stop()  # the clients hear of it before they are closed
        for role in Role:  # tool sides first, so that devices still hear what became of their calls
            port_state.close(role, End.RESTART)
            await asyncio.sleep(0)
        ending = asyncio.ensure_future(self._providers.stop())
        if self._websockets:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._websockets.emptied.wait(), port_state.settings.websocket.close_timeout + 0.2
                )
        await ending
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, and then exit with code 0 instead of dying of the signal once more."""
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(settings: Settings) -> socket.socket:
    """The listening socket. Raises OSError."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def run(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[int], None],
    read: Callable[[], Loaded],
    show: Callable[[Settings], None],
    folder: Path,
    tls: Certificate | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called with the port once connections are taken.

    SIGHUP has the settings read again with `read`; `show` is told of the new ones, for the log. State lies in `folder`.
    """
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, listener, ready, read, show, folder, tls))


def reload_tls(tls: Certificate) -> None:
    """Take over a renewed certificate; a bad one is told to the log, and the old one stays."""
    try:
        tls.reload()
    except SettingsError as error:
        logger.warning("the certificate was not reloaded, the old one stays: {}", error)


async def _serve(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[int], None],
    read: Callable[[], Loaded],
    show: Callable[[Settings], None],
    folder: Path,
    tls: Certificate | None,
) -> None:
    loop = asyncio.get_running_loop()
    port_state = PortState(
        settings, ConnectionManager(settings, LinkLog(), __version__), Tokens(settings.server.key), loop
    )
    port_state.manager.pays = lambda agent_id, work: port_state.fairness.charge(agent_id, work, loop.time())
    job_manager = JobManager(port_state.manager, loop, lambda: port_state.settings)
    sources = SourceContext(os.environ, folder, job_manager.longest, lambda: port_state.settings.server.debug)
    context = ProviderContext(
        port_state.manager, loop, os.environ, folder, lambda server: make_source(server, sources), job_manager
    )
    pins = PinFile(folder / PINS)
    providers = Providers(folder / SERVERS, context, pins, lambda: port_state.settings.security.pin_tools == "block")
    pages = build_app(port_state, loop.time, providers.stats)
    websockets = WebSocketLinks(port_state)
    streamable = StreamableHttp(port_state)
    stateless = Stateless(port_state)
    sse = Sse(port_state, lambda: len(streamable.sessions))
    mcp = EraRouter(streamable, streamable.post, stateless.post)
    config = PortConfig(
        port_state,
        partial(open_websocket, websockets),
        tls=None if tls is None else tls.context,
        app=Router(port_state, pages=pages, mcp=mcp, sse=sse.stream, messages=sse.post),
        lifespan="off",
        log_config=None,
        log_level=_uvicorn_level(settings),
        access_log=_uvicorn_level(settings) != "warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=0.5,
    )

    def tick() -> None:
        try:
            port_state.sweep(loop.time())
            providers.sweep(loop.time())
            job_manager.sweep(loop.time())
        except Exception:  # noqa: BLE001  one bad deadline must not stop all the others for ever
            logger.exception("a deadline could not be worked off")
        loop.call_later(TICK, tick)

    tick()
    loop.call_soon(ready, listener.getsockname()[1])
    # What exists now lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    server = Server(config, websockets, providers, job_manager)

    def show_also(new: Settings) -> None:
        show(new)
        config.log_level = _uvicorn_level(new)
        config.access_log = config.log_level != "warning"
        providers.load()
        logging.getLogger("uvicorn.access").propagate = True  # the next line only ever takes it away
        config.configure_logging()

    reload = Reload(settings, read, [port_state.reconfigure, show_also], lambda: port_state.draining)
    _reload_on_hangup(loop, server, reload)
    await server.serve(sockets=[listener])


def _uvicorn_level(settings: Settings) -> str:
    """What uvicorn is to log: next to nothing, unless somebody looks for a fault."""
    if settings.server.log_level == "TRACE":
        return "trace"
    return "debug" if settings.server.debug or settings.server.log_level == "DEBUG" else "warning"


def _reload_on_hangup(loop: asyncio.AbstractEventLoop, server: Server, reload: Reload) -> None:
    """Reload on SIGHUP, unless it comes from closing the terminal that the broker was started in: then stop."""
    if sys.platform == "win32":
        return
    terminal = os.isatty(0)

    def hangup() -> None:
        if terminal and not os.isatty(0):
            server.handle_exit(signal.SIGHUP, None)
        else:
            reload()

    loop.add_signal_handler(signal.SIGHUP, hangup)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists; it has no Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def raise_descriptor_limit() -> None:
    """Let the process open as many connections as the system lets it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
