"""What `doctor` sees without a connection: files, folders, limits and addresses of this machine."""

import errno
import os
import socket
import ssl
import stat
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from mcp_endpoint.clients.doctor.findings import Finding, good, problem, warning
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers
from mcp_endpoint.settings.schema import KEY_VARIABLE, Settings

SPARE_DESCRIPTORS = 64
"""What the broker has open besides its connections: listener, log, event loop, refused handshakes."""

EXPIRES_SOON = timedelta(days=14)


def key_file(path: Path, environ: Mapping[str, str]) -> Finding:
    """Whether only its owner can read the key."""
    if KEY_VARIABLE in environ:
        return good(
            "key", f"密钥来自环境变量 {KEY_VARIABLE}。", f"The key comes from the environment ({KEY_VARIABLE})."
        )
    if sys.platform != "win32":
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            return warning(
                "key",
                f"配置文件含有密钥，但权限是 {mode:04o}，其他用户可以访问；请执行 chmod 600 {path}",
                f"The settings file holds the key, and its mode {mode:04o} opens it to other users: chmod 600 {path}",
            )
    return good("key", "密钥已设置，只有文件的所有者能读取。", "There is a key, and only the file's owner can read it.")


def folders(path: Path, log_file: Path | None) -> list[Finding]:
    """Whether this user can write what a broker writes; a broker that runs as somebody else may fare otherwise."""
    found = []
    for check, zh, en, why in (
        ("data", "数据目录", "The data folder", _unwritable_folder(path.absolute().parent)),
        ("logs", "日志文件", "The log file", None if log_file is None else _unwritable_file(log_file)),
    ):
        place = path.absolute().parent if check == "data" else log_file
        if place is None:
            found.append(
                good(check, "未设置日志文件，日志只输出到控制台。", "No log file is set; the log goes to the console.")
            )
        elif why is None:
            found.append(good(check, f"{zh}可写：{place}", f"{en} can be written: {place}"))
        else:
            found.append(
                warning(
                    check,
                    f"{zh}无法由当前用户写入：{place}（{why}），请修改其权限或路径。",
                    f"{en} cannot be written by this user: {place} ({why}); change its owner, mode or path.",
                )
            )
    return found


