"""An endpoint as its clients see it: the URL a user pasted, the connection, and in plain words why there is none.

The sentences are read by people in front of a terminal: each says what to do, and comes in Chinese and English for its
reader to choose. None of them shows the token: a URL is only ever shown up to its path.
"""

import errno
import socket
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal
from urllib.parse import unquote, unquote_plus, urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.typing import Subprotocol

from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import Redactor, quote_peer

Door = Literal["mcp", "call"]

MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of one frame, either way; the default of `max_message_size`."""

PING = 20.0
OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 3.0

URL_VARIABLE = "MCP_ENDPOINT"
"""The variable of the environment that has the URL where none is given."""

NO_URL = Bilingual(
    f"没有给出接入点地址：请写在命令中，或放入环境变量 {URL_VARIABLE}。",
    f"No endpoint URL was given, and ${URL_VARIABLE} is not set.",
)

_OTHER_DOOR = {
    "mcp": Bilingual(
        "这是设备端地址（/call/），已改用工具端地址（/mcp/）。",
        "This is the device URL (/call/); using the tool URL (/mcp/).",
    ),
    "call": Bilingual(
        "这是工具端地址（/mcp/），已改用设备端地址（/call/）。",
        "This is the tool URL (/mcp/); using the device URL (/call/).",
    ),
}


class UnusableURL(ValueError):
    """What was given as a URL is none that can be dialled. `told` says what is wrong, without the URL."""

    def __init__(self, told: Bilingual) -> None:
        super().__init__(told.en)
        self.told = told


@dataclass(frozen=True)
class Endpoint:
    """Where to dial: `url` holds the token and is never shown, `shown` and `notes` are for people."""

    url: str = field(repr=False)
    shown: str
    notes: tuple[Bilingual, ...]
    redact: Redactor = field(repr=False)

    def quote(self, text: str, limit: int = 200) -> str:
        """Text of a peer or of a program for one line of at most `limit` characters, without this URL's token."""
        return quote_peer(self.redact(text), limit)


@dataclass(frozen=True)
class Failure:
    """Why a connection could not be made or ended. `slow`: only a person can mend it, so there is no hurry."""

    told: Bilingual
    slow: bool = False


# What anything between a URL and an open connection may raise: DNS, TCP, TLS, proxies, HTTP, WebSocket.
DIAL_ERRORS = (OSError, TimeoutError, WebSocketException, ValueError, ImportError)


def endpoint(url: str, door: Door) -> Endpoint:
    """Read a pasted URL that is meant for `door`; the other door's URL is turned into this one's, with a note.

    Raises UnusableURL.
    """
    try:
        parts = urlsplit(url.strip().strip("\"'"))
        port = parts.port
    except ValueError as error:
        raise UnusableURL(_bad_url("地址无法解析", "it cannot be parsed")) from error
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss"):
        raise UnusableURL(_bad_url("地址应以 ws:// 或 wss:// 开头", "it must start with ws:// or wss://"))
    if not parts.hostname or port == 0:
        raise UnusableURL(_bad_url("地址中没有主机名或端口无效", "it has no host, or no valid port"))
    notes = []
    path = parts.path
    segments = path.rstrip("/").split("/")
    if segments[-1] in ("mcp", "call") and segments[-1] != door:
        segments[-1] = door
        path = "/".join(segments) + ("/" if path.endswith("/") else "")
        notes.append(_OTHER_DOOR[door])
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = urlunsplit((scheme, host if port is None else f"{host}:{port}", path, "", ""))
    members = [part.partition("=") for part in parts.query.split("&")]
    tokens = [form for name, _, value in members if name.lower() == "token" for form in _spellings(value)]
    return Endpoint(
        url=urlunsplit((scheme, parts.netloc, path, parts.query, "")),
        shown=quote_peer(shown),
        notes=tuple(notes),
        redact=Redactor(tokens),
    )


def _spellings(value: str) -> set[str]:
    return {value, unquote(value), unquote_plus(value)}


def _bad_url(zh: str, en: str) -> Bilingual:
    return Bilingual(
        f"接入点地址有误：{zh}，例如 ws://192.168.1.5:8004/mcp_endpoint/mcp/?token=…",
        f"The endpoint URL is wrong: {en}, as in ws://192.168.1.5:8004/mcp_endpoint/mcp/?token=…",
    )


