"""What stands between a running source and the broker, without sockets: greetings, tasks and jobs."""

from typing import Any

import pytest
from msgspec.json import decode, encode

from mcp_endpoint.broker.link import Ended, Peer, Role
from mcp_endpoint.broker.tool_side.tool_side import ToolSide
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.providers.definitions import Definitions
from mcp_endpoint.providers.entries.entry import Tools
from mcp_endpoint.providers.jobs.job_store import JobStore
from mcp_endpoint.providers.jobs.job_watch import JobWatch
from mcp_endpoint.providers.link import ProviderLink
from support.offline import Device, World
from support.tasks import CAPABILITY, RELATED, REVISION, task

SHARED = "@s"


class Store:
    def __init__(self) -> None:
        self.jobs = JobStore(lambda job: None, lambda: 8, lambda: 50)

    def answer_within(self) -> float:
        return 5.0

    def longest(self) -> float:
        return 3600.0

    def language(self, agent_id: str) -> str:
        return "en"

    def opened(self, agent_id: str) -> None:
        pass

    def stamp(self, moment: float) -> str:
        return "2026-11-25T12:00:00+00:00"


class Source:
    """A server that keeps what it is sent; `say` lets it speak."""

    def __init__(self, world: World, job_manager: Store, *, background: bool = True) -> None:
        self.world = world
        self.sent: list[dict[str, Any]] = []
        peer = Peer("test", server_id="s", wants_caller=background)
        timers = world.manager.timers
        self.provider_link = provider_link = ProviderLink(
            peer, Definitions("s", Tools()), lambda tools: (), timers, lambda: world.now, None, local=False
        )
        if background:
            jobs = JobWatch(job_manager, timers, lambda: world.now, provider_link.to_broker, provider_link.to_source)
            provider_link.watch(jobs, lambda tool: tool == "add", shared=True)
        session = world.manager.join(Role.TOOL, SHARED, provider_link, world.now)
        assert isinstance(session, ToolSide)
        provider_link.join(session)
        provider_link.connect(self)  # type: ignore[arg-type]

    def send(self, frame: bytes) -> None:
        self.sent.append(decode(frame))

    def say(self, **members: object) -> None:
        self.provider_link.take(encode({"jsonrpc": "2.0"} | members))

    def serve(self, **capabilities: object) -> None:
        """Greet, and list one tool."""
        result = {"capabilities": {"tools": {}} | capabilities, "serverInfo": {"name": "s"}}
        self.say(id=self.sent[0]["id"], result=result)
        (listing,) = (frame for frame in self.sent if frame["method"] == "tools/list")
        self.say(id=listing["id"], result={"tools": [{"name": "add", "inputSchema": {"type": "object"}}]})

    def leave(self) -> None:
        """Another instance serves from now on."""
        session = self.provider_link.session
        assert session is not None
        self.provider_link.part()
        self.world.manager.ended(session, self.provider_link, Ended(End.SERVER_ENDED, 1000), self.world.now)


@pytest.fixture
def world() -> World:
    world = World()
    world.manager.provide({SHARED: lambda agent_id: agent_id != SHARED}, world.now)
    return world


def client(world: World, agent: str = "agent") -> Device:
    device = Device(world, agent=agent)
    params = {"protocolVersion": REVISION, "clientInfo": {"name": "test", "version": "1"}}
    ask(device, "initialize", "hello", **params)
    device.session.receive(b'{"jsonrpc":"2.0","method":"notifications/initialized"}', world.now)
    return device


def ask(device: Device, method: str, id_: object = "q", **params: object) -> Any:
    frame = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
    device.session.receive(encode(frame), device.world.now)
    return device.got[-1]


def begun(device: Device, id_: int = 1) -> str:
    device.call(id_, task={})
    made = device.got[-1]["result"]["task"]["taskId"]
    assert isinstance(made, str)
    return made


