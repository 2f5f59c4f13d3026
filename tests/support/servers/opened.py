"""Servers that a broker of the tests opens itself: the programs, and the file that lists them."""

import json
import sys
from pathlib import Path

SERVER = r"""
import json, os, sys, time
options = json.loads(sys.argv[1])
print("hello from", os.getpid(), file=sys.stderr, flush=True)
if "exit" in options:
    sys.exit(options["exit"])
for junk in options.get("prints", []):
    print(junk, flush=True)
for line in sys.stdin:
    frame = json.loads(line)
    if "id" not in frame or options.get("hangs"):
        continue
    method, params = frame["method"], frame.get("params", {})
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                  "serverInfo": {"name": options.get("name", "s"), "version": "1"}}
    elif method == "tools/list":
        listed = options["tools"]
        if "file" in options:
            listed = json.load(open(options["file"]))
        result = {"tools": [dict({"name": t, "inputSchema": {"type": "object"}}, **options.get("more", {}))
                            if isinstance(t, str) else t for t in listed]}
        if "page" in options:
            begin = int(params.get("cursor", 0))
            end = begin + options["page"]
            if options.get("endless") or end < len(listed):
                result["nextCursor"] = str(end % len(listed))
            result["tools"] = result["tools"][begin:end]
    elif method == "tools/call":
        if params["name"] == "sleep":
            time.sleep(30)
        if params["name"] == "die":
            os._exit(3)
        result = {"content": [{"type": "text", "text": json.dumps(
            [params["name"], params.get("arguments"), os.environ.get("WHO"), os.getpid()])}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}), flush=True)
"""

SLOW = r"""
import json, os, sys, threading
def say(frame):
    print(json.dumps(frame | {"jsonrpc": "2.0"}), flush=True)
print("kitchen", os.getpid(), file=sys.stderr, flush=True)
waiting = {}
for line in sys.stdin:
    frame = json.loads(line)
    method, params = frame.get("method"), frame.get("params", {})
    if method == "initialize":
        say({"id": frame["id"], "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                                           "serverInfo": {"name": "slow", "version": "1"}}})
    elif method == "tools/list":
        say({"id": frame["id"], "result": {"tools": [{"name": n, "inputSchema": {"type": "object"}}
                                                     for n in ("cook", "finish", "quick", "fail")]}})
    elif method == "notifications/cancelled":
        print("cancelled", file=sys.stderr, flush=True)
        waiting.pop(params["requestId"], None)
    elif method == "tools/call":
        name, meta = params["name"], params.get("_meta", {})
        if name == "cook":
            waiting[frame["id"]] = params
            fifo = params.get("arguments", {}).get("fifo")
            if fifo is not None:  # done when somebody writes there
                threading.Thread(target=lambda id_=frame["id"], fifo=fifo: say({"id": id_, "result": {
                    "content": [{"type": "text", "text": open(fifo).read()}]}}), daemon=True).start()
            if "progressToken" in meta:
                say({"method": "notifications/progress", "params": {
                    "progressToken": meta["progressToken"], "progress": 1, "total": 4, "message": "chopping"}})
            continue
        done = params.get("arguments", {}).get("how", "result")
        if name == "finish":
            for id_, call in list(waiting.items()):
                if done == "exit":
                    sys.exit(5)
                elif done == "error":
                    say({"id": id_, "error": {"code": -32000, "message": "burnt"}})
                else:
                    say({"id": id_, "result": {"content": [{"type": "text", "text": "soup"}],
                                               "isError": done == "isError", "meta": call.get("_meta")}})
            waiting.clear()
        say({"id": frame["id"], "result": {"content": [{"type": "text", "text": "ok"}]}})
"""


def kitchen(**members: object) -> dict[str, object]:
    return {"command": sys.executable, "args": ["-I", "-c", SLOW], "tools": {"background": ["cook"]}, **members}


def server(*tools: object, options: dict[str, object] | None = None, **members: object) -> dict[str, object]:
    told = {"tools": tools} | (options or {})
    return {"command": sys.executable, "args": ["-I", "-c", SERVER, json.dumps(told)], **members}


def write(folder: Path, **servers: object) -> Path:
    path = folder / "mcp_servers.json"
    path.write_text(json.dumps({"mcpServers": servers}), "utf-8")
    return path


FLOOD = r"""
import json, os, sys
CHUNK = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n' * 1000
for line in sys.stdin:
    frame = json.loads(line)
    if "id" not in frame:
        continue
    method, params = frame["method"], frame.get("params", {})
    result = {"tools": [{"name": "flood", "inputSchema": {"type": "object"}}]}
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "flood", "version": "1"}}
    elif method == "tools/call":
        for _ in range(params["arguments"]["chunks"]):
            sent = 0
            while sent < len(CHUNK):
                sent += os.write(1, CHUNK[sent:])
        lines, errors = b"oh\n" * 20_000, params["arguments"]["errors"]
        for _ in range(errors):
            sent = 0
            while sent < len(lines):
                sent += os.write(2, lines[sent:])
        result = {"content": []}
    print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}), flush=True)
"""


def flooding() -> dict[str, object]:
    """A server whose tool `flood` says thousands of things before it answers."""
    return {"command": sys.executable, "args": ["-I", "-c", FLOOD], "agents": ["attacker"]}
