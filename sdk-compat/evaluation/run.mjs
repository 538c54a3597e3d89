// The paper's AllReduce through functions, on MISO, Redis and MinIO by turns. Prints JSON.
//
//   node run.mjs [--repetitions 20] [--calls 1000]
//
// MISO_SERVER, OF_WATCHDOG, REDIS_SERVER and MINIO name the programs; what the last two do not name is left out.
// `cargo xtask bench functions` sets them, and makes docs/evaluation.md of what this prints.
import { rmSync, mkdtempSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { Client } from "minio";
import { Processes } from "./processes.mjs";
import { usability } from "./usability.mjs";

const REPLICAS = 5;
const IN_FLIGHT = 5;
const CHUNK = 1_000;
const PRELOAD = join(import.meta.dirname, "..", "node", "lib", "preload.cjs");

const { values } = parseArgs({ options: { repetitions: { type: "string", default: "20" }, calls: { type: "string", default: "1000" } } });
const repetitions = Number(values.repetitions);
const calls = Number(values.calls);
const numbers = calls * CHUNK;
const expected = (numbers * (numbers - 1)) / 2;
const agent = new Agent({ keepAlive: true });

/** Calls a replica; answers its result, or throws what it says. */
function call(port, body) {
  const bytes = Buffer.from(JSON.stringify(body));
  const headers = { "content-type": "application/json", "content-length": bytes.length };
  return new Promise((resolve, reject) => {
    const sent = request({ agent, host: "127.0.0.1", port, method: "POST", headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`a function answers ${response.statusCode}: ${text}`));
      });
    });
    sent.on("error", reject);
    sent.end(bytes);
  });
}

/** The tokens that cover all calls: one of a call that began after another had ended replaces that one's. */
class Tokens {
  kept = [];

  add(port, began, token) {
    if (!token) return;
    this.kept = this.kept.filter((other) => other.port !== port || other.ended > began);
    this.kept.push({ port, ended: performance.now(), token });
  }

  all() {
    return [...new Set(this.kept.map(({ token }) => token))];
  }
}

/** One repetition: all calls, IN_FLIGHT at a time, then reads until one is right. */
async function repeat(ports, run, number) {
  const tokens = new Tokens();
  let next = 0;
  const lane = async () => {
    while (next < calls) {
      const chunk = next++;
      const port = ports[chunk % ports.length];
      const part = Array.from({ length: CHUNK }, (_, i) => chunk * CHUNK + i);
      const began = performance.now();
      const { token } = await call(port, { action: "write", run, numbers: part });
      tokens.add(port, began, token);
    }
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const written = performance.now();
  let reads = 0;
  for (const end = Date.now() + 60_000; ; ) {
    const { result } = await call(ports[number % ports.length], { action: "result", run, tokens: tokens.all() });
    reads += 1;
    if (result === expected) break;
    if (result > expected || Date.now() > end) throw new Error(`${run}: ${result} instead of ${expected}`);
  }
  return { write: written - began, read: performance.now() - written, reads };
}

/** Everything that runs, and the ports of each variant's replicas. */
async function start(processes) {
  const [mesh, single] = [await processes.nodes("mesh", REPLICAS), await processes.nodes("single", 1)];
  const miso = (name, nodes) => (replica) => ({
    MISO_URL: `redis://${name}:-@127.0.0.1:${nodes[replica % nodes.length]}`,
    MISO_REPLICA_ID: `${name}-${replica}`,
    NODE_OPTIONS: `--require=${PRELOAD}`,
  });
  const variants = [
    { id: "miso", handler: "miso", environment: miso("miso", mesh) },
    { id: "miso-token", handler: "miso-token", environment: miso("miso-token", mesh) },
    { id: "miso-one-node", handler: "miso", environment: miso("miso-one-node", single) },
  ];
  const skipped = [];
  if (process.env.REDIS_SERVER) {
    const url = await processes.redis();
    for (const id of ["redis", "redis-kept"]) variants.push({ id, handler: id, environment: () => ({ REDIS_URL: url }) });
  } else skipped.push({ id: "redis", why: "REDIS_SERVER names no program" });
  if (process.env.MINIO) {
    const settings = await processes.minio();
    const client = new Client({ endPoint: settings.MINIO_HOST, port: Number(settings.MINIO_PORT), useSSL: false,
      accessKey: settings.MINIO_ACCESS_KEY, secretKey: settings.MINIO_SECRET_KEY });
    await client.makeBucket(settings.MINIO_BUCKET);
    variants.push({ id: "minio", handler: "minio", environment: () => settings });
  } else skipped.push({ id: "minio", why: process.env.NO_MINIO ?? "MINIO names no program" });
  for (const variant of variants) {
    variant.ports = [];
    for (let replica = 0; replica < REPLICAS; replica += 1) {
      variant.ports.push(await processes.replica(`${variant.id}-${replica}`, variant.handler, variant.environment(replica)));
    }
    variant.measured = [];
  }
  return { variants, skipped };
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), "miso-evaluation-"));
  const processes = new Processes(folder);
  const stop = () => processes.end().then(() => process.exit(1));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, stop);
  try {
    const { variants, skipped } = await start(processes);
    // One repetition beyond those asked for goes first and does not count: it warms everything up.
    for (let number = 0; number <= repetitions; number += 1) {
      for (const { id, ports, measured } of variants) {
        const figures = await repeat(ports, `${id}-${number}`, number);
        if (number > 0) measured.push(figures);
        process.stderr.write(`${id} ${number}/${repetitions}: ${Math.round(figures.write)} + ${Math.round(figures.read)} ms, ${figures.reads} reads\n`);
      }
    }
    const watchdog = basename(process.env.OF_WATCHDOG);
    const runs = variants.map(({ id, measured }) => ({ id, runs: measured }));
    console.log(JSON.stringify({ calls, chunk: CHUNK, in_flight: IN_FLIGHT, replicas: REPLICAS, expected, watchdog, variants: runs, skipped, usability: await usability() }));
  } finally {
    agent.destroy();
    await processes.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
