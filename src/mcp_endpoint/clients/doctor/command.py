"""`doctor`: what is wrong with this broker, its settings and its addresses, in plain words.

It only looks: nothing is written, and the one call it makes belongs to an agent of its own.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mcp_endpoint.clients.doctor import broker_checks, host_checks, stats_checks
from mcp_endpoint.clients.doctor.findings import Finding, Status, good, problem, show, show_json, warning
from mcp_endpoint.clients.exit_codes import FAILED, USAGE
from mcp_endpoint.clients.running_broker import local_base, local_tls
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.logs.redaction import Redactor, quote_peer
from mcp_endpoint.providers.entries.servers_file import SERVERS
from mcp_endpoint.providers.transports.child_environ import secrets_of_environment
from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import load
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tokens import TokenError, Tokens, agent_id


@dataclass(frozen=True)
class Question:
    """What is asked. `home` has data/ and logs/; `token` may be the whole URL it is in; `agent` is a name or an id."""

    path: Path
    home: Path
    token: str | None = None
    agent: str | None = None
    as_json: bool = False


def run(question: Question, environ: Mapping[str, str], base_of: Callable[[Settings], str], terminal: Terminal) -> int:
    """`doctor` as a command: 0 all well (there may be warnings), 1 a problem, 2 the settings cannot be used.

    `base_of` gives the URL that the printed addresses begin with.
    """
    findings: list[Finding] = []
    redact, code = Redactor(), 0
    try:
        settings = _settings(question.path, environ, findings)
        if settings is None:
            code = USAGE
        else:
            redact = Redactor([settings.server.key, *secrets_of_environment(environ)])
            _local(question, settings, environ, base_of(settings), findings)
            asyncio.run(_running(question, settings, base_of(settings), findings))
    except Exception as error:  # noqa: BLE001  the command ends here, and whoever needs a doctor wants no traceback
        text = quote_peer(redact(f"{type(error).__name__}: {error}"))
        findings.append(problem("doctor", f"检查中断：{text}", f"The checks broke off: {text}"))
    if code == 0 and any(finding.status is Status.PROBLEM for finding in findings):
        code = FAILED
    if question.as_json:
        show_json(findings, code, terminal, redact)
    else:
        show(findings, terminal, redact)
    return code


def _settings(path: Path, environ: Mapping[str, str], findings: list[Finding]) -> Settings | None:
    try:
        loaded = load(path, environ)
    except SettingsError as error:
        findings.append(problem("settings", *error.told))
        return None
    findings.append(good("settings", f"配置正确：{path}", f"The settings are good: {path}"))
    findings.extend(warning("settings", *line) for line in loaded.warnings)
    return loaded.settings


def _local(
    question: Question, settings: Settings, environ: Mapping[str, str], base: str, findings: list[Finding]
) -> None:
    log_file = settings.logging.log_file
    findings.append(host_checks.key_file(question.path, environ))
    findings.extend(host_checks.folders(question.path, question.home / log_file if log_file else None))
    findings.extend(host_checks.descriptors(settings))
    findings.extend(host_checks.tls_files(settings, question.home))
    findings.extend(host_checks.addresses(settings, base))


async def _running(question: Question, settings: Settings, base: str, findings: list[Finding]) -> None:
    """Everything that needs the broker, or shows that it is not there."""
    tokens = Tokens(settings.server.key)
    wanted, called = _asked(question, tokens, findings)
    local, tls = local_base(settings), local_tls(settings)
    seen = await broker_checks.look(settings, local, tls, wanted)
    findings.extend(seen.findings)
    if not seen.running:
        unable = host_checks.can_listen(settings) if settings.server.port else None
        if unable is not None:
            findings.append(unable)
    if settings.server.public_url or seen.running:
        reached = await broker_checks.reach(settings, base, running=seen.running, tls=None)
        findings.extend(reached)
    else:
        reached = []
    if seen.stats is None:
        findings.extend(host_checks.servers_file(question.path.parent / SERVERS))
        return
    if wanted or not (question.token or question.agent):
        findings.extend(stats_checks.agents(seen.stats, wanted, called))
        if not settings.mcp.ascii_names:
            findings.extend(stats_checks.refused_names(seen.stats, wanted))
    if not (question.token or question.agent):
        findings.extend(stats_checks.servers(seen.stats))
    findings.append(await broker_checks.call_through(local, tokens, tls))
    if settings.server.public_url and reached[-1].status is Status.OK:
        # A proxy that serves health may still not pass WebSockets on.
        findings.append(await broker_checks.call_through(base, tokens, None))


def _asked(question: Question, tokens: Tokens, findings: list[Finding]) -> tuple[tuple[str, ...], str]:
    """The ids of the agent asked for, and how to call it."""
    if question.agent is not None:
        id_ = agent_id(question.agent)
        return (question.agent, id_), f"{quote_peer(question.agent, 80)} ({id_})"
    if question.token is None:
        return (), ""
    try:
        id_ = tokens.find(question.token)
    except TokenError:
        findings.append(
            problem(
                "token",
                "token 无法用当前密钥解密：可能来自另一个密钥，或没有复制完整；请重新复制地址。",
                "The token does not decrypt with this key: is it from another key, or not copied whole? Copy the URL "
                "again.",
            )
        )
        return (), ""
    findings.append(good("token", f"token 有效，智能体 {id_}。", f"The token is valid, of agent {id_}."))
    return (id_,), id_
