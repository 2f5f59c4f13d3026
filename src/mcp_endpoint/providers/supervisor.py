"""All servers that the broker opens itself: read from a file, started when needed, renewed when the file changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from loguru import logger

from mcp_endpoint.broker.why import PROVIDER
from mcp_endpoint.providers.pins import PinFile
from mcp_endpoint.providers.provider import Hub, Provider
from mcp_endpoint.providers.server_entry import Kind, Server
from mcp_endpoint.providers.servers_file import UnusableFile, read_servers, stamp_of
from mcp_endpoint.tokens import agent_ids

LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""
UNUSED = 600.0
"""Seconds after which an agent's own instance of a server ends, if the agent had no client meanwhile."""
MOST_INSTANCES = 200
"""Instances of servers that each agent has one of its own of."""

TOKENS = ".mcp_tokens"
"""The folder beside the settings in which the tokens of servers are kept that somebody has signed in to."""

Stamp = Callable[[float], str]


class Providers:
    """The servers of one broker. `sweep` is called often; it looks at the files from time to time."""

    def __init__(self, path: Path, hub: Hub, pins: PinFile, blocks: Callable[[], bool]) -> None:
        self._path = path
        self._hub = hub
        self._pins = pins
        self._blocks = blocks
        self._servers: dict[str, Server] = {}
        self._serves: dict[str, Callable[[str], bool]] = {}
        """By name, whether a server is for an agent: asked whenever a client comes."""
        self._running: dict[tuple[str, str], Provider] = {}
        """By name of the server and agent it is joined to."""
        self._last_used: dict[tuple[str, str], float] = {}
        self._ending: dict[asyncio.Task[None], Provider] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._signed: tuple[int, int, int] | None = None
        """When somebody last signed in to a server, as the folder of tokens tells."""
        self._next_look = 0.0
        self._ended = False
        hub.manager.wanted = self._wanted

    # --- the file ---

    def sweep(self, now: float) -> None:
        """Look whether the files changed, and end what nobody uses any more."""
        if now < self._next_look or self._ended:
            return
        self._next_look = now + LOOK_EVERY
        if stamp_of(self._path) != self._stamp:
            self.load()
        if self._pins.reload():
            for provider in self._running.values():
                provider.list_again()
        signed = stamp_of(self._hub.folder / TOKENS)
        if signed != self._signed:
            self._signed = signed
            for provider in self._running.values():
                provider.nudge()
        self._end_unused(now)

    def load(self) -> None:
        """Read the file and bring the servers in line with it; a bad one changes nothing and is told."""
        self._stamp = stamp_of(self._path)
        try:
            listed = read_servers(self._path) if self._stamp is not None else []
        except UnusableFile as error:
            logger.warning("the servers stay as they were: {}", error)
            return
        before, self._servers = self._servers, {server.name: server for server in listed if not server.disabled}
        changed = {name for name in before.keys() | self._servers.keys() if before.get(name) != self._servers.get(name)}
        if not changed:
            return
        logger.info("{}: changed servers: {}", self._path.name, ", ".join(sorted(changed)))
        self._serves = {name: _serves(server) for name, server in self._servers.items()}
        again = [key for key in self._running if key[0] in changed]
        for key in again:
            # What is given up ends with all it does; what only is another way now may finish its jobs.
            self._end(key, finish=key[0] in self._servers)
        for provider in self._ending.values():
            if provider.server.name not in self._servers:
                provider.hurry()
        now = self._hub.loop.time()
        self._hub.manager.provide(
            {PROVIDER + name: self._serves[name] for name, server in self._servers.items() if not server.per_agent}, now
        )
        for server in self._servers.values():
            if server.autostart and not server.per_agent:
                self._start(server, PROVIDER + server.name)
        for name, agent_id in again:
            server_now = self._servers.get(name)
            if server_now is not None and server_now.per_agent == (not agent_id.startswith(PROVIDER)):
                self._start(server_now, agent_id)
        for agent_id in self._hub.manager.agents_with_devices():
            self._wanted(agent_id)

    # --- what runs ---

    def _wanted(self, agent_id: str, provider: str | None = None) -> None:
        """A client came for an agent, or for one tool side of it: what serves it has to run."""
        for server in self._servers.values():
            if self._serves[server.name](agent_id) and provider in (None, server.shown):
                self._start(server, agent_id if server.per_agent else PROVIDER + server.name)

    def _start(self, server: Server, agent_id: str) -> None:
        key = server.name, agent_id
        self._last_used[key] = self._hub.loop.time()
        if key in self._running or self._ended:
            return
        if server.per_agent and sum(not agent.startswith(PROVIDER) for _, agent in self._running) >= MOST_INSTANCES:
            logger.warning("server {}: no more than {} instances; agent {} gets none", *key, MOST_INSTANCES)
            return
        third_party = server.kind is not Kind.PYTHON
        judge = self._pins.judge(server.name, self._blocks) if third_party else lambda tools: ()
        provider = self._running[key] = Provider(server, agent_id, self._hub, judge)
        provider.start()

    def _end(self, key: tuple[str, str], *, finish: bool = False) -> None:
        self._last_used.pop(key, None)
        provider = self._running.pop(key)
        task = self._hub.loop.create_task(provider.stop(finish=finish))
        self._ending[task] = provider
        task.add_done_callback(self._ending.pop)

    def _end_unused(self, now: float) -> None:
        used = set(self._hub.manager.agents_with_devices())
        for key in list(self._running):
            if key[1].startswith(PROVIDER):
                continue
            if key[1] in used or self._running[key].has_jobs:
                self._last_used[key] = now
            elif now - self._last_used[key] > UNUSED:
                self._end(key)

    async def stop(self) -> None:
        """End all of them."""
        self._ended = True
        for key in list(self._running):
            self._end(key)
        for provider in self._ending.values():
            provider.hurry()
        if self._ending:
            await asyncio.wait(self._ending)

    def report(self, stamp: Stamp) -> list[dict[str, object]]:
        """What `/stats` shows of each, those that do not run included."""
        reports = []
        for server in self._servers.values():
            running = [provider for (name, _), provider in self._running.items() if name == server.name]
            running += [one for one in self._ending.values() if one.finishing and one.server.name == server.name]
            idle: dict[str, object] = {"name": server.name, "kind": server.kind.value, "state": "idle"}
            for report in [provider.report(stamp) for provider in running] or [idle]:
                reports.append(report | {"changed": self._pins.changes(server.name)})
        return reports


def _serves(server: Server) -> Callable[[str], bool]:
    """Whether a server is for an agent; one that stands for a server itself has none."""
    ids = {id_ for name in server.agents if name != "*" for id_ in agent_ids(name)}
    everybody = "*" in server.agents
    return lambda agent_id: not agent_id.startswith(PROVIDER) and (everybody or agent_id in ids)
