// What a client of the official TypeScript SDK, 1.x or 2.x, tells its user when it is refused; test_refused_clients.py.
//
// Usage: refused.mjs SDK TRANSPORT URL [oauth]
//   oauth  it can sign in, as desktop programs do

const [sdk, transport, url, oauth] = process.argv.slice(2);
const one = sdk === "1";
const { Client } = await import(one ? "@modelcontextprotocol/sdk/client/index.js" : "@modelcontextprotocol/client");
const module = one
  ? await import(`@modelcontextprotocol/sdk/client/${transport === "http" ? "streamableHttp" : "sse"}.js`)
  : await import("@modelcontextprotocol/client");
const Transport = transport === "http" ? module.StreamableHTTPClientTransport : module.SSEClientTransport;

let known;
const authProvider = {
  redirectUrl: "http://127.0.0.1:1/callback",
  clientMetadata: { client_name: "test", redirect_uris: ["http://127.0.0.1:1/callback"] },
  clientInformation: () => known,
  saveClientInformation: (information) => { known = information; },
  tokens: () => undefined,
  saveTokens: () => {},
  redirectToAuthorization: () => console.log("SIGN IN"),
  saveCodeVerifier: () => {},
  codeVerifier: () => "x",
};
const client = new Client({ name: "refused", version: "1" });
try {
  await client.connect(new Transport(new URL(url), oauth ? { authProvider } : {}));
  console.log("CONNECTED");
} catch (error) {
  console.log(String(error.message));
}
await client.close();
