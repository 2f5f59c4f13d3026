"""What a run is told on its command line."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
    """How long and how much; the defaults make a run of all parts of less than five minutes."""

    rounds: int
    seconds: float
    """Of each measurement under load."""
    agents: int
    window: int
    """Calls of each agent in flight."""
    size: int
    """Bytes of padding in arguments and results."""
    idle: int
    """Links that do nothing."""
    peers: tuple[str, ...]

    def run(self, measuring: Coroutine[Any, Any, Result]) -> Result:
        """Run to the end on a loop of its own, as fast a one as there is."""
        from mcp_endpoint.app import loop_factory

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(measuring)
