"""Health, counters and the banner: what the console, monitors and people ask over HTTP (docs/protocol.md, 6)."""

import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from msgspec.json import encode
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_endpoint import __version__
from mcp_endpoint.broker.report import Stamp
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors.json_rpc import Fault

Report = dict[str, object]
UPGRADE_HELP = (
    "This is an MCP endpoint, not a page: tool programs and devices connect with ws:// or wss://, MCP clients by "
    "Streamable HTTP. / 这是 MCP 接入点：工具程序和设备请用 ws:// 或 wss:// 连接，MCP 客户端请用 Streamable HTTP。\n"
)
NOT_FOUND_HELP = (
    "Nothing is here. Doors: …/mcp/ and …/call/ (WebSocket, Streamable HTTP), …/sse; …/health, /stats, "
    "/mcp_endpoint/.\n"
)
MOST_ASKED = 20
"""Agents that one `/stats?agent=…&agent=…` tells of although they have no link."""


def build_app(
    port_state: PortState, clock: Callable[[], float], more: Callable[[Stamp], Report] = lambda _: {}
) -> FastAPI:
    """The HTTP app of one broker. `clock` gives the monotonic seconds that the broker's times are in.

    `more` has what else `/stats` tells with the key.
    """
    started = clock()
    app = FastAPI(title="mcp-endpoint", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(_Cors, port_state=port_state)

    def has_key(request: Request) -> bool:
        given = request.query_params.get("key")
        if given is None:
            scheme, _, value = request.headers.get("authorization", "").partition(" ")
            given = value.strip() if scheme.lower() == "bearer" else ""
        return hmac.compare_digest(given.encode(), port_state.settings.server.key.encode())

    def liveness() -> Response:
        """Whether the broker takes connections: 200, or 503 once it is asked to stop."""
        body: Report = {
            "status": "draining" if port_state.draining else "healthy",
            "version": __version__,
            "uptime": round(clock() - started, 1),
            "connections": port_state.manager.counts(),
        }
        return _json(body, 503 if port_state.draining else 200)

    def console_health(request: Request) -> Response:
        """What the management console reads: always 200, and the word success only with the right key."""
        if not has_key(request):
            fault = Fault.BAD_KEY
            error = {"code": int(fault.code), "message": "密钥验证失败", "data": {"details": fault.zh}}
            return _json(_console_body(None, error))
        if port_state.draining:
            return liveness()
        counts = port_state.manager.counts() | {"robot_connections_by_agent": port_state.manager.counts_by_agent()}
        return _json(_console_body({"status": "success", "connections": counts}, None))

    def stats(request: Request) -> Response:
        """The counters; with the key also every agent, every link and the links that ended last."""
        data = port_state.manager.counts() | {"version": __version__, "uptime": round(clock() - started, 1)}
        if has_key(request):
            now, wall = clock(), time.time()

            def stamp(moment: float) -> str:
                return datetime.fromtimestamp(wall - (now - moment), UTC).isoformat(timespec="milliseconds")

            asked = request.query_params.getlist("agent")[:MOST_ASKED]
            data |= port_state.manager.report(now, stamp, asked)
            data["census"] = port_state.counts()
            data["refusals"] = port_state.admission.refusals.report(stamp)
            data["refused_by_reason"] = dict(port_state.admission.refusals.by_reason)
            data |= more(stamp)
        return _json({"status": "success", "data": data})

    def banner() -> Response:
        """Who this is."""
        return _json(
            _console_body({"message": "MCP Endpoint Server", "version": __version__, "status": "running"}, None)
        )

    @app.get("/stats", summary="Counters; with ?key=… every link")
    async def get_stats(request: Request) -> Response:
        return stats(request)

    @app.get("/health", summary="Liveness; with ?key=… the console's question")
    async def get_health(request: Request) -> Response:
        return console_health(request) if "key" in request.query_params else liveness()

    @app.get("/mcp_endpoint/health", summary="The management console's question; needs ?key=…")
    async def get_console_health(request: Request) -> Response:
        return console_health(request)

    @app.get("/", summary="Banner")
    @app.get("/mcp_endpoint", include_in_schema=False)
    @app.get("/mcp_endpoint/", summary="Banner")
    async def get_banner() -> Response:
        return banner()

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "DELETE"], include_in_schema=False)
    async def behind_a_prefix(path: str, request: Request) -> Response:
        """The same pages behind any prefix of a reverse proxy, and help for those who came to the wrong place."""
        segments = path.rstrip("/").split("/")
        if request.method in ("GET", "HEAD"):
            match segments[-1]:
                case "health":
                    console = segments[-2:-1] == ["mcp_endpoint"] or "key" in request.query_params
                    return console_health(request) if console else liveness()
                case "stats":
                    return stats(request)
                case "mcp_endpoint" | "":
                    return banner()
        if segments[-1] in ("mcp", "call"):
            return Response(UPGRADE_HELP, 426, {"Upgrade": "websocket"}, "text/plain; charset=utf-8")
        return Response(NOT_FOUND_HELP, 404, media_type="text/plain; charset=utf-8")

    return app


class _Cors:
    """CORS as the settings have it now: a reload may change the origins, or switch it on and off."""

    def __init__(self, app: ASGIApp, port_state: PortState) -> None:
        self._app = app
        self._port_state = port_state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        security = self._port_state.settings.security
        app = self._app
        if security.enable_cors:
            app = CORSMiddleware(app, allow_origins=security.allowed_origins, allow_methods=["GET", "HEAD"])
        await app(scope, receive, send)


def _console_body(result: object, error: object) -> Report:
    """A body with result and error side by side: only these three pages have it, since the console knows it so."""
    return {"result": result, "error": error, "id": None, "jsonrpc": "2.0"}


def _json(body: Report, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")
