"""A document with more operations than an agent's limits take: its owner is told how many, and how to choose."""

import gzip
import io
from pathlib import Path

from mcp_endpoint.clients.servers.overview import print_server
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.providers.entries.servers_file import read_servers
from support.brokers import Brokers
from support.paths import OPENAPI_DOCUMENTS

GITHUB = OPENAPI_DOCUMENTS / "github.json.gz"


async def test_how_many_are_not_listed_and_how_to_choose_is_told(opening: Brokers, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "github.json").write_bytes(gzip.decompress(GITHUB.read_bytes()))
    entry = {"openapi": "github.json", "base_url": "http://127.0.0.1:1"}
    broker = opening(github=entry)
    async with broker.agent().device() as device:
        assert len(await device.names()) == 512
        stats = await broker.stats()
        (report,) = stats["servers"]
        assert (report["name"], report["not_listed"], report["state"]) == ("github", 524, "serving")
        (why,) = [one["why"] for id_, one in stats["agents"].items() if one["why"]["reason"] == "too_many_tools"][:1]
        assert "524 are not listed: choose with tools.allow" in why["en"]
        assert "tags, operations or methods" in why["en"]
        assert "有 524 个没有列出" in why["zh"]
        out = io.StringIO()
        server = next(one for one in read_servers(tmp_path / "data" / "mcp_servers.json") if one.name == "github")
        assert print_server(server, report, Terminal("en", out, out)) is False
        assert "524 more tools" in out.getvalue()
