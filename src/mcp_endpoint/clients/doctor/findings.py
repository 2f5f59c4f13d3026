"""What `doctor` found: one sentence per check, for people in their language or as JSON in both."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import Redactor


class Status(Enum):
    """How bad it is, the worst one last."""

    OK = Bilingual("正常", "ok")
    WARNING = Bilingual("警告", "warning")
    PROBLEM = Bilingual("问题", "problem")


@dataclass(frozen=True)
class Finding:
    """One check's outcome. `check` is a stable name for programs."""

    check: str
    status: Status
    zh: str
    en: str


def good(check: str, zh: str, en: str) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, zh, en)


def warning(check: str, zh: str, en: str) -> Finding:
    """It works, or may work, but somebody should look at it."""
    return Finding(check, Status.WARNING, zh, en)


def problem(check: str, zh: str, en: str) -> Finding:
    """It does not work."""
    return Finding(check, Status.PROBLEM, zh, en)


def show(findings: Sequence[Finding], terminal: Terminal, redact: Redactor) -> None:
    """A line per finding, then a summary."""
    for one in findings:
        status = one.status.value
        terminal.say(Bilingual(redact(f"[{status.zh}] {one.zh}"), redact(f"[{status.en}] {one.en}")))
    problems, warnings = _count(findings, Status.PROBLEM), _count(findings, Status.WARNING)
    terminal.say(
        Bilingual(
            f"共 {len(findings)} 项检查：{problems} 个问题，{warnings} 个警告。",
            f"{_number(len(findings), 'check')}: {_number(problems, 'problem')}, {_number(warnings, 'warning')}.",
        )
    )


def show_json(findings: Sequence[Finding], exit_code: int, terminal: Terminal, redact: Redactor) -> None:
    """One JSON object: `exit_code`, `problems`, `warnings`, and per check its name, status and both sentences."""
    checks = [
        {"check": one.check, "status": one.status.name.lower(), "zh": redact(one.zh), "en": redact(one.en)}
        for one in findings
    ]
    body = {
        "exit_code": exit_code,
        "problems": _count(findings, Status.PROBLEM),
        "warnings": _count(findings, Status.WARNING),
        "checks": checks,
    }
    # ASCII: a console or a pipe on Windows may have any encoding.
    terminal.say(json.dumps(body, indent=2))


def _count(findings: Sequence[Finding], status: Status) -> int:
    return sum(finding.status is status for finding in findings)


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
