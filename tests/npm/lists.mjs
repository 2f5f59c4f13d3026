// The official TypeScript SDK's clients over Streamable HTTP, for several agents; each lists, and calls `a`.
//
// test_bad_definitions.py writes the URLs as lines on stdin and reads one line: by SDK, for each URL, the names of the
// tools that the client was shown and what `a` said, or the error that it raised.

import { readFileSync } from "node:fs";
import * as two from "@modelcontextprotocol/client";
import { Client as OneClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OneTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const urls = readFileSync(0, "utf8").trim().split("\n");
const info = { name: "lists", version: "1" };
const kinds = {
  1: (url) => [new OneClient(info), new OneTransport(new URL(url))],
  2: (url) => newer("legacy", url),
  "2 stateless": (url) => newer("auto", url),
};

function newer(mode, url) {
  return [new two.Client(info, { versionNegotiation: { mode } }), new two.StreamableHTTPClientTransport(new URL(url))];
}

async function seen(opened) {
  const [client, way] = opened;
  try {
    await client.connect(way);
    const { tools } = await client.listTools();
    const called = await client.callTool({ name: "a", arguments: {} });
    await way.terminateSession?.();
    return [tools.map((tool) => tool.name), called.content[0].text];
  } catch (error) {
    return String(error);
  } finally {
    await client.close();
  }
}

const all = {};
for (const [kind, opened] of Object.entries(kinds)) {
  all[kind] = [];
  for (const url of urls) all[kind].push(await seen(opened(url)));
}
console.log(JSON.stringify(all));
