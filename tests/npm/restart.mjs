// A client of the official TypeScript SDK, 1.x or 2.x, that calls a tool, waits for a line, and calls it again;
// test_sessions_over_a_restart.py restarts the broker meanwhile.
//
// Usage: restart.mjs SDK URL

import { once } from "node:events";

const [sdk, url] = process.argv.slice(2);
const one = sdk === "1";
const { Client } = await import(one ? "@modelcontextprotocol/sdk/client/index.js" : "@modelcontextprotocol/client");
const module = one
  ? await import("@modelcontextprotocol/sdk/client/streamableHttp.js")
  : await import("@modelcontextprotocol/client");
const client = new Client({ name: "restart", version: "1" });
const way = new module.StreamableHTTPClientTransport(new URL(url));
await client.connect(way);
const call = async () => (await client.callTool({ name: "add", arguments: {} })).content[0].text;
console.log(await call());
await once(process.stdin, "data");
console.log(await call());
await way.terminateSession();
await client.close();
process.exit(0);