@pytest.mark.parametrize("background", [True, False])
def test_a_server_with_tasks_of_its_own_keeps_them(world: World, background: bool) -> None:
    source = Source(world, Store(), background=background)
    source.serve(tasks=CAPABILITY)
    device = client(world)
    device.call(1, task={"ttl": 5})
    assert source.sent[-1]["params"]["task"] == {"ttl": 5}
    source.say(id=source.sent[-1]["id"], result={"task": task("own")})
    assert device.got[-1]["result"]["task"] == task("own")
    ask(device, "tasks/get", taskId="own")
    assert source.sent[-1]["params"] == {"taskId": "own"}, "who calls is none of a third party's business"


@pytest.mark.parametrize("said", [{"result": None, "error": {"code": -1, "message": "no"}}, {"result": 5}])
def test_a_greeting_that_is_refused_is_tried_with_the_oldest_revision(world: World, said: dict[str, object]) -> None:
    source = Source(world, Store())
    source.say(id=source.sent[0]["id"], **said)
    assert [frame["params"]["protocolVersion"] for frame in source.sent] == ["2025-11-25", "2024-11-05"]


def test_a_job_that_is_answered_with_an_error_and_a_null_result_has_failed(world: World) -> None:
    source = Source(world, Store())
    source.serve()
    device = client(world)
    id_ = begun(device)
    source.say(id=source.sent[-1]["id"], result=None, error={"code": -1, "message": "burnt"})
    assert ask(device, "tasks/get", taskId=id_)["result"]["status"] == "failed"
    assert "burnt" in ask(device, "tasks/result", taskId=id_)["error"]["message"]


def test_jobs_of_two_agents_have_two_numbers(world: World) -> None:
    """A server that serves both has them by their numbers; what is told of one must not reach the other."""
    jobs = Store().jobs
    numbers = [jobs.begin(f"agent {number}", "t", lambda: None, 0.0).id for number in range(2000)]
    assert len(set(numbers)) == len(numbers)
    assert min(map(len, numbers)) == 4


def test_the_end_of_a_job_is_told_to_its_agent_alone(world: World) -> None:
    source = Source(world, Store())
    source.serve()
    one, other = client(world, "one"), client(world, "other")
    id_ = begun(one)
    number = source.sent[-1]["id"]
    begun(other)
    heard = len(other.got)
    source.say(id=number, result={"content": [{"type": "text", "text": "secret"}], "isError": True})
    assert one.got[-1]["params"]["taskId"] == id_
    assert one.got[-1]["params"]["statusMessage"] == "secret"
    assert other.got[heard:] == []


def test_log_messages_while_jobs_go_on_at_a_shared_server_are_for_nobody(world: World) -> None:
    source = Source(world, Store())
    source.serve(logging={})
    one, other = client(world, "one"), client(world, "other")
    ask(other, "logging/setLevel", level="debug")
    begun(one)
    number = source.sent[-1]["id"]
    other.call(5, name="add")
    heard = len(other.got)
    source.say(method="notifications/message", params={"level": "info", "data": "of whom?"})
    assert other.got[heard:] == []
    source.say(id=number, result={"content": []})
    source.say(method="notifications/message", params={"level": "info", "data": "of the other"})
    assert other.got[-1]["params"]["data"] == "of the other"


def test_an_instance_that_finishes_its_jobs_answers_pings_and_is_asked_for_by_its_heir(world: World) -> None:
    job_manager = Store()
    source = Source(world, job_manager)
    source.serve()
    device = client(world)
    id_ = begun(device)
    number = source.sent[-1]["id"]
    source.leave()
    source.say(id="p", method="ping")
    assert source.sent[-1] == {"jsonrpc": "2.0", "id": "p", "result": {}}
    heir = Source(world, job_manager)
    heir.serve()
    assert ask(device, "tasks/get", taskId=id_)["result"]["status"] == "working"
    source.say(id=number, result={"content": [{"type": "text", "text": "soup"}]})
    assert device.got[-1]["method"] == "notifications/tasks/status"
    result = ask(device, "tasks/result", taskId=id_)["result"]
    assert result["content"][0]["text"] == "soup"
    assert result["_meta"] == {RELATED: {"taskId": id_}}
    assert [frame["method"] for frame in heir.sent[3:]] == [], "the heir's server is asked for nothing"