def dial(where: Endpoint, subprotocol: str | None = "mcp", tls: ssl.SSLContext | None = None) -> connect:
    """A connection to be opened with `await` or `async with`: pings, no compression, 4 MB frames.

    `tls` replaces the usual checks of a certificate. Raises one of DIAL_ERRORS when opened; `explain` turns it into
    a sentence.
    """
    return connect(
        where.url,
        subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
        compression=None,
        # An endpoint on this machine is never behind the proxy that the environment names for the rest.
        proxy=None if _is_here(where.url) else True,
        open_timeout=OPEN_TIMEOUT,
        ping_interval=PING,
        ping_timeout=PING,
        close_timeout=CLOSE_TIMEOUT,
        max_size=MAX_MESSAGE,
        ssl=(tls or True) if where.url.startswith("wss:") else None,
    )


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def explain(error: BaseException, where: Endpoint) -> Failure:
    """Say why there is no connection, from what dialling or the connection raised."""
    if isinstance(error, ConnectionClosed):
        return _explain_close(error, where)
    if isinstance(error, InvalidStatus):
        return _explain_status(error.response.status_code, where)
    zh, en = cause(error, where)
    return _failure(f"无法连接 {where.shown}：{zh}。", f"Cannot connect to {where.shown}: {en}.")


def _failure(zh: str, en: str, *, slow: bool = False) -> Failure:
    return Failure(Bilingual(zh, en), slow)


def was_refused(error: BaseException) -> bool:
    """Whether nobody listens there."""
    # asyncio joins the errors of several addresses of one host into one text.
    return isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error)


def cause(error: BaseException, where: Endpoint) -> Bilingual:
    """What keeps a connection from being made, to stand inside a sentence."""
    if was_refused(error):
        return Bilingual(
            "连接被拒绝，请检查服务是否已启动、端口是否正确",
            "connection refused; check that the server runs and the port is right",
        )
    if isinstance(error, socket.gaierror):
        return Bilingual(
            "找不到该主机名，请检查地址和网络", "the host name is not known; check the URL and the network"
        )
    if isinstance(error, TimeoutError):
        return Bilingual(f"{OPEN_TIMEOUT:g} 秒内没有应答", f"no answer within {OPEN_TIMEOUT:g} s")
    if isinstance(error, ssl.SSLError):
        return Bilingual(
            f"TLS 失败（{error.reason}），请检查证书，或者该服务只支持 ws://",
            f"TLS failed ({error.reason}); check the certificate, or the server speaks only ws://",
        )
    if isinstance(error, ProxyError | InvalidProxy | ImportError):
        return Bilingual(
            "环境变量中的代理不可用，可用 NO_PROXY 排除该主机",
            "the proxy named in the environment does not work; NO_PROXY exempts a host from it",
        )
    if isinstance(error, InvalidHandshake):
        return Bilingual(
            "对方不是 WebSocket 服务，请检查主机和端口",
            "what answers there is no WebSocket server; check host and port",
        )
    # Anything else may quote the URL.
    text = where.quote(f"{type(error).__name__}: {error}")
    return Bilingual(text, text)


def _explain_status(status: int, where: Endpoint) -> Failure:
    zh, en = {
        401: ("需要认证，请检查 token", "it wants authentication; check the token"),
        403: ("不允许访问，请检查 token 和 allowed_origins", "not allowed; check the token and allowed_origins"),
        404: ("该路径不存在，请检查地址是否完整", "there is nothing at this path; check that the URL is complete"),
        503: ("服务已满或正在重启", "it is full or restarting"),
    }.get(status, ("服务拒绝了连接", "it refused the connection"))
    return _failure(
        f"{where.shown} 返回 HTTP {status}：{zh}。",
        f"{where.shown} answered HTTP {status}: {en}.",
        slow=400 <= status < 500,
    )


def _explain_close(error: ConnectionClosed, where: Endpoint) -> Failure:
    received, sent = error.rcvd, error.sent
    if received is None:
        if sent is not None and "ping timeout" in sent.reason:
            return _failure("心跳超时，连接已断开。", "The endpoint stopped answering pings; the connection is closed.")
        return _failure("连接中断。", "The connection was lost.")
    reason = where.quote(received.reason)
    if reason == End.MISSING_TOKEN.wire:
        return _failure(
            f"接入点拒绝了连接（{reason}）：地址中没有 token，请复制完整的地址。",
            "The endpoint refused the connection: no token in the URL; copy the whole URL.",
            slow=True,
        )
    if reason == End.BAD_TOKEN.wire:
        return _failure(
            f"接入点拒绝了连接（{reason}）：token 不属于该服务，请重新复制地址。",
            "The endpoint refused the connection: the token is not one of this server; copy the URL again.",
            slow=True,
        )
    if reason == End.REPLACED.wire:
        return _failure(
            f"接入点关闭了连接（{reason}）：同一程序在别处以相同的 token 连接。",
            "The endpoint closed the connection: the same program dialled in elsewhere with this token.",
            slow=True,
        )
    slow = received.code in (1008, End.TOO_MANY_TOOL_SIDES.code) and reason != End.SLOW_READER.wire
    return _failure(
        f"接入点关闭了连接（{received.code} {reason}）。",
        f"The endpoint closed the connection ({received.code} {reason}).",
        slow=slow,
    )
