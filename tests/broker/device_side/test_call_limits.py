"""How long a call may take: devices by their agent's limit, MCP clients by their own, which progress renews."""

from msgspec.json import encode

from support.offline import Device, World


class McpClient(Device):
    """A client whose door gives it ten seconds."""

    call_timeout = 10.0


def progress_of_the_call(world: World) -> None:
    """The program tells how far it is with the one call that it has."""
    program = world.programs[0]
    (number,) = program.session.pending  # type: ignore[attr-defined]
    params = {"progressToken": number, "progress": 1}
    program.session.receive(encode({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}), world.now)


def answers(client: Device) -> list[str]:
    """The reasons of the errors that it got."""
    return [frame["error"]["data"]["reason"] for frame in client.got if "id" in frame]


def test_progress_renews_the_time_of_an_mcp_client() -> None:
    world = World()
    world.join().keeps_calls = True
    client = McpClient(world)
    client.call(1, _meta={"progressToken": "p"})
    for _ in range(4):
        world.passes(8)
        progress_of_the_call(world)
    world.passes(8)
    assert answers(client) == []
    world.passes(3)
    assert answers(client) == ["call_timed_out"]
    assert [frame["params"]["progressToken"] for frame in client.got if "method" in frame] == ["p"] * 4


def test_progress_does_not_renew_the_time_of_a_device() -> None:
    world = World(call_timeout=10)
    world.join().keeps_calls = True
    device = Device(world)
    device.call(1, _meta={"progressToken": "p"})
    world.passes(8)
    progress_of_the_call(world)
    world.passes(3)
    assert answers(device) == ["call_timed_out"]
