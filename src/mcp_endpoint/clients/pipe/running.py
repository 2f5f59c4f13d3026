"""What all bridges have in common: the URL that they begin with, the end by a signal."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

from mcp_endpoint.clients.endpoint import NO_URL, URL_VARIABLE, Endpoint, UnusableURL, endpoint
from mcp_endpoint.clients.pipe.report import Report

GOING_AWAY = 1001
"""The close code of a bridge that ends (RFC 6455, 7.4.1)."""


def tool_endpoint(url: str | None, environ: Mapping[str, str], report: Report) -> Endpoint | None:
    """The endpoint of a tool side at `url` (None: `$MCP_ENDPOINT`); None if it is unusable, which is reported."""
    url = url or environ.get(URL_VARIABLE)
    if not url:
        report.error(NO_URL)
        return None
    try:
        where = endpoint(url, "mcp")
    except UnusableURL as error:
        report.error(error.told)
        return None
    for note in where.notes:
        report.info(note)
    return where


def run_until_signal(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`, which Ctrl-C, SIGTERM and a closed terminal cancel, so that it ends in good order.

    Returns its exit code: 130 after Ctrl-C, 143 after SIGTERM, as shells expect it.
    """
    try:
        return asyncio.run(_until_signal(work))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.create_task(work)
    got: list[int] = []

    def stop(number: int) -> None:
        # Only the first one cancels: the end it starts is bounded, and must not be cut short.
        if not got:
            task.cancel()
        got.append(number)

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if got:
            return 128 + got[0]
        raise
