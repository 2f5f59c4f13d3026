"""What every kind of tool server looks like to the one who runs it: frames go in, frames come out, and it may stop.

A source speaks MCP of the handshake era in whole JSON-RPC frames, whatever is behind it: a child process, a URL, or
tools inside this process. Whoever runs it (`provider.py`) joins it to the broker as a tool side.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from mcp_endpoint.errors.words import Worded
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer

NOTHING = Bilingual("", "")


class StopReason(Worded):
    """Why a source could not be opened, or stopped: (Chinese words, English words), to stand inside a sentence, and
    what its owner can do about it, in both languages again."""

    def __init__(self, zh: str, en: str, do_zh: str = "", do_en: str = "") -> None:
        super().__init__(zh, en)
        self.do_zh = do_zh
        self.do_en = do_en

    NO_COMMAND = ("找不到要启动的程序", "the program to start was not found")
    NOT_STARTED = (
        "程序无法启动",
        "the program could not be started",
        "请检查它的执行权限和 cwd",
        "see whether it may be run, and its `cwd`",
    )
    EXITED = (
        "程序已退出",
        "the program ended",
        "其最后几行输出可能有说明",
        "its last lines may say why",
    )
    LINE_TOO_LONG = (
        "程序输出了过长的一行",
        "the program printed a line over the size limit",
        "请让它每次少返回一些",
        "have it send less at once",
    )
    FRAME_TOO_LONG = (
        "对方发来了过大的一帧",
        "it sent a frame over the size limit",
        "请让它一次少发一些",
        "have it send less at once",
    )
    NO_VARIABLE = (
        "环境变量未设置",
        "an environment variable it needs is not set",
        "请为本服务设置它，或写成 ${变量:-默认值}",
        "set it for the broker, or write ${VARIABLE:-default}",
    )
    UNREACHABLE = (
        "无法连接到该地址",
        "the address cannot be reached",
        "请检查 url 和对方是否在运行；只能经代理访问时，在条目中填写 proxy",
        'check its url and that it runs; where only a proxy leads there, name it as "proxy" in the entry',
    )
    CERTIFICATE = (
        "对方的证书不受信任",
        "its certificate is not trusted",
        "私有 CA 请在条目中用 ca 指明其 PEM 文件或目录，或设置 SSL_CERT_FILE",
        'of a private CA name the PEM file or folder as "ca" in the entry, or in SSL_CERT_FILE',
    )
    PROXY_FAILED = (
        "代理无法使用",
        "the proxy does not lead there",
        "请检查条目中的 proxy（例如 http://127.0.0.1:7890）；无需代理时填 false",
        'check "proxy" of the entry, such as http://127.0.0.1:7890; false is none',
    )
    UNAUTHORIZED = (
        "对方要求登录，或拒绝了凭据",
        "it wants to be signed in to, or refused the credentials",
        "请检查 headers 中的密钥，或运行 servers login",
        "check the key in its headers, or run `servers login`",
    )
    HTTP_STATUS = (
        "对方返回了 HTTP 错误",
        "it answered with an HTTP error",
        "括号中是状态和对方的说明，详情请查看对方的日志",
        "the status and its own words are in brackets, its log may say more",
    )
    NOT_MCP = (
        "对方的应答不是 MCP",
        "what it answers is not MCP",
        "请检查 url 的路径和条目的 type（http、sse 或 ws）",
        "check the path of its url, and `type` (http, sse or ws)",
    )
    SESSION_LOST = (
        "对方不再认识此会话",
        "it does not know the session any more",
        "会立即重新建立，请再试一次",
        "it is greeted anew at once, so try again",
    )
    REDIRECTED = (
        "对方重定向到另一地址",
        "it redirects to another place",
        "若该地址可信，请把它写为 url；若那是登录页，请在 headers 中提供凭据",
        "where that is to be trusted, write it as the url; if it is a page to sign in, headers must say who comes",
    )
    PRIVATE_ADDRESS = (
        "该地址属于未列入许可的私有网段",
        "the address is in a private range that is not listed",
        "若确为所指，请把括号中的 allow_private 写入条目",
        "if it is meant, add the allow_private that is shown to the entry",
    )
    FAKE_ADDRESS = (
        "该域名被代理软件（Clash、Surge、mihomo 等的 fake-ip 模式）解析为假地址",
        "a proxy program (fake-ip of Clash, Surge, mihomo and others) gives the name a made-up address",
        "请把括号中的 allow_private 写入条目，或用 proxy 指定该代理",
        "add the allow_private that is shown to the entry, or name that proxy as its proxy",
    )
    CONNECTION_LOST = (
        "连接中断",
        "the connection was lost",
        "请查看对方或中间代理是否仍在运行",
        "see whether it, and any proxy before it, still runs",
    )
    NO_HANDSHAKE = ("在时限内未完成初始化", "it did not finish its handshake in time")
    TOO_MUCH_UNREAD = (
        "对方长时间不读取请求",
        "it does not read what it is sent",
        "请检查它是否卡住",
        "see whether it hangs",
    )
    BAD_DOCUMENT = ("文档无法使用", "its document cannot be used")
    BAD_ENTRY = ("mcp_servers.json 中的条目有误", "its entry in mcp_servers.json is not right")
    BAD_MODULE = ("Python 文件无法载入", "its Python file cannot be loaded")
    STOPPED = ("已停止", "it was stopped")
    INTERNAL = ("内部错误", "an internal error of the broker")


class Stopped(Exception):
    """A source could not be opened, or ended by itself.

    `detail` has no secrets. A text, such as a peer's own words, is the same in both languages; `str()` has the English.
    """

    def __init__(self, why: StopReason, detail: Bilingual | str = "", todo: Bilingual | None = None) -> None:
        self.why = why
        self.cause = detail if isinstance(detail, Bilingual) else Bilingual(detail, detail)
        """The detail for its owner; "" where there is none."""
        self.detail = self.cause.en
        """The detail for the log."""
        self.todo = todo or Bilingual(why.do_zh, why.do_en)
        """What its owner can do; "" where nothing is known."""
        super().__init__(f"{why.en}: {self.detail}" if self.detail else why.en)

    def sentences(self, longest: int = 200, then: Bilingual = NOTHING) -> Bilingual:
        """What happened, `then` and what to do, to stand inside a sentence."""
        why, todo = self.why, self.todo
        cause = Bilingual(quote_peer(self.cause.zh, longest), quote_peer(self.cause.en, longest))
        return Bilingual(
            why.zh + (f"（{cause.zh}）" if cause.zh else "") + then.zh + (f"；{todo.zh}" if todo.zh else ""),
            why.en + (f" ({cause.en})" if cause.en else "") + then.en + (f"; {todo.en}" if todo.en else ""),
        )


OnFrame = Callable[[bytes], float | None]
"""Takes a frame of a server; the seconds of work that it was, where the server itself has to pay for them."""


class Source(Protocol):
    """One run of a tool server. It is opened once, and closed once whatever happened before."""

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Start it. `take` gets every frame that comes from it; `stopped` is called once if it ends by itself.

        Neither is called before this returns. Raises Stopped where it cannot be started.
        """

    def send(self, frame: bytes) -> None:
        """Hand it one frame. Never blocks and never raises: what it cannot take any more ends it with a reason."""

    async def close(self) -> None:
        """End it and all it started, within 10 s. Nothing is called afterwards."""

    @property
    def said(self) -> Sequence[str]:
        """The last lines that it wrote for its owner (stderr); 50 at most, escaped, each cut."""
