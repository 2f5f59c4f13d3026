"""`doctor` as a test runs it: on settings in a file, and what it found."""

import asyncio
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_endpoint.clients.doctor import command as doctor
from mcp_endpoint.clients.doctor.command import Question
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.settings.schema import Settings
from support.peers import KEY, Broker


@dataclass
class Report:
    """What doctor said: its exit code, and the findings by check."""

    code: int
    checks: list[dict[str, str]]

    def of(self, check: str) -> list[tuple[str, str]]:
        return [(one["status"], one["en"]) for one in self.checks if one["check"] == check]

    def one(self, check: str) -> tuple[str, str]:
        [found] = self.of(check)
        return found

    @property
    def statuses(self) -> set[str]:
        return {one["status"] for one in self.checks}


async def examine(config: Path, base: str | None = None, environ: dict[str, str] | None = None, **asked: Any) -> Report:
    out = io.StringIO()

    def base_of(settings: Settings) -> str:
        return base or settings.server.public_url or f"http://127.0.0.1:{settings.server.port}"

    question = Question(config, config.parent, as_json=True, **asked)
    code = await asyncio.to_thread(doctor.run, question, environ or {}, base_of, Terminal("en", out, out))
    body = json.loads(out.getvalue())
    assert body["exit_code"] == code
    for one in body["checks"]:
        assert set(one) == {"check", "status", "zh", "en"}
        assert KEY not in one["zh"] + one["en"]
    return Report(code, body["checks"])


async def of_broker(broker: Broker, **asked: Any) -> Report:
    """What it says of a broker that listens on a port which the system chose."""
    environ = {"MCP_ENDPOINT_SERVER__PORT": str(broker.port)} | asked.pop("environ", {})
    return await examine(broker.config, environ=environ, **asked)


def settings_file(folder: Path, port: int, **server: object) -> Path:
    path = folder / "x.cfg"
    values = {"host": "127.0.0.1", "port": port, "key": KEY} | server
    lines = [f"{key} = {value}\n" for key, value in values.items()]
    path.write_text("".join(["[server]\n", *lines, "[logging]\nlog_file =\n"]))
    path.chmod(0o600)
    return path
