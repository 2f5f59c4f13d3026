// The official TypeScript SDK's client, 1.x, calls a tool as a task (2025-11-25); sdk/test_tasks.py reads its one line.
//
// Usage: tasks.mjs URL TOOL ARGUMENTS
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, name, args] = process.argv.slice(2);
const client = new Client({ name: "typescript-tasks", version: "1" });
const way = new StreamableHTTPClientTransport(new URL(url));
await client.connect(way);
await client.listTools(); // from which the SDK knows whether a tool wants to be called as a task
const said = [];
for await (const message of client.experimental.tasks.callToolStream({ name, arguments: JSON.parse(args) })) {
  if (message.type === "result") said.push(message.result.content[0].text);
  else if (message.type === "error") said.push(String(message.error));
  else if (!said.includes(message.type)) said.push(message.type);
}
await way.terminateSession();
await client.close();
console.log(JSON.stringify(said));
