"""What the owner of a server can do about what keeps it from serving, where that can be known."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from mcp_endpoint.language import Bilingual
from mcp_endpoint.providers.entries.entry import Kind, Server
from mcp_endpoint.providers.source import StopReason

_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_FETCHING = {
    **dict.fromkeys(("npx", "npm", "pnpm", "yarn", "bunx", "bun"), "NPM_CONFIG_REGISTRY"),
    **dict.fromkeys(("uvx", "uv"), "UV_DEFAULT_INDEX"),
    **dict.fromkeys(("pipx", "pip"), "PIP_INDEX_URL"),
}
"""Programs that download others when they start, and the variable that names a mirror for them."""


def advice(server: Server, why: StopReason, *, contained: bool) -> Bilingual | None:
    """What to do about a server that stopped, to stand behind the reason.

    `server` is as its entry has it; `contained`: see `in_container`.
    """
    program = PurePath(server.command[0].replace("\\", "/")).stem.lower() if server.command else ""
    program = program.split()[0] if program.split() else program
    if why in (StopReason.NO_HANDSHAKE, StopReason.EXITED, StopReason.NOT_MCP) and (
        found := _docker(program, server.command)
    ):
        return found
    if why is StopReason.NO_HANDSHAKE and server.kind is Kind.STDIO:
        return _slow(program)
    if why is StopReason.NO_COMMAND:
        return _missing(program, contained=contained)
    if why is StopReason.UNREACHABLE and contained and _is_here(server):
        return Bilingual(
            "容器内的 localhost 指容器自身：请改用宿主机的局域网地址，或 host.docker.internal"
            "（见 docs/docker.zh-CN.md）",
            "inside a container localhost is the container itself: write the host's address in your network, or "
            "host.docker.internal (see docs/docker.md)",
        )
    return None


def _docker(program: str, command: Sequence[str]) -> Bilingual | None:
    """A container of which stdin is closed, or in which a terminal stands between, speaks no MCP."""
    if program not in ("docker", "podman") or "run" not in command:
        return None
    short = "".join(word[1:] for word in command if re.fullmatch("-[a-z]+", word))
    if "t" in short or "--tty" in command:
        return Bilingual("请去掉 -t：终端内容会混进消息", "leave out -t: a terminal would be mixed into its frames")
    if "i" not in short and "--interactive" not in command:
        return Bilingual(
            f"请加上 -i，否则它的标准输入是关闭的：{program} run -i --rm --init 镜像",
            f"its arguments need -i, or its stdin is closed: `{program} run -i --rm --init IMAGE`",
        )
    return None


def _slow(program: str) -> Bilingual:
    if program == "docker":
        return Bilingual(
            "是否还在拉取镜像？请先执行 docker pull，或调大 start_timeout",
            "is it still pulling its image? Run `docker pull` first, or set a larger start_timeout",
        )
    mirror = _FETCHING.get(program)
    if mirror is None:
        return Bilingual(
            "它是否在等待输入、网络或登录（见其最后几行输出）？启动慢的可调大 start_timeout",
            "does it wait for input, the network or a login (see its last lines)? One that starts slowly needs a "
            "larger start_timeout",
        )
    return Bilingual(
        f"是否还在下载？请检查镜像源（{mirror}）和代理（HTTPS_PROXY），它们取自本服务的环境变量；"
        "或先手动运行一次，或调大 start_timeout",
        f"is it still downloading? Check the mirror ({mirror}) and the proxy (HTTPS_PROXY), which come from the "
        "broker's environment; or run it once by hand, or set a larger start_timeout",
    )


def _missing(program: str, *, contained: bool) -> Bilingual:
    if contained and program in _FETCHING:
        return Bilingual(
            "容器内没有这个程序：node 和 uv 在带程序的镜像里（VARIANT=programs docker compose up -d --build，"
            "见 docs/docker.zh-CN.md）",
            "the container does not have it: node and uv are in the image with programs (`VARIANT=programs docker "
            "compose up -d --build`, see docs/docker.md)",
        )
    if program in _FETCHING:
        package = "Node.js" if _FETCHING[program].startswith("NPM") else program.removesuffix("x") or program
        return Bilingual(
            f"请安装 {package}，或在 command 中写程序的完整路径（服务的 PATH 可能与终端不同）",
            f"install {package}, or write the program's whole path as command (a service may have another PATH than "
            "your terminal)",
        )
    return Bilingual(
        "请检查是否已安装，或在 command 中写完整路径；参数请写入 args",
        "is it installed? Write its whole path as command, and its arguments into args",
    )


def in_container(environ: Mapping[str, str]) -> bool:
    """Whether this process runs in a container, as images (`container=`), Docker and Podman tell."""
    return bool(environ.get("container")) or any(mark.exists() for mark in _CONTAINER_MARKS)


def _is_here(server: Server) -> bool:
    """Whether a server's URL leads to this machine itself."""
    urls = [server.url, *((server.openapi.document, server.openapi.base_url) if server.openapi else ())]
    return any("://" in url and _is_loopback(url) for url in urls)


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host.rstrip(".").lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
