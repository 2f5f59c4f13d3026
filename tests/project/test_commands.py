"""The commands as a person types them: what `run`, `urls`, `token` and `check-config` print."""

import contextlib
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_endpoint import app, cli
from mcp_endpoint.tokens import Tokens, agent_id, urls
from support.languages import LABELS
from support.paths import ROOT
from support.peers import KEY

BASE = "http://127.0.0.1:8004"
CONSOLE, SINGLE = LABELS
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
CLEAN |= {"MCP_ENDPOINT_LANG": "en"}
ASCII = CLEAN | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
ASCII |= {"MCP_ENDPOINT_LANG": "zh"}


def settings(folder: Path, *server: str) -> Path:
    path = folder / "x.cfg"
    path.write_text("\n".join(["[server]", *server, "[logging]", "log_file =", ""]), "utf-8")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return settings(tmp_path, f"key = {KEY}", "host = 127.0.0.1")


def command(config: Path, *words: str | bytes, env: dict[str, str] = CLEAN) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "main.py", "--config", str(config), *words]
    return subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


def started(config: Path, *, terminal: bool = False, env: dict[str, str] = CLEAN) -> list[str]:
    """All lines of a broker that is stopped as soon as it listens."""
    ours, its = pytest.importorskip("pty").openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "main.py", "--config", str(config)],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=subprocess.STDOUT,
    )
    os.close(its)
    text, asked = b"", False
    with contextlib.suppress(OSError):  # the end of a terminal; that of a pipe is b""
        while more := os.read(ours, 65536):
            text += more
            if b" listens on " in text and not asked:
                process.terminate()
                asked = True
    os.close(ours)
    assert process.wait(20) == 0, text
    return text.decode().splitlines()


def addresses(lines: list[str]) -> list[str]:
    return [line.partition(": ")[0] + ": " for line in lines if line.startswith((CONSOLE, SINGLE))]


# --- the addresses ---


def test_without_a_terminal_only_the_start_that_makes_the_key_prints_the_addresses(tmp_path: Path) -> None:
    path = settings(tmp_path, "host = 127.0.0.1", "port = 0")
    first, second = started(path), started(path)
    assert addresses(first) == [CONSOLE, SINGLE]
    assert addresses(second) == []
    key = path.read_text("utf-8").partition("key = ")[2].split()[0]
    assert any(line.endswith(f"/mcp_endpoint/health?key={key}") for line in first)


def test_a_terminal_gets_the_addresses_at_every_start(config: Path) -> None:
    env = CLEAN | {"MCP_ENDPOINT_SERVER__PORT": "0"}
    for _ in range(2):
        lines = started(config, terminal=True, env=env)
        assert addresses(lines) == [CONSOLE, SINGLE]


def test_the_addresses_are_printed_again(config: Path) -> None:
    told = command(config, "urls")
    assert (told.returncode, told.stderr) == (0, "")
    tool_url, _ = urls(BASE, Tokens(KEY).mint(None))
    assert [line for line in told.stdout.splitlines() if not line.startswith("===")] == [
        f"{CONSOLE}{BASE}/mcp_endpoint/health?key={KEY}",
        f"{SINGLE}{tool_url}",
    ]


def test_the_addresses_are_one_write(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's thread writes to the same terminal, and must find no gap to write into."""

    pieces: list[str] = []

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Terminal())
    assert cli.main(["--config", str(config), "urls"]) == 0
    (whole,) = filter(None, pieces)
    assert whole.endswith("\n")


def test_addresses_that_cannot_be_printed_end_in_a_line_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    log = tmp_path / "x.log"
    path = tmp_path / "x.cfg"
    path.write_text(f"[server]\nhost = 127.0.0.1\nport = 0\n[logging]\nlog_file = {log}\n", "utf-8")
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(app, "run", lambda settings, listener, ready, *_: ready(listener.getsockname()[1]))
    assert cli.main(["--config", str(path)]) == 0
    assert "the addresses could not be printed ([Errno 28] No space left on device): " in log.read_text("utf-8")


# --- tokens ---


def test_a_token_is_minted_with_both_urls(config: Path) -> None:
    told = command(config, "token", "--agent", "test001")
    token = "ksjXt49J8vgGbs8dXSkCcLG9i+s0PG777c8QRqjsF+eM+xgUJN5bAD9Ma7RteRt0"
    assert (told.returncode, told.stderr) == (0, "")
    assert f"test001  ({agent_id('test001')})" in told.stdout
    assert [line.split()[-1] for line in told.stdout.splitlines()[1:]] == [token, *urls(BASE, token)]


