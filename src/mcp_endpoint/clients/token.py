"""The command `token`: makes the token of an agent, or says what one is."""

from mcp_endpoint.clients.exit_codes import FAILED
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.clients.urls import base_url
from mcp_endpoint.language import Bilingual
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tokens import TokenError, Tokens, urls


def make(settings: Settings, agent: str | None, terminal: Terminal) -> int:
    """`token --agent NAME`: print the token and both URLs; without a name, that of a single-module server."""
    tokens = Tokens(settings.server.key)
    token = tokens.mint(agent)
    tool_url, device_url = urls(base_url(settings), token)
    called = f"{agent or 'single_module'}  ({tokens.read(token)})"
    terminal.say(
        Bilingual(
            f"智能体  {called}\ntoken   {token}\n工具端  {tool_url}\n设备端  {device_url}",
            f"agent   {called}\ntoken   {token}\ntools   {tool_url}\ndevice  {device_url}",
        )
    )
    return 0


def check(settings: Settings, text: str, terminal: Terminal) -> int:
    """`token --check TOKEN`: whose it is; `text` may be the whole URL that it is in."""
    try:
        agent = Tokens(settings.server.key).find(text)
    except TokenError:
        terminal.say(
            Bilingual(
                "这不是本服务的 token：无法用当前密钥解密，可能来自另一个密钥，或没有复制完整。",
                "This is not a token of this broker: it does not decrypt with this key. Was it made with another key, "
                "or not copied whole?",
            )
        )
        return FAILED
    terminal.say(Bilingual(f"有效的 token，智能体 {agent}。", f"A valid token of agent {agent}."))
    return 0