def _unwritable_folder(folder: Path) -> str | None:
    """Why nothing can be put there; a folder that does not exist is made by the broker."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


def _unwritable_file(path: Path) -> str | None:
    try:
        if not path.exists():
            return _unwritable_folder(path.absolute().parent)
        with path.open("ab"):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


def descriptors(settings: Settings) -> list[Finding]:
    """Whether the system lets a broker open `max_connections`; it raises the soft limit by itself."""
    if sys.platform == "win32":
        return []
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most, need = settings.websocket.max_connections, settings.websocket.max_connections + SPARE_DESCRIPTORS
    shown = ["∞" if limit == resource.RLIM_INFINITY else str(limit) for limit in (soft, hard)]
    limits_zh, limits_en = f"软限制 {shown[0]}，硬限制 {shown[1]}", f"soft {shown[0]}, hard {shown[1]}"
    if hard != resource.RLIM_INFINITY and hard < need:
        return [
            warning(
                "descriptors",
                f"文件描述符上限（{limits_zh}）不够 max_connections = {most}；请把 ulimit -n 提高到 {need} 以上，"
                "或调低 max_connections。",
                f"The descriptor limit ({limits_en}) is too low for max_connections = {most}; raise ulimit -n to "
                f"{need}, or lower max_connections.",
            )
        ]
    return [
        good(
            "descriptors",
            f"文件描述符上限足够（{limits_zh}，max_connections = {most}）。",
            f"The descriptor limit suffices ({limits_en}; max_connections = {most}).",
        )
    ]


def addresses(settings: Settings, base: str) -> list[Finding]:
    """What is wrong with the host that others are told to dial. `base` is that of the printed URLs."""
    found = []
    host, public = settings.server.host, settings.server.public_url
    if is_loopback(host) and (not public or is_loopback(urlsplit(public).hostname or "")):
        found.append(
            warning(
                "addresses",
                f"[server] host = {host}：只有本机能访问；其他机器或容器要访问时，请设为 0.0.0.0。",
                f"[server] host = {host}: only this machine reaches the broker; for other machines and containers set "
                "it to 0.0.0.0.",
            )
        )
    elif is_loopback(urlsplit(base).hostname or ""):
        zh, en = ("public_url", "public_url") if public else ("打印的地址", "the printed address")
        found.append(
            warning(
                "addresses",
                f"{zh} 是 {base}：在其他机器或容器里它指的是它们自己；请把 public_url 设为本机的局域网地址，"
                f"例如 http://192.168.1.10:{settings.server.port}。",
                f"{en} is {base}: on other machines and in containers that means themselves; set public_url to this "
                f"machine's LAN address, such as http://192.168.1.10:{settings.server.port}.",
            )
        )
    elif not public and Path("/.dockerenv").exists():
        found.append(
            warning(
                "addresses",
                f"运行在容器中且未设置 public_url：打印的地址 {base} 是容器自己的，外面通常访问不到；"
                "请设为宿主机的地址。",
                f"This is a container and public_url is not set: the printed {base} is the container's own address, "
                "which others mostly cannot reach; set it to the host's.",
            )
        )
    words = [word for word in ("key", "call") if word in base.lower()]
    if words and not public:  # for public_url the settings say it themselves
        found.append(
            warning(
                "addresses",
                f"打印的地址 {base} 含有“{words[0]}”，单模块部署的小智服务端会拒绝它；请设置 public_url。",
                f"The printed {base} contains '{words[0]}', and a single-module Xiaozhi server refuses every URL that "
                "does; set public_url.",
            )
        )
    return found or [good("addresses", f"对外地址：{base}", f"Others are told to dial {base}")]


def is_loopback(host: str) -> bool:
    """Whether a host name or address means the machine it is used on."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def can_listen(settings: Settings) -> Finding | None:
    """Why a broker could not listen where it is told to, if nobody does."""
    host, port = settings.server.host, settings.server.port
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        hints = {
            errno.EADDRINUSE: ("端口被占用，请换一个端口", "the port is in use, choose another"),
            errno.EACCES: ("没有权限，请使用 1024 以上的端口", "not allowed, choose a port over 1024"),
            errno.EADDRNOTAVAIL: ("该地址不属于本机", "this machine does not have that address"),
        }
        zh, en = hints.get(error.errno or 0, (why, why))
        return problem("listen", f"无法监听 {host}:{port}：{zh}。", f"Nobody can listen on {host}:{port}: {en}.")
    return None


def tls_files(settings: Settings, home: Path) -> list[Finding]:
    """Whether certificate and key belong together and are valid."""
    if not settings.server.tls_cert:
        return []
    cert, key = home / settings.server.tls_cert, settings.server.tls_key and home / settings.server.tls_key
    try:
        # A key with a passphrase must not make the program ask for it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key or None, password=lambda: b"")
        ends = x509.load_pem_x509_certificates(cert.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError) as error:
        why = (isinstance(error, ssl.SSLError) and error.reason) or getattr(error, "strerror", None) or str(error)
        zh, en = (
            f"TLS 证书或私钥不可用：{cert}（{why}）。",
            f"The TLS certificate or its key cannot be used: {cert} ({why}).",
        )
        return [problem("tls", zh, en)]
    left, day = ends - datetime.now(UTC), f"{ends:%Y-%m-%d}"
    if left < timedelta():
        return [problem("tls", f"TLS 证书已于 {day} 过期。", f"The TLS certificate expired on {day}.")]
    if left < EXPIRES_SOON:
        return [warning("tls", f"TLS 证书将于 {day} 过期。", f"The TLS certificate expires soon, on {day}.")]
    return [good("tls", f"TLS 证书有效期至 {day}。", f"The TLS certificate is valid until {day}.")]


def servers_file(path: Path) -> list[Finding]:
    """What is wrong in the list of servers at `path`, where no broker runs that could tell."""
    try:
        listed = read_servers(path) if path.exists() else []
    except UnusableFile as error:
        return [problem("servers", f"{error.told.zh}。", f"{error.told.en}.")]
    found = []
    for server in listed:
        name = quote_peer(server.name, 80)
        for remark in (server.fault, *server.remarks):
            if remark is not None:
                told, status = remark.told(), problem if remark is server.fault else warning
                found.append(status("servers", f"服务 {name}：{told['zh']}", f"Server {name}: {told['en']}"))
    return found
