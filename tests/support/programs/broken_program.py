"""An MCP server on stdio that writes its frames by hand, and its answers to calls as its arguments say."""

import json
import sys

TEXTS = {
    "gbk": '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"温度二十度"}]}}\n'.encode("gbk"),
    "nan": b'{"jsonrpc":"2.0","id":%s,"result":{"content":[],"structuredContent":{"t":NaN}}}\n',
    "indented": b'{\n "jsonrpc": "2.0",\n "id": %s,\n "result": {"content": [{"type": "text", "text": "in"}]}\n}\n',
    "utf16": '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"wide"}]}}\r\n'.encode("utf-16-le"),
    "half": rb'{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"ok \ud83d"}]}}' + b"\n",
}
TOOLS = [{"name": name, "description": "\ud83d half", "inputSchema": {"type": "object"}} for name in TEXTS]


def say(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


for line in sys.stdin:
    frame = json.loads(line)
    if "id" not in frame:
        continue
    result: object = {}
    if frame["method"] == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "broken"}}
    elif frame["method"] == "tools/list":
        result = {"tools": TOOLS}
    elif frame["method"] == "tools/call":
        text = TEXTS[frame["params"]["name"]]
        wide = frame["params"]["name"] == "utf16"
        number = str(frame["id"]).encode("utf-16-le" if wide else "ascii")
        say(text.replace("%s".encode("utf-16-le") if wide else b"%s", number))
        continue
    # The id comes back as a text, from `initialize` on.
    say(json.dumps({"jsonrpc": "2.0", "id": str(frame["id"]), "result": result}).encode() + b"\n")
