"""What `doctor` found: one sentence per check in Chinese and English, for people or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TextIO

from mcp_endpoint.clients.device import say
from mcp_endpoint.logs.redaction import Redactor


class Status(Enum):
    """How bad it is, the worst one last."""

    OK = "正常 ok"
    WARNING = "警告 warning"
    PROBLEM = "问题 problem"


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


def show(findings: Sequence[Finding], out: TextIO, redact: Redactor) -> None:
    """A line per finding, then a summary."""
    for finding in findings:
        text = finding.zh if finding.zh == finding.en else f"{finding.zh} / {finding.en}"
        say(out, redact(f"[{finding.status.value}] {text}"))
    problems, warnings = _count(findings, Status.PROBLEM), _count(findings, Status.WARNING)
    zh = f"共 {len(findings)} 项检查：{problems} 个问题，{warnings} 个警告。"
    en = f"{len(findings)} checks: {_number(problems, 'problem')}, {_number(warnings, 'warning')}."
    say(out, f"{zh} / {en}")


def show_json(findings: Sequence[Finding], exit_code: int, out: TextIO, redact: Redactor) -> None:
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
    print(json.dumps(body, indent=2), file=out)


def _count(findings: Sequence[Finding], status: Status) -> int:
    return sum(finding.status is status for finding in findings)


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
