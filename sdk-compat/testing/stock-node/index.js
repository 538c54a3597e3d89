"use strict";
// What OpenFaaS's stock node20 and node22 templates promise a handler, for tests on machines where the templates cannot
// be had: the port (http_port), the event, the context, the callback, and how results and errors are answered. Written
// from their documentation (https://docs.openfaas.com/languages/node/), on plain http; it shares no code with them.
const http = require("node:http");
const handler = require("./function/handler");

/** The templates' own limit of a body. */
const MOST = 100 * 1024;

/** The body as the content type says; text if there is none. */
async function bodyOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    if ((size += chunk.length) > MOST) throw Object.assign(new Error("the body is too large"), { status: 413 });
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  return /json/.test(request.headers["content-type"]) && bytes.length > 0 ? JSON.parse(bytes) : bytes.toString();
}

/** The context: a status, headers, and the two ways to answer by hand. */
function contextOf(answer) {
  const context = { statusCode: 200, headerValues: {}, answered: false };
  context.status = (code) => (code ? ((context.statusCode = code), context) : context.statusCode);
  context.headers = (values) => (values ? ((context.headerValues = values), context) : context.headerValues);
  context.succeed = (value) => answer(null, value);
  context.fail = (error) => {
    if (context.statusCode === 200) context.statusCode = 500;
    answer(error);
  };
  return context;
}

async function serve(request, response) {
  const answer = (error, value) => {
    if (context.answered) return;
    context.answered = true;
    // An error keeps the status: 200, if the handler has set none.
    const result = error ? String(error) : value;
    const text = typeof result === "object" && !Buffer.isBuffer(result) ? JSON.stringify(result) : (result ?? "");
    response.writeHead(context.statusCode, { "content-type": "text/html; charset=utf-8", ...context.headerValues });
    response.end(typeof text === "string" || Buffer.isBuffer(text) ? text : String(text));
  };
  const context = contextOf(answer);
  try {
    const url = new URL(request.url, "http://function");
    const { method, headers } = request;
    const event = { body: await bodyOf(request), headers, method, query: Object.fromEntries(url.searchParams), path: url.pathname };
    answer(null, await handler(event, context, answer));
  } catch (error) {
    if (error.status) context.statusCode = error.status;
    answer(error);
  }
}

const server = http.createServer(serve);
server.listen(Number(process.env.http_port ?? 3000), () => console.log(`listening on port: ${server.address().port}`));
