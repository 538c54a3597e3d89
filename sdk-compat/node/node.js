// A running server on a free loopback port, for one test, and what the tests of all clients share.
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const repository = join(import.meta.dirname, "..", "..");
const DEADLINE_MS = 30_000;

/** The server under test: MISO_SERVER, else the newest build in the target directory. */
function binary() {
  if (process.env.MISO_SERVER) return resolve(process.env.MISO_SERVER); // It starts in a folder of its own.
  const target = process.env.CARGO_TARGET_DIR ?? join(repository, "target");
  const builds = (existsSync(target) ? readdirSync(target) : [])
    .map((profile) => join(target, profile, "miso-server"))
    .filter((path) => existsSync(path));
  if (builds.length === 0) throw new Error("run `cargo build -p miso-server` first, or set MISO_SERVER");
  return builds.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

/** Starts a server that is stopped when the test `t` ends. */
export async function startNode(t, ...flags) {
  const directory = mkdtempSync(join(tmpdir(), "miso-node-"));
  const log = join(directory, "log");
  const output = openSync(log, "w");
  // It picks its port itself and tells it: one that was free a moment ago may be another test's by now.
  const server = spawn(binary(), ["--port", "0", "--mdns", "no", ...flags], { cwd: directory, stdio: ["ignore", output, output] });
  closeSync(output);
  let ended = false;
  server.on("error", () => (ended = true));
  server.on("exit", () => (ended = true));
  t.after(() => {
    server.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const text = readFileSync(log, "utf8");
    const port = /Ready to accept connections on 127\.0\.0\.1:(\d+)\n/.exec(text)?.[1];
    if (port) {
      const url = (login = "") => `redis://${login}${login && "@"}127.0.0.1:${port}`;
      return { port, url, log: () => readFileSync(log, "utf8") };
    }
    if (ended || Date.now() > end) throw new Error(`the server is not ready:\n${text}`);
    await sleep(5);
  }
}

/**
 * Cuts the connection of `client` by `cut`, and waits until it has another: a client may fail what it is asked in
 * between. Its errors in between are part of that, so this is not `once`, which rejects on them.
 */
export async function reconnected(client, cut) {
  let late;
  const ready = new Promise((resolve, reject) => {
    client.once("ready", resolve);
    late = setTimeout(reject, DEADLINE_MS, new Error("the client does not reconnect"));
  });
  try {
    await Promise.all([ready, cut()]);
  } finally {
    clearTimeout(late);
  }
}

/** A map as an object, whichever shape the client gave it. */
export function pairs(reply) {
  if (reply instanceof Map) return Object.fromEntries(reply);
  if (!Array.isArray(reply)) return { ...reply };
  return Object.fromEntries(Array.from({ length: reply.length / 2 }, (_, i) => [reply[2 * i], reply[2 * i + 1]]));
}

/** What every client must be able to do with every type, through `call(command, ...args)`. */
export const types = [
  [
    "GCounter",
    async (call, assert) => {
      assert.equal(await call("GCOUNTER.GET", "o", "n"), 0);
      assert.equal(await call("GCOUNTER.ADD", "o", "n"), 1);
      assert.equal(await call("GCOUNTER.ADD", "o", "n", "41"), 42);
      assert.deepEqual(await call("GCOUNTER.MADD", "o", "n", "1", "m", "2"), [43, 2]);
      assert.deepEqual(await call("GCOUNTER.MGET", "o", "n", "m", "x"), [43, 2, 0]);
      await assert.rejects(() => call("GCOUNTER.ADD", "o", "n", "-1"), /a grow-only counter cannot decrease/);
      await assert.rejects(() => call("GCOUNTER.ADD", "o", "n", "1.5"), /value is not an integer or out of range/);
      await assert.rejects(() => call("ORSET.ADD", "o", "n", "a"), /^\w*Error: WRONGTYPE/);
    },
  ],
  [
    "PNCounter",
    async (call, assert) => {
      assert.equal(await call("PNCOUNTER.ADD", "o", "n", "5"), 5);
      assert.equal(await call("PNCOUNTER.SUB", "o", "n", "8"), -3);
      assert.deepEqual(await call("PNCOUNTER.MADD", "o", "n", "1", "m", "-2"), [-2, -2]);
      assert.equal(await call("PNCOUNTER.GET", "o", "n"), -2);
    },
  ],
  ...["GSET", "ORSET"].map((kind) => [
    kind,
    async (call, assert) => {
      assert.equal(await call(`${kind}.ADD`, "o", "n", "a", "b", "c"), 3);
      assert.equal(await call(`${kind}.ADD`, "o", "n", "a"), 0);
      assert.equal(await call(`${kind}.CARD`, "o", "n"), 3);
      assert.deepEqual([...(await call(`${kind}.MEMBERS`, "o", "n"))].sort(), ["a", "b", "c"]);
      assert.equal(Number(await call(`${kind}.ISMEMBER`, "o", "n", "a")), 1);
      assert.deepEqual((await call(`${kind}.MISMEMBER`, "o", "n", "a", "x")).map(Number), [1, 0]);
      const [cursor, page] = await call(`${kind}.SCAN`, "o", "n", "0", "COUNT", "100");
      assert.deepEqual([cursor, [...page].sort()], ["0", ["a", "b", "c"]]);
      if (kind === "GSET") return;
      assert.equal(await call("ORSET.REM", "o", "n", "a", "x"), 1);
      assert.equal(await call("ORSET.CLEAR", "o", "n"), 2);
      assert.deepEqual([...(await call("ORSET.MEMBERS", "o", "n"))], []);
    },
  ]),
  [
    "MVRegister",
    async (call, assert) => {
      assert.equal(await call("MVREG.VALUE", "o", "n"), null);
      assert.deepEqual(await call("MVREG.GET", "o", "n"), []);
      assert.equal(await call("MVREG.SET", "o", "n", "héllo wörld"), "OK");
      assert.equal(await call("MVREG.VALUE", "o", "n"), "héllo wörld");
      assert.deepEqual(await call("MVREG.GET", "o", "n"), ["héllo wörld"]);
    },
  ],
  [
    "EWFlag",
    async (call, assert) => {
      assert.equal(Number(await call("EWFLAG.GET", "o", "n")), 0);
      assert.equal(await call("EWFLAG.ENABLE", "o", "n"), 1);
      assert.equal(Number(await call("EWFLAG.GET", "o", "n")), 1);
      assert.equal(await call("EWFLAG.SET", "o", "n", "0"), 1);
      assert.equal(await call("EWFLAG.DISABLE", "o", "n"), 0);
    },
  ],
  [
    "ORMap",
    async (call, assert) => {
      assert.equal(await call("ORMAP.SET", "o", "n", "f", "1", "g", "2"), 2);
      assert.equal(await call("ORMAP.INCRBY", "o", "n", "c", "5"), 5);
      assert.equal(await call("ORMAP.GET", "o", "n", "f"), "1");
      assert.deepEqual(await call("ORMAP.GETMV", "o", "n", "f"), ["1"]);
      assert.deepEqual(await call("ORMAP.MGET", "o", "n", "f", "x"), ["1", null]);
      assert.deepEqual(pairs(await call("ORMAP.GETALL", "o", "n")), { f: "1", g: "2", c: "5" });
      assert.deepEqual([...(await call("ORMAP.KEYS", "o", "n"))].sort(), ["c", "f", "g"]);
      assert.equal(await call("ORMAP.DEL", "o", "n", "f", "x"), 1);
      assert.equal(await call("ORMAP.LEN", "o", "n"), 2);
    },
  ],
];
