"""`[logging] json`: every line of console and file is one object, with the facts of its event and no secret in it."""

import io
import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from loguru import logger

from mcp_endpoint.logs.setup import Logs
from support.brokers import Brokers
from support.peers import KEY, dialled, said

BAD = "xTr7w9G0EcAbf8IorLoBiE5b9K+CwZtl2DlcrI/9XpX="


def lines_of(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert list(line)[:3] == ["time", "level", "message"]
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None, "a time that needs no guessing"
    return lines


def logged(folder: Path, level: str = "INFO", debug: bool = False) -> tuple[Logs, io.StringIO]:
    console = io.StringIO()
    logs = Logs(
        level=level,
        debug=debug,
        log_file=folder / "x.log",
        max_file_size=0,
        backup_count=0,
        secrets=[KEY],
        json=True,
        console=console,
    )
    logs.start()
    return logs, console


def fail(text: str) -> None:
    raise ValueError(text)


def test_facts_are_members_numbers_stay_numbers_and_nothing_secret_is_in_them(tmp_path: Path) -> None:
    logs, console = logged(tmp_path)
    facts = {"agent": "a", "code": 1006, "seconds": 1.5, "ok": True, "alias": None, "level": "forged", "other": [KEY]}
    logger.bind(**facts, peer=f"x\n\x1b[31m token={quote(BAD)} {KEY}").info("hello {}\n", "x")
    logging.getLogger("somebody").warning("key=%s", KEY)
    logs.stop()
    assert console.getvalue() == (tmp_path / "x.log").read_text("utf-8")
    first, second = lines_of(console.getvalue())
    assert {name: value for name, value in first.items() if name != "time"} == {
        "level": "INFO",
        "message": "hello x",
        "agent": "a",
        "code": 1006,
        "seconds": 1.5,
        "ok": True,
        "other": "['***']",
        "peer": "x\\n\\x1b[31m token=*** ***",
    }
    assert second["message"] == "somebody: key=***"
    assert datetime.now().astimezone() - datetime.fromisoformat(first["time"]) < timedelta(seconds=30)


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_is_one_member(tmp_path: Path, debug: bool) -> None:
    logs, console = logged(tmp_path, debug=debug)
    for level in ("WARNING", "ERROR"):
        try:
            fail(f"line one\nline two {KEY}")
        except ValueError as error:
            logger.opt(exception=error).log(level, "it failed")
    logs.stop()
    warning, error_ = lines_of(console.getvalue())
    assert ("exception" in warning) is debug
    assert error_["message"] == "it failed"
    assert "Traceback (most recent call last):\n" in error_["exception"]
    assert "in fail\n" in error_["exception"]
    assert "ValueError: line one\n" in error_["exception"]
    assert KEY not in console.getvalue()


async def test_the_brokers_lines_have_the_facts_of_their_links(new_broker: Brokers, tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    broker = new_broker(json="true", log_file=file, log_level="TRACE", debug="true")
    agent = broker.agent()
    async with agent.tool_side("t", server='na"me\n{"level":"forged"}') as program, agent.device("tester") as device:
        assert said(await device.call("t"))
        await program.send("a print")
        await program.settled()
    async with dialled(broker.url(f"/mcp/?token={quote(BAD)}")) as refused:
        await refused.wait_closed()
    await broker.get(f"/health?key={KEY}")
    await broker.logged('"event":"end"', count=2)
    broker.stop()
    assert [json.loads(line) for line in broker.lines] == lines_of(file.read_text("utf-8"))
    text = "\n".join(broker.lines)
    for secret in (KEY, agent.token, BAD, quote(BAD)):
        assert secret not in text
    events: dict[str, list[dict[str, Any]]] = {}
    for line in lines_of(text):
        events.setdefault(line.get("event", ""), []).append(line)
    (start,) = events["start"]
    assert (start["host"], start["port"], start["tls"]) == (broker.host, broker.port, False)
    assert {(one["role"], one["agent"]) for one in events["open"]} == {("tool", agent.id), ("device", agent.id)}
    ends = {one["role"]: one for one in events["end"]}
    assert (ends["tool"]["reason"], ends["tool"]["code"]) == ("peer_closed", 1000)
    assert ends["device"]["alias"] == "tester"
    assert ends["device"]["peer"].startswith("127.0.0.1:")
    assert 0 <= ends["device"]["seconds"] < 30
    assert [one["reason"] for one in events["note"] if one["role"] == "tool"] == ["prints_to_stdout"]
    assert ("serving", agent.id) in {(one["reason"], one["agent"]) for one in events["state"]}
    (no,) = events["refused"]
    assert (no["level"], no["reason"], no["count"]) == ("WARNING", "bad_token", 1)
