"""`servers` as a person types it."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from support.paths import ROOT
from support.peers import Broker
from support.sockets import PATIENCE


async def command(folder: Path, *words: str, broker: Broker | None = None) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of `servers …` with the files in `folder`, on the port of a running broker."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    environ["MCP_ENDPOINT_LANG"] = "en"
    if broker is not None:
        environ["MCP_ENDPOINT_SERVER__PORT"] = str(broker.port)
    line = [str(ROOT / "main.py"), "--config", str(folder / "x.cfg"), "servers", *words]
    process = await asyncio.create_subprocess_exec(sys.executable, *line, env=environ, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert b"Traceback" not in err
    return process.returncode, out.decode(), err.decode()
