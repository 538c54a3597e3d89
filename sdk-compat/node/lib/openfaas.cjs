"use strict";
// A function behind of-watchdog in its http mode: what the templates' index.js runs.
const http = require("node:http");
const { MisoObject } = require("./object.cjs");
const { body } = require("./answers.cjs");
const { milliseconds } = require("./duration.cjs");
const { invoke, inject } = require("./invoke.cjs");

const MAX_BODY = Number(process.env.MAX_BODY_BYTES ?? 1_048_576);
/** Of a body that is too long this many times the limit is read and dropped: a caller that still sends hears no answer. */
const DRAINED = 16;
/** Milliseconds without a call after which the watchdog is taken to have handed over all that it took. */
const QUIET = 250;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= MAX_BODY) chunks.push(chunk);
    else if (size > DRAINED * MAX_BODY) break;
  }
  if (size > MAX_BODY) throw new Refused(413, `the body is longer than ${MAX_BODY} bytes (MAX_BODY_BYTES)`);
  const bytes = Buffer.concat(chunks);
  const type = request.headers["content-type"] ?? "";
  if (bytes.length > 0 && /^application\/(\S+\+)?json\b/i.test(type)) {
    try {
      return JSON.parse(bytes);
    } catch {
      throw new Refused(400, "the body is no JSON, which its content type says it is");
    }
  }
  return type === "" || /^(text\/|application\/x-www-form-urlencoded)/i.test(type) ? bytes.toString() : bytes;
}

/** The event of OpenFaaS's Node templates. */
async function eventOf(request) {
  const url = new URL(request.url, "http://function");
  const { method, headers } = request;
  return { body: await read(request), headers, method, query: Object.fromEntries(url.searchParams), path: url.pathname };
}

/** The context of OpenFaaS's Node templates. */
class Context {
  constructor() {
    this.statusCode = 200;
    this.headerValues = {};
    this.outcome = new Promise((resolve, reject) => {
      this.succeed = (value) => {
        this.called = true;
        resolve(value);
        return this;
      };
      this.fail = (error) => {
        this.called = true;
        reject(error instanceof Error ? error : new Error(String(error)));
        return this;
      };
    });
    this.outcome.catch(() => {});
  }

  status(code) {
    if (code === undefined) return this.statusCode;
    this.statusCode = code;
    return this;
  }

  headers(values) {
    if (values === undefined) return this.headerValues;
    this.headerValues = values;
    return this;
  }
}

async function answer(handler, so, request, response) {
  const context = new Context();
  let result;
  try {
    const event = await eventOf(request);
    result = await invoke(handler, so, event, context);
    const [type, bytes] = body(result);
    response.writeHead(context.statusCode, { ...(type && { "content-type": type }), ...context.headerValues });
    response.end(bytes);
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error); // The stack is for the log, not for the caller.
    if (response.headersSent) return response.destroy();
    const message = error instanceof Error ? error.message : String(error);
    response.writeHead(error?.status ?? (context.statusCode >= 400 ? context.statusCode : 500), { "content-type": "application/json" });
    response.end(JSON.stringify({ error: message }));
  }
}

/**
 * Serves `handler` on the watchdog's port. At SIGTERM it goes on serving: the watchdog forwards what comes for
 * `healthcheck_interval` (`write_timeout`, unless set) and then what it has taken. Once no call came for a moment, it
 * unregisters and exits with 0.
 */
function serve(handler, { port = Number(process.env.http_port ?? 3000), host = "127.0.0.1" } = {}) {
  if (typeof handler !== "function") {
    console.error("function/handler.js exports no function: write module.exports = async (event, context) => { .. }");
    process.exit(1);
  }
  let so;
  try {
    so = new MisoObject();
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
  // Before the first call. If there is no node yet, the registration is said on the first connection that stands.
  const registered = so.register().catch((error) => console.error(error.message));
  let calls = 0;
  let last = 0;
  const server = http.createServer(async (request, response) => {
    calls += 1;
    try {
      await registered;
      await answer(handler, so, request, response);
    } finally {
      calls -= 1;
      last = Date.now();
    }
  });
  server.listen(port, host, () => console.log(`serving on ${host}:${server.address().port}`));

  const end = async () => {
    const write = milliseconds(process.env.write_timeout, 10_000);
    await sleep(milliseconds(process.env.healthcheck_interval, write));
    // It keeps listening: what the watchdog took last may come on a new connection.
    for (const late = Date.now() + write; Date.now() < late && (calls > 0 || Date.now() < last + QUIET); ) await sleep(20);
    await so.unregister().catch((error) => console.error(error.message));
    await so.close();
    process.exit(0);
  };
  process.once("SIGTERM", end);
  return server;
}

module.exports = { serve, inject };
