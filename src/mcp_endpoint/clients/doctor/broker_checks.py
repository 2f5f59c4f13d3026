"""What `doctor` learns by connecting: who has the port, whose key it is, whether calls go through."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from mcp_endpoint import __version__
from mcp_endpoint.clients import running_broker
from mcp_endpoint.clients.doctor.findings import Finding, good, problem, warning
from mcp_endpoint.clients.doctor.self_test import SelfTestFailed, self_test
from mcp_endpoint.clients.endpoint import DIAL_ERRORS, cause, endpoint, was_refused
from mcp_endpoint.clients.http_get import PATIENCE, Answer, Json, fetch
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tokens import Tokens

SKEW = 60.0


@dataclass(frozen=True)
class Seen:
    """What is there: the findings, whether it is a broker, and its `/stats` if the key is right."""

    findings: tuple[Finding, ...]
    running: bool = False
    stats: Json | None = None


async def look(settings: Settings, base: str, tls: ssl.SSLContext | None, wanted: Sequence[str] = ()) -> Seen:
    """Who has the port of these settings, and whether their key is the one in use; `/stats` tells of `wanted` too."""
    shown = base.partition("://")[2]
    if settings.server.port == 0:
        zh = "port = 0：端口由系统选择，无法找到运行中的服务；请设置固定端口。"
        return Seen((warning("port", zh, "port = 0: the system chooses it, so no broker can be looked for; set one."),))
    try:
        answer = await fetch(base, "/health", tls)
    except DIAL_ERRORS as error:
        if was_refused(error):
            zh, en = "服务没有运行，请启动它", "the broker is not running; start it"
            return Seen((problem("port", f"{shown} 无人监听：{zh}。", f"Nobody listens on {shown}: {en}."),))
        why_zh, why_en = why(error, base)
        zh = f"{shown} 没有正常应答：{why_zh} 可能是其他程序占用了端口。"
        en = f"{shown} does not answer as a broker: {why_en} Does another program use it?"
        return Seen((problem("port", zh, en),))
    body = answer.json()
    if body.get("status") not in ("healthy", "draining") or "version" not in body:
        zh = f"{shown} 被其他程序占用（不是 mcp-endpoint，也许是原来的 mcp-endpoint-server）；请停掉它或换一个端口。"
        en = f"Another program uses {shown} (the original mcp-endpoint-server?): stop it, or choose another port."
        return Seen((problem("port", zh, en),))
    found = [_running(shown, body), *_clock(answer)]
    told = await running_broker.stats(settings, base, tls, wanted)
    if told is None:
        found.append(
            problem(
                "key-in-use",
                "运行中的服务使用另一个密钥：修改配置后请重启它，或用 --config 指定它的配置文件。",
                "The running broker uses another key than these settings: restart it after a change, or name its "
                "settings file with --config.",
            )
        )
        return Seen(tuple(found), running=True)
    found.append(good("key-in-use", "运行中的服务使用的正是这个密钥。", "The running broker uses this key."))
    return Seen(tuple(found), running=True, stats=told)


def _running(shown: str, body: Json) -> Finding:
    version = quote_peer(str(body["version"]), 40)
    if body["status"] == "draining":
        return warning("port", f"{shown} 上的服务正在停止。", f"The broker on {shown} is stopping.")
    if version != __version__:
        zh = f"{shown} 上运行的是版本 {version}，而这里是 {__version__}，请重启服务。"
        return warning("port", zh, f"{shown} runs version {version}, but this is {__version__}; restart the broker.")
    counts = body.get("connections")
    total = counts.get("total_connections") if isinstance(counts, dict) else "?"
    return good(
        "port", f"服务正在 {shown} 运行，连接数 {total}。", f"The broker runs on {shown}; connections: {total}."
    )


def _clock(answer: Answer) -> list[Finding]:
    if answer.skew is None:
        return []
    # A Date has whole seconds.
    if abs(answer.skew) <= SKEW:
        return [good("clock", "时钟一致。", "Its clock and ours agree.")]
    seconds = f"{abs(answer.skew):.0f}"
    ahead = answer.skew > 0
    return [
        warning(
            "clock",
            f"服务的时钟比这里{'快' if ahead else '慢'} {seconds} 秒，请检查两边的时间同步。",
            f"The broker's clock is {seconds} s {'ahead of' if ahead else 'behind'} ours; check time synchronization.",
        )
    ]


def why(error: BaseException, base: str) -> Bilingual:
    """Why nothing came from `base`."""
    if type(error) is ValueError:
        return Bilingual("应答不是 HTTP。", "the answer is not HTTP.")
    if isinstance(error, TimeoutError):
        return Bilingual(f"{PATIENCE:g} 秒内没有应答。", f"no answer within {PATIENCE:g} s.")
    zh, en = cause(error, endpoint(base, "mcp"))
    return Bilingual(f"{zh}。", f"{en}.")


async def reach(settings: Settings, base: str, *, running: bool, tls: ssl.SSLContext | None) -> list[Finding]:
    """Whether the printed URLs, which begin with `base`, lead to this broker from here."""
    path = f"/mcp_endpoint/health?key={quote(settings.server.key, safe='')}"
    if urlsplit(base).path.rstrip("/").endswith("/mcp_endpoint"):
        path = path.removeprefix("/mcp_endpoint")
    try:
        answer = await fetch(base, path, tls)
    except DIAL_ERRORS as error:
        zh, en = why(error, base)
        if running and settings.server.public_url:
            # Many a router does not let its own public address in from inside.
            zh += " 如果其他机器可以访问，可忽略。"
            en += " If other machines do reach it, never mind."
            return [warning("urls", f"从本机访问不到 {base}：{zh}", f"{base} is not reached from here: {en}")]
        if isinstance(error, ssl.SSLCertVerificationError) and not settings.server.public_url:
            zh += " 请把 public_url 设为证书中的名称。"
            en += " Set public_url to the name in the certificate."
        return [problem("urls", f"从本机访问不到 {base}：{zh}", f"{base} is not reached from here: {en}")]
    found = []
    if settings.server.public_url and answer.skew is not None and abs(answer.skew) > SKEW:
        found = _clock(answer)
    body = answer.json()
    result, error_ = body.get("result"), body.get("error")
    if answer.status == 200 and isinstance(result, dict) and result.get("status") == "success":
        zh, en = f"打印的地址可以从本机访问：{base}", f"The printed URLs are reached from here: {base}"
        return [*found, good("urls", zh, en)]
    if isinstance(error_, dict) and error_.get("code") == -32004:
        zh = f"{base} 上的服务使用另一个密钥：地址指向了另一个服务，或者它需要重启。"
        en = f"The broker at {base} uses another key: the address leads to another one, or it needs a restart."
        return [*found, problem("urls", zh, en)]
    zh = f"{base} 返回 HTTP {answer.status}，不是本服务的应答；请检查 public_url 和反向代理的路径。"
    en = f"{base} answered HTTP {answer.status}, but not as this broker: check public_url and the proxy's path."
    return [*found, problem("urls", zh, en)]


async def call_through(base: str, tokens: Tokens, tls: ssl.SSLContext | None) -> Finding:
    """A self-test by way of `base`."""
    try:
        seconds = await self_test(base, tokens, tls)
    except SelfTestFailed as error:
        zh, en = error.told
        return problem("self-test", f"经 {base} 的自检调用失败：{zh}", f"The test call by {base} failed: {en}")
    time_ = f"{seconds * 1000:.1f} ms"
    return good("self-test", f"经 {base} 的自检调用成功：{time_}", f"The test call by {base} went through: {time_}")
