"""All servers that the broker opens itself: read from a file, started when needed, renewed when the file changes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loguru import logger

from mcp_endpoint.broker.broker_state import PROVIDER
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.entry import Kind, Server
from mcp_endpoint.providers.entries.members import Remark
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers, stamp_of
from mcp_endpoint.providers.oauth.store import FOLDER as TOKENS
from mcp_endpoint.providers.pins import PinFile
from mcp_endpoint.providers.provider import Provider, ProviderContext, State
from mcp_endpoint.providers.source import StopReason
from mcp_endpoint.tokens import agent_ids

LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""
UNUSED = 600.0
"""Seconds after which an agent's own instance of a server ends, if the agent had no client meanwhile."""
MOST_INSTANCES = 200
"""Instances of servers that each agent has one of its own of."""

Stamp = Callable[[float], str]


class Providers:
    """The servers of one broker. `sweep` is called often; it looks at the files from time to time."""

    def __init__(self, path: Path, context: ProviderContext, pins: PinFile, blocks: Callable[[], bool]) -> None:
        self._path = path
        self._context = context
        self._pins = pins
        self._blocks = blocks
        self._blocking = blocks()
        self._servers: dict[str, Server] = {}
        self._serves: dict[str, Callable[[str], bool]] = {}
        """By name, whether a server is for an agent: asked whenever a client comes."""
        self._running: dict[tuple[str, str], Provider] = {}
        """By name of the server and agent it is joined to."""
        self._last_used: dict[tuple[str, str], float] = {}
        self._ending: dict[asyncio.Task[None], Provider] = {}
        self._faults: dict[str, Server] = {}
        """What the file says of servers whose entries cannot be used, whether they go on as they were or not."""
        self._remarks: dict[str, tuple[Remark, ...]] = {}
        """What has been told of entries that can be used."""
        self._file_fault: UnusableFile | None = None
        """Why the whole file cannot be used."""
        self._stamp: tuple[int, ...] | None = None
        self._signed: tuple[int, ...] | None = None
        """When somebody last signed in to a server, as the folder of tokens tells."""
        self._next_look = 0.0
        self._ended = False
        context.manager.wanted = self._wanted

    # --- the file ---

    def sweep(self, now: float) -> None:
        """Look whether the files changed, and end what nobody uses any more."""
        if now < self._next_look or self._ended:
            return
        self._next_look = now + LOOK_EVERY
        if stamp_of(self._path) != self._stamp:
            self.load()
        self._look_at_pins()
        signed = stamp_of(self._context.folder / TOKENS)
        if signed != self._signed:
            self._signed = signed
            for provider in self._running.values():
                provider.retry_now()
        self._end_unused(now)

    def _look_at_pins(self) -> None:
        """Have tools listed anew if others may be shown than before."""
        before, self._blocking = self._blocking, self._blocks()
        if self._pins.reload() or self._blocking is not before:
            for provider in self._running.values():
                provider.list_again()

    def load(self) -> None:
        """Read the file and bring the servers in line with it; what is wrong in it changes nothing and is told."""
        self._look_at_pins()
        self._stamp = stamp_of(self._path)
        try:
            listed = read_servers(self._path) if self._stamp is not None else []
        except UnusableFile as error:
            logger.warning("the servers stay as they were: {}", error)
            self._tell_of_file(error)
            return
        self._tell_of_file(None)
        before, self._servers = self._servers, self._taken(listed)
        self._tell_of_entries(listed, before)
        changed = {name for name in before.keys() | self._servers.keys() if before.get(name) != self._servers.get(name)}
        if not changed:
            return
        logger.info("{}: changed servers: {}", self._path.name, ", ".join(sorted(changed)))
        self._serves = {name: _serves(server) for name, server in self._servers.items()}
        again = [key for key in self._running if key[0] in changed]
        for key in again:
            # What is given up ends with all it does; what only is another way now may finish its jobs.
            own_instance = not key[1].startswith(PROVIDER)
            self._end(key, finish=key[0] in self._servers, withdrawn=own_instance and not self._may_run(key))
        for provider in self._ending.values():
            if provider.server.name not in self._servers:
                provider.end_jobs_now()
        now = self._context.loop.time()
        self._provide(now)
        for server in self._servers.values():
            if server.autostart and not server.per_agent:
                self._start(server, PROVIDER + server.name)
        for name, agent_id in filter(self._may_run, again):
            self._start(self._servers[name], agent_id)
        for agent_id in self._context.manager.agents_with_devices():
            self._wanted(agent_id)

    def _provide(self, now: float) -> None:
        """Tell the broker which servers there are, and for whom; a file that lists none yet is one in trouble."""
        serves = {PROVIDER + name: self._serves[name] for name, one in self._servers.items() if not one.per_agent}
        if self._file_fault is not None and not self._servers:
            serves[PROVIDER + self._path.name] = lambda agent_id: not agent_id.startswith(PROVIDER)
        self._context.manager.provide(serves, now)

    def _taken(self, listed: Sequence[Server]) -> dict[str, Server]:
        """The servers from now on, by name: one whose entry has turned bad goes on as it was."""
        taken = {}
        for server in listed:
            earlier = self._servers.get(server.name)
            kept = earlier if server.fault is not None and earlier is not None else None
            if not server.disabled:
                taken[server.name] = kept if kept is not None and kept.fault is None else server
        return taken

    def _tell_of_file(self, error: UnusableFile | None) -> None:
        """Let the agents know what is wrong with the whole file, as long as no server of an earlier one goes on."""
        before, self._file_fault = self._file_fault, error
        if (before is None and error is None) or self._servers:
            return
        now, name = self._context.loop.time(), self._path.name
        trouble = None if error is None else error.told
        self._context.manager.troubled(PROVIDER + name, name, trouble, now)
        self._provide(now)

    def _tell_of_entries(self, listed: Sequence[Server], servers_before: Mapping[str, Server]) -> None:
        """Log what is new about entries, and let the agents know which servers are out."""
        before, self._faults = self._faults, {one.name: one for one in listed if one.fault is not None}
        now = self._context.loop.time()
        for name in servers_before.keys() | self._servers.keys():
            was, is_ = (servers.get(name) for servers in (servers_before, self._servers))
            fault = None if is_ is None else is_.fault
            if fault is not None or (was is not None and was.fault is not None):  # others tell of themselves
                trouble = None if fault is None else _bad_entry(fault)
                self._context.manager.troubled(PROVIDER + name, name, trouble, now)
        for name, one in self._faults.items():
            if one.fault is not None and (name not in before or before[name].fault != one.fault):
                server = self._servers.get(name)
                goes_on = server is not None and server.fault is None
                logger.bind(event="server", server=name, reason=StopReason.BAD_ENTRY.reason).warning(
                    "server {}: {}; {}",
                    quote_peer(name),
                    _bad_entry(one.fault).en,
                    "it goes on as it was before" if goes_on else "it is left out, the others are not",
                )
        for one in listed:
            for remark in one.remarks if one.remarks != self._remarks.get(one.name) else ():
                logger.warning("server {}: {}", quote_peer(one.name), remark.told()["en"])
        self._remarks = {one.name: one.remarks for one in listed if one.remarks}

    # --- what runs ---

    def _wanted(self, agent_id: str, provider: str | None = None) -> None:
        """A client came for an agent, or for one tool side of it: what serves it has to run."""
        for server in self._servers.values():
            if self._serves[server.name](agent_id) and provider in (None, server.shown):
                self._start(server, agent_id if server.per_agent else PROVIDER + server.name)

    def _start(self, server: Server, agent_id: str) -> None:
        key = server.name, agent_id
        self._last_used[key] = self._context.loop.time()
        if key in self._running or self._ended or server.fault is not None:
            return
        if server.per_agent and sum(not agent.startswith(PROVIDER) for _, agent in self._running) >= MOST_INSTANCES:
            logger.warning("server {}: no more than {} instances; agent {} gets none", *key, MOST_INSTANCES)
            return
        third_party = server.kind is not Kind.PYTHON
        withhold = self._pins.withhold(server.name, self._blocks) if third_party else lambda tools: ()
        provider = self._running[key] = Provider(server, agent_id, self._context, withhold)
        provider.start()

    def _may_run(self, key: tuple[str, str]) -> bool:
        """Whether there is to be such an instance: one for all its agents, or the own one of an agent it is for."""
        name, agent_id = key
        server, shared = self._servers.get(name), agent_id.startswith(PROVIDER)
        return server is not None and server.per_agent is not shared and (shared or self._serves[name](agent_id))

    def _end(self, key: tuple[str, str], *, finish: bool = False, withdrawn: bool = False) -> None:
        self._last_used.pop(key, None)
        provider = self._running.pop(key)
        task = self._context.loop.create_task(provider.stop(finish=finish, withdrawn=withdrawn))
        self._ending[task] = provider
        task.add_done_callback(self._ending.pop)

    def _end_unused(self, now: float) -> None:
        used = set(self._context.manager.agents_with_devices())
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
            provider.end_jobs_now()
        if self._ending:
            await asyncio.wait(self._ending)

    def report(self, stamp: Stamp) -> list[dict[str, object]]:
        """What `/stats` shows of each, those that do not run included."""
        reports = []
        for server in self._servers.values():
            name = server.name
            running = [provider for (one, _), provider in self._running.items() if one == name]
            running += [one for one in self._ending.values() if one.finishing and one.server.name == name]
            told = [provider.report(stamp) for provider in running] or [_of_none(server)]
            listed = self._faults.get(name, server)
            about = {
                "changed": self._pins.changes(name),
                "fault": listed.fault and listed.fault.told(),
                "remarks": [remark.told() for remark in server.remarks],
            }
            reports += [report | about for report in told]
        return reports

    def stats(self, stamp: Stamp) -> dict[str, object]:
        """What `/stats` shows of all servers, and of what is wrong with the whole file, if anything is."""
        fault = self._file_fault
        told = None if fault is None else fault.told._asdict()
        return {"servers": self.report(stamp), "servers_file": told}


def _of_none(server: Server) -> dict[str, object]:
    """What there is to say of a server that does not run."""
    if server.fault is None:
        return {"name": server.name, "kind": server.kind.value, "state": State.IDLE.value}
    zh, en = _bad_entry(server.fault)
    failure = {"reason": StopReason.BAD_ENTRY.reason, "zh": zh, "en": en, "detail": ""}
    return {"name": server.name, "kind": None, "state": State.BAD_ENTRY.value, "failure": failure}


def _bad_entry(fault: Remark) -> Bilingual:
    """What is wrong with an entry, to stand inside a sentence."""
    told = fault.told()
    return Bilingual(f"{StopReason.BAD_ENTRY.zh}（{told['zh']}）", f"{StopReason.BAD_ENTRY.en} ({told['en']})")


def _serves(server: Server) -> Callable[[str], bool]:
    """Whether a server is for an agent; one that stands for a server itself has none."""
    ids = {id_ for name in server.agents if name != "*" for id_ in agent_ids(name)}
    everybody = "*" in server.agents
    return lambda agent_id: not agent_id.startswith(PROVIDER) and (everybody or agent_id in ids)
