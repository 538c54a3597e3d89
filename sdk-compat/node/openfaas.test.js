// The OpenFaaS templates over plain HTTP, started as the watchdog starts them, and the preload for stock templates.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import Redis from "ioredis";
import { startCluster, until } from "./cluster.js";
import { milliseconds } from "./lib/duration.cjs";

const templates = join(import.meta.dirname, "..", "openfaas", "template");

const LISTING_1 = `module.exports = async (event, context) => {
    const so = context.statefulObject;
    const counter = so.getGCounter('totalSum');
    await counter.add(1);
    return { data: await counter.getValue() };
};
`;

/** Starts a template's index.js with this handler; answers how to call it. */
async function startFunction(t, cluster, handler, { index, environment = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "miso-function-"));
  cpSync(join(templates, "node22-miso"), folder, { recursive: true });
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(import.meta.dirname, join(folder, "node_modules", "miso-crdt"));
  writeFileSync(join(folder, "function", "handler.js"), handler);
  if (index) writeFileSync(join(folder, "index.js"), index);
  const child = spawn(process.execPath, ["index.js"], {
    cwd: folder,
    env: { ...process.env, MISO_URL: cluster.url(), http_port: "0", write_timeout: "300ms", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (data) => (log += data));
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const port = /(\d+)$/.exec(line)[1];
  const call = async (options = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${options.path ?? "/"}`, options);
    return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
  };
  return { call, child, log: () => log };
}

test("the templates hold Listing 1 byte for byte, and differ in their Node alone", () => {
  const read = (version, file) => readFileSync(join(templates, `node${version}-miso`, file), "utf8");
  for (const version of [20, 22]) assert.equal(read(version, "function/handler.js"), LISTING_1);
  for (const file of ["index.js", "package.json", "function/package.json"]) assert.equal(read(20, file), read(22, file));
  for (const file of ["Dockerfile", "template.yml"]) {
    assert.equal(read(20, file).replaceAll("node20", "node22").replaceAll("node:20", "node:22"), read(22, file));
  }
});

test("Listing 1, registered before the first call, unregistered at the end", async (t) => {
  const cluster = await startCluster(t, 1);
  const { call, child } = await startFunction(t, cluster, LISTING_1, { environment: { MISO_REPLICA_ID: "pod-1" } });
  const admin = new Redis(cluster.url(0, "admin"));
  t.after(() => admin.disconnect());
  const registered = async () => JSON.stringify(await admin.call("MISO.FUNCTIONS")).includes("pod-1");
  await until(registered, "the registration");
  assert.deepEqual(await call(), { status: 200, type: "application/json", text: '{"data":1}' });
  assert.deepEqual(await call({ method: "POST", body: "x" }), { status: 200, type: "application/json", text: '{"data":2}' });
  child.kill("SIGTERM");
  const ended = once(child, "exit");
  assert.equal((await call()).text, '{"data":3}'); // The watchdog goes on forwarding.
  assert.deepEqual(await ended, [0, null]);
  assert.equal(await registered(), false);
});

test("an end in the midst of calls loses none", async (t) => {
  const cluster = await startCluster(t, 1);
  const slow = `module.exports = async (event, context) => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    context.statefulObject.getGCounter('totalSum').add(1);
    return 'done';
  };`;
  const { call, child } = await startFunction(t, cluster, slow);
  const calls = Array.from({ length: 20 }, () => call());
  setTimeout(() => child.kill("SIGTERM"), 50);
  const ended = once(child, "exit");
  for (const answer of await Promise.all(calls)) assert.deepEqual(answer, { status: 200, type: "text/plain; charset=utf-8", text: "done" });
  assert.deepEqual(await ended, [0, null]);
  const other = await startFunction(t, cluster, LISTING_1);
  assert.equal((await other.call()).text, '{"data":21}');
});

test("durations as the watchdog reads them", () => {
  const expected = { "10": 10_000, "0": 0, "250ms": 250, "1m30s": 90_000, "1.5h": 5_400_000, "": 7, soon: 7 };
  for (const [text, ms] of Object.entries(expected)) assert.equal(milliseconds(text, 7), ms, text);
  assert.equal(milliseconds(undefined, 7), 7);
});

const RESULTS = `const results = {
  number: () => 404, bool: () => false, none: () => undefined, nothing: () => null, text: () => 'a', list: () => [1],
  big: () => ({ small: 5n, big: 2n ** 60n }), set: () => new Set([1, 2]), map: () => new Map([['a', 1n]]),
  bytes: () => Buffer.from([1]), echo: (event) => [event.method, event.body, event.query],
  status: (_, context) => context.status(201).headers({ 'x-a': 'b' }).succeed('made'),
  sync: () => { throw new Error('wrong') }, async: async () => { throw new TypeError('bad') },
  fail: (_, context) => context.fail('refused'),
  unawaited: (_, context) => { context.statefulObject.getGCounter('n').add(1); return 'ok' },
  lost: (_, context) => { context.statefulObject.getORSet('n').add(1); return 'ok' },
  value: async (_, context) => context.statefulObject.getGCounter('n').getValue(),
  fixed: (_, context) => { 'use strict'; context.statefulObject = 1 },
};
module.exports = (event, context) => results[event.path.slice(1)](event, context);`;

test("results and errors", async (t) => {
  const cluster = await startCluster(t, 1);
  const { call, log } = await startFunction(t, cluster, RESULTS);
  const json = "application/json";
  const expected = {
    number: [200, json, "404"],
    bool: [200, json, "false"],
    none: [200, null, ""],
    nothing: [200, json, "null"],
    text: [200, "text/plain; charset=utf-8", "a"],
    list: [200, json, "[1]"],
    big: [200, json, '{"small":5,"big":"1152921504606846976"}'],
    set: [200, json, "[1,2]"],
    map: [200, json, '{"a":1}'],
    bytes: [200, "application/octet-stream", "\u0001"],
    status: [201, "text/plain; charset=utf-8", "made"],
    sync: [500, json, '{"error":"wrong"}'],
    async: [500, json, '{"error":"bad"}'],
    fail: [500, json, '{"error":"refused"}'],
    unawaited: [200, "text/plain; charset=utf-8", "ok"],
    value: [200, json, "1"],
  };
  for (const [path, [status, type, text]] of Object.entries(expected)) {
    assert.deepEqual(await call({ path: `/${path}` }), { status, type, text }, path);
  }
  assert.match((await call({ path: "/lost" })).text, /WRONGTYPE/);
  assert.match((await call({ path: "/fixed" })).text, /read only/);
  assert.match(log(), /at .*handler\.js/);
  const post = (body, type) => call({ path: "/echo?a=b", method: "POST", body, headers: { "content-type": type } });
  assert.equal((await post('{"x":1}', json)).text, '["POST",{"x":1},{"a":"b"}]');
  assert.equal((await post("x", "text/plain")).text, '["POST","x",{"a":"b"}]');
  assert.equal((await post("{", json)).status, 400);
  for (const length of [1_048_577, 8_000_000]) assert.equal((await post("x".repeat(length), "text/plain")).status, 413);
});

test("a handler with a callback", async (t) => {
  const cluster = await startCluster(t, 1);
  const { call } = await startFunction(t, cluster, `module.exports = (event, context, done) => {
    setTimeout(() => (event.path === '/bad' ? done(new Error('no')) : done(null, { ok: true })), 5);
  };`);
  assert.equal((await call()).text, '{"ok":true}');
  assert.equal((await call({ path: "/bad" })).status, 500);
});

test("a platform that repeats a call under its id counts once", async (t) => {
  const cluster = await startCluster(t, 1);
  await cluster.do("once on");
  const { call } = await startFunction(t, cluster, LISTING_1);
  const headers = { "x-call-id": "0f2c6d1e-5b0f-4a6c-9a55-1a9c6a7a8a11" };
  assert.equal((await call({ headers })).text, '{"data":1}');
  assert.equal((await call({ headers })).text, '{"data":1}');
  assert.equal((await call()).text, '{"data":2}');
});

test("Listing 1 in the manner of a stock template, by the preload", async (t) => {
  const cluster = await startCluster(t, 1);
  const preload = join(import.meta.dirname, "lib", "preload.cjs");
  const environment = { NODE_OPTIONS: `--require=${preload}` };
  const index = readFileSync(join(import.meta.dirname, "..", "testing", "stock-node", "index.js"), "utf8");
  const { call } = await startFunction(t, cluster, LISTING_1, { index, environment });
  assert.equal((await call()).text, '{"data":1}');
  assert.equal((await call()).text, '{"data":2}');
});

test("a function without its settings ends with what to do", async (t) => {
  const child = spawn(process.execPath, ["-e", 'require("miso-crdt/openfaas").serve(() => 1)'], {
    cwd: import.meta.dirname,
    env: { PATH: process.env.PATH },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [[message], [code]] = await Promise.all([once(child.stderr, "data"), once(child, "exit")]);
  assert.match(String(message), /Set MISO_URL=/);
  assert.equal(code, 1);
});
