"""Tokens as people paste them, at every door: in URLs and headers, alone and together."""

import json
from urllib.parse import quote

import httpx
import pytest

from support.clients.mcp_http import BOTH, initialize, mcp_client
from support.peers import Agent, Broker, device, dialled
from support.sockets import PATIENCE

HEADERS = [
    "Bearer {t}",
    "bearer {t}",
    "{t}",
    '"{t}"',
    "'{t}'",
    "Bearer Bearer {t}",
    'Bearer "{t}"',
    "Bearer: {t}",
    "Token {t}",
    "token={t}",
    "Bearer {e}",
    "Bearer {ee}",
    "{e}",
    "Bearer  {t}",
    "ws://h:8004/mcp_endpoint/mcp/?token={e}",
    "Bearer http://h:8004/mcp_endpoint/mcp/?token={t}",
    "Authorization: Bearer {t}",
]
QUERIES = [
    "token={t}",
    "token={e}",
    "token={ee}",
    "token=%22{e}%22",
    "token={e}%0A",
    "token={e}%20",
    "token={t}%0D%0A",
    "token='{e}'",
    "token=Bearer%20{e}",
    "token=Bearer+{t}",
    "token=Bearer%20Bearer%20{e}",
    "token=token={e}",
    "token=ws://h:8004/mcp_endpoint/mcp/?token={t}",
    "token=ws%3A%2F%2Fh%2Fmcp_endpoint%2Fmcp%2F%3Ftoken%3D{ee}",
    "token={e}&token={e}",
    "device=d&token={e}",
    "Token={e}",
    "access_token={e}",
    "device=d&amp;token={e}",
]


@pytest.fixture
def agent(broker: Broker) -> Agent:
    """One whose token shows what happens to every character that URLs have a meaning for."""
    return next(one for one in iter(broker.agent, None) if "+" in one.token and "/" in one.token)


def spelt(text: str, agent: Agent) -> str:
    encoded = quote(agent.token, safe="")
    return text.format(t=agent.token, e=encoded, ee=quote(encoded, safe=""))


@pytest.mark.parametrize("text", HEADERS)
async def test_a_token_in_a_header_as_people_paste_it(agent: Agent, text: str) -> None:
    async with agent.tool_side("t"), mcp_client(agent) as client:
        client.headers["Authorization"] = spelt(text, agent)
        assert (await client.initialize()).status_code == 200
        assert "result" in (await client.call("t")).json()
        await client.delete()
    async with device(agent.broker.url("/call/"), additional_headers={"Authorization": spelt(text, agent)}):
        pass


@pytest.mark.parametrize("text", QUERIES)
async def test_a_token_in_a_url_as_people_paste_it(agent: Agent, text: str) -> None:
    path = f"/mcp_endpoint/call/?{spelt(text, agent)}"
    async with agent.tool_side("t"), mcp_client(agent, path) as client, device(agent.broker.url(path)) as peer:
        del client.headers["Authorization"]
        assert (await client.initialize()).status_code == 200
        assert "result" in (await client.call("t")).json()
        assert await peer.names() == ["t"]
        await client.delete()


@pytest.mark.parametrize("name", ["X-API-Key", "Api-Key", "x-api-key"])
async def test_programs_that_know_no_other_header(agent: Agent, name: str) -> None:
    async with mcp_client(agent) as client:
        client.headers = {name: agent.token}
        assert (await client.initialize()).status_code == 200
        await client.delete()


async def told(agent: Agent, path: str = "/mcp", **headers: str) -> tuple[int, str]:
    """Status and reason of an `initialize`; a session that it opened is ended."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        url = agent.broker.url(path, "http")
        reply = await http.post(url, json=initialize(), headers={"Accept": BOTH} | named)
        if reply.status_code == 200:
            await http.delete(url, headers={"Mcp-Session-Id": reply.headers["mcp-session-id"]} | named)
            return 200, ""
        return reply.status_code, reply.json()["error"]["data"]["reason"]


async def test_tokens_of_two_agents_in_one_request_name_nobody(agent: Agent) -> None:
    other = agent.broker.agent()
    mine, others = f"Bearer {agent.token}", quote(other.token, safe="")
    assert await told(agent, f"/mcp?token={others}", Authorization=mine) == (401, "two_tokens")
    assert await told(agent, f"/mcp?token={quote(agent.token, safe='')}&token={others}") == (401, "two_tokens")
    assert await told(agent, Authorization=f"{mine}, Bearer {other.token}") == (401, "bad_token")
    assert await told(agent, Authorization=mine, X_API_Key=other.token) == (401, "two_tokens")
    async with dialled(agent.broker.url(f"/call/?token={others}"), additional_headers={"Authorization": mine}) as peer:
        await peer.wait_closed()
        assert (peer.close_code, peer.close_reason) == (1008, "token不一致")


async def test_one_good_token_is_enough_wherever_it_stands(agent: Agent) -> None:
    """A proxy in front may want a header of its own, which says nothing here."""
    good = quote(agent.token, safe="")
    for header in ("Basic dXNlcjpwYXNz", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "Digest username=x", ""):
        assert await told(agent, f"/mcp?token={good}", Authorization=header) == (200, "")
    assert await told(agent, f"/mcp?token={good}", Authorization=f"Bearer {agent.token}") == (200, "")
    assert await told(agent, "/mcp?token=junk", Authorization=f"Bearer {agent.token}") == (200, "")


@pytest.mark.parametrize(
    ("path", "headers", "reason"),
    [
        ("/mcp", {}, "missing_token"),
        ("/mcp?token=", {"Authorization": ""}, "missing_token"),
        ("/mcp", {"Authorization": "Basic dXNlcjpwYXNz"}, "missing_token"),
        ("/mcp", {"X-API-Key": "another secret"}, "missing_token"),
        ("/mcp", {"Authorization": "Bearer"}, "missing_token"),
        ("/mcp", {"Authorization": 'Bearer ""'}, "missing_token"),
        ("/mcp", {"Authorization": "nonsense"}, "bad_token"),
        ("/mcp", {"Authorization": "Bearer " + "A" * 6000}, "bad_token"),
        ("/mcp?token=" + "&token=".join(map(str, range(20))), {}, "bad_token"),
    ],
)
async def test_a_token_that_is_none_is_told_how_to_get_one(
    agent: Agent, path: str, headers: dict[str, str], reason: str
) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        url = agent.broker.url(path, "http")
        for reply in (
            await http.post(url, json=initialize(), headers={"Accept": BOTH} | headers),
            await http.get(url, headers={"Accept": "text/event-stream"} | headers),
            await http.get(url.replace("/mcp", "/sse"), headers=headers),
        ):
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"].startswith("Bearer ")
            assert "resource_metadata" not in reply.headers["www-authenticate"]
            error = json.loads(reply.content)["error"]
            assert error["data"]["reason"] == reason
            assert "main.py token --agent" in error["message"]
            assert "智控台" in error["message"]
            assert "management console" in error["message"]