def test_without_a_name_it_is_the_single_module_one(config: Path) -> None:
    assert "xTr7w9G0EcAbf8IorLoBiE5b9K+CwZtl2DlcrI/9XpY=" in command(config, "token").stdout


@pytest.mark.parametrize("name", ["", "  ", b"\xff"])
def test_a_name_that_is_none_is_told_in_one_sentence(config: Path, name: str | bytes) -> None:
    for words in (("token", "--agent"), ("doctor", "--agent")):
        told = command(config, *words, name)
        assert (told.returncode, told.stdout) == (2, "")
        assert "argument --agent: " in told.stderr.splitlines()[-1]
        assert "Traceback" not in told.stderr


@pytest.mark.parametrize("pasted", ["{token}", "{quoted}", "  {token}\n", "{tool_url}", "'{device_url}&server_id=x'"])
def test_what_a_token_is_is_said_of_whatever_was_pasted(config: Path, pasted: str) -> None:
    token = Tokens(KEY).mint("test001")
    tool_url, device_url = urls(BASE, token)
    quoted = tool_url.partition("token=")[2]
    text = pasted.format(token=token, quoted=quoted, tool_url=tool_url, device_url=device_url)
    told = command(config, "token", "--check", text)
    assert (told.returncode, told.stderr) == (0, "")
    assert f"A valid token of agent {agent_id('test001')}." in told.stdout


@pytest.mark.parametrize(
    "pasted", ["", "x", Tokens("another key").mint("test001"), "ws://h/mcp/?token=x", "ws://h/mcp/"]
)
def test_what_is_no_token_of_this_broker_is_said(config: Path, pasted: str) -> None:
    told = command(config, "token", "--check", pasted)
    assert (told.returncode, told.stderr) == (1, "")
    assert told.stdout.startswith("This is not a token of this broker")


# --- check-config ---


@pytest.mark.parametrize("key", [(), (f"key = {KEY}",)], ids=["first start", "later"])
@pytest.mark.parametrize(
    ("line", "allowed"), [("port = 99999", "a whole number from 0 to 65535"), ("host =", "an addr")]
)
@pytest.mark.parametrize("words", [(), ("check-config",)], ids=["start", "check-config"])
def test_a_bad_value_is_one_line_with_its_place(
    tmp_path: Path, key: tuple[str, ...], line: str, allowed: str, words: tuple[str, ...]
) -> None:
    path = settings(tmp_path, *key, line)
    name, _, value = line.partition(" =")
    told = command(path, *words)
    assert (told.returncode, told.stdout) == (2, "")
    place = f"{path}: line {2 + len(key)}: [server] {name} = '{value.strip()}': allowed: {allowed}"
    assert told.stderr.startswith(place), "the number is that of the line as it stands in the file"
    assert len(told.stderr.splitlines()) == 1


def test_good_settings_are_said_to_be_and_a_slip_is_named(config: Path, tmp_path: Path) -> None:
    told = command(config, "check-config")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{config}: good.\n", "")
    slip = settings(tmp_path, f"key = {KEY}", "prot = 1")
    told = command(slip, "check-config")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"{slip}: line 3: [server] prot: unknown, ignored; did you mean port?")


@pytest.mark.parametrize("server", [(), ("key =",)])
def test_a_key_that_the_start_will_make_is_no_fault_and_not_made_yet(tmp_path: Path, server: tuple[str, ...]) -> None:
    path = settings(tmp_path, *server)
    before = path.read_bytes()
    told = command(path, "check-config")
    assert (told.returncode, told.stderr) == (0, "")
    assert "good" in told.stdout
    assert path.read_bytes() == before


# --- terminals without Chinese ---


@pytest.mark.parametrize("words", [("urls",), ("token", "--agent", "小明"), ("check-config",), ("--help",)])
def test_an_output_without_chinese_is_no_traceback(config: Path, words: tuple[str, ...]) -> None:
    told = command(config, *words, env=ASCII)
    assert (told.returncode, told.stderr) == (0, "")
    if words[0] == "token":
        assert agent_id("小明") in told.stdout


def test_nor_is_it_at_the_first_start(tmp_path: Path) -> None:
    lines = started(settings(tmp_path, "host = 127.0.0.1", "port = 0"), env=ASCII)
    assert sum("/mcp_endpoint/" in line for line in lines) == 2
    assert not any("ERROR" in line or "Traceback" in line for line in lines)
