"""Every JSON-RPC code, close code and typed reason there is: one table for each kind of bad end.

Lowest first:

- `words`: what a row of a table has that people read;
- `json_rpc`: a **request** ends with a `Fault`: its JSON-RPC code, its machine-readable reason (the member's name in
  lower case, sent as `error.data.reason`) and a sentence a device may read out, in Chinese and English;
- `close_codes`: a **link** ends with an `End`: the WebSocket close code and the text on the wire, and the words that
  log and `/stats` use;
- `refusals`: a **connection** that is no link yet, or an HTTP **request** that is not taken, ends with a `Refusal`: an
  HTTP status, and words for its answer, log and `/stats`;
- `http_status`: what the first two are over HTTP;
- `notes`: what the owner of a link should know although it goes on.

Clients know the codes and the texts on the wire already (docs/protocol.md, sections 3.2, 4.6 and 5.1).
"""
