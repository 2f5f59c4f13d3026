// The official TypeScript SDK's client, 1.x or 2.x; sdk/test_npm.py runs it and reads its one line.
//
// Usage: client.mjs SDK TRANSPORT URL FILE
//   SDK        1, or 2; 2 stateless for the newer major in its stateless mode
//   TRANSPORT  http, sse or ws
//   FILE       what server-filesystem is asked to read

const [sdk, transport, url, file] = process.argv.slice(2);
const one = sdk === "1";

async function opened() {
  const info = { name: `typescript-${sdk}`, version: "1" };
  if (one) {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const modules = { http: "streamableHttp", sse: "sse", ws: "websocket" };
    const names = { http: "StreamableHTTP", sse: "SSE", ws: "WebSocket" };
    const module = await import(`@modelcontextprotocol/sdk/client/${modules[transport]}.js`);
    return [new Client(info), new module[`${names[transport]}ClientTransport`](new URL(url))];
  }
  const { Client, StreamableHTTPClientTransport, SSEClientTransport } = await import("@modelcontextprotocol/client");
  const mode = sdk === "2" ? "legacy" : "auto";
  const Transport = transport === "http" ? StreamableHTTPClientTransport : SSEClientTransport;
  return [new Client(info, { versionNegotiation: { mode } }), new Transport(new URL(url))];
}

const [client, way] = await opened();
await client.connect(way);
// What arrives, rather than what the SDK tells of it: 1.x drops progress that is read together with the answer.
const progress = [];
const read = way.onmessage;
way.onmessage = (message, ...more) => {
  if (message.method === "notifications/progress") progress.push(message.params.progress);
  read(message, ...more);
};

const call = (name, args, options) =>
  one
    ? client.callTool({ name, arguments: args }, undefined, options)
    : client.callTool({ name, arguments: args }, options);
const text = async (...asked) => (await call(...asked)).content[0].text;

const { tools } = await client.listTools();
const counted = await text("trigger-long-running-operation", { duration: 0.3, steps: 3 }, { onprogress: () => {} });
const counts = progress.splice(0);
const several = await Promise.all(
  Array.from({ length: 20 }, (_, number) => text("echo", { message: `消息 ${number}` })),
);
const giving = new AbortController();
const waiting = call("wait", {}, { signal: giving.signal, onprogress: () => giving.abort("enough") });
const givenUp = await waiting.then(
  () => false,
  () => true,
);
const chinese = await text("text", { letter: "汉", size: 2000 });
const large = await text("text", { letter: "x", size: 900_000 });
const unknown = await call("nothing", {}).then(
  () => null,
  (error) => error.code,
);
const said = {
  tools: tools.map((tool) => tool.name),
  progress: counts,
  counted,
  several: several.every((one, number) => one === `Echo: 消息 ${number}`),
  read: await text("read_text_file", { path: file }),
  givenUp,
  texts: [chinese === "汉".repeat(2000), large === "x".repeat(900_000)],
  unknown,
  prompts: (await client.listPrompts()).prompts.length > 0,
  resources: (await client.listResources()).resources.length > 0,
};
await way.terminateSession?.();
await client.close();
console.log(JSON.stringify(said));
