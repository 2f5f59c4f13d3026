"""The README's commands, typed as they stand there, in a folder that looks as after `make run`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.documents import README, blocks, page_text
from support.paths import ROOT

BLOCKS = blocks(page_text(README["en"]), "bash")  # the Chinese one has the same: test_twins.py
PATIENCE = 60

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the README's commands are for bash")


@pytest.mark.parametrize("page", README.values(), ids=lambda page: page.name)
def test_it_is_two_screens(page: Path) -> None:
    assert len(page_text(page).splitlines()) <= 130


def block(*words: str) -> str:
    (found,) = [one for one in BLOCKS if all(word in one for word in words)]
    return found


class Folder:
    """A copy of the project by links, with its own data and logs, and a port that the system chose."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("main.py", "src", "examples", "mcp-endpoint-server.cfg"):
            (path / name).symlink_to(ROOT / name)
        (path / ".venv").symlink_to(sys.prefix)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
        self.listens_on(0)

    def listens_on(self, port: int) -> None:
        self.environ |= {"MCP_ENDPOINT_SERVER__PORT": str(port), "MCP_ENDPOINT_SERVER__HOST": "127.0.0.1"}

    def start(self, script: str) -> subprocess.Popen[str]:
        command = ["bash", "-ec", script]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.path, env=self.environ, stdout=pipe, stderr=pipe, text=True)

    def run(self, script: str) -> tuple[int, str, str]:
        process = self.start(script)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """The folder, with the broker running."""
    made = Folder(tmp_path)
    broker = made.start("exec .venv/bin/python main.py 2>&1")
    assert broker.stdout is not None
    try:
        lines = []
        for line in broker.stdout:
            lines.append(line)
            if found := re.search(r"listens on 127\.0\.0\.1:(\d+)", line):
                made.listens_on(int(found[1]))
                break
        else:
            raise AssertionError("".join(lines))
        yield made
    finally:
        broker.terminate()
        broker.communicate(timeout=PATIENCE)


def test_the_first_call(folder: Folder) -> None:
    bridge = folder.start(re.sub(r"^(\S+ main\.py pipe)", r"exec \1", block("main.py pipe"), flags=re.MULTILINE))
    try:
        code, out, err = folder.run(block("main.py call"))  # whoever asks first waits for the calculator to start
    finally:
        bridge.terminate()
        bridge.communicate(timeout=PATIENCE)
    assert code == 0, err
    assert "calculator" in out
    assert out.splitlines()[-1] == "16900000000"


def test_the_servers_that_the_broker_opens_are_added_and_shown(folder: Folder) -> None:
    _, out, err = folder.run(block("main.py servers add"))
    assert not err
    shown = [line.split()[0] for line in out.splitlines()[-4:]]
    assert shown == ["files", "weather", "pets", "units"], out
