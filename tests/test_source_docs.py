"""docs/providers.md names the reasons there are, and its examples are JSON."""

import json
import re
from pathlib import Path

from mcp_endpoint.providers.source import Why

PAGE = (Path(__file__).parents[1] / "docs/providers.md").read_text("utf-8")


def test_each_reason_of_the_table_is_one() -> None:
    table = PAGE.partition("## Why one is not there")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", table, re.MULTILINE)
    named = {reason for row in rows for reason in re.findall(r"`([a-z_]+)`", row)}
    assert len(named) > 10
    assert named <= {why.reason for why in Why}


def test_each_example_can_be_copied() -> None:
    examples = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    servers = [json.loads(example).get("mcpServers", {}) for example in examples]
    assert len(servers) >= 5
    for entry in (entry for file in servers for entry in file.values()):
        assert "command" in entry or "url" in entry or "openapi" in entry or "python" in entry
