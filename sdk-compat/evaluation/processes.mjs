// The processes of the evaluation: nodes, the other stores, and replicas of functions under the watchdog.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, openSync, closeSync, readFileSync, symlinkSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const PATIENCE_MS = 60_000;
const HOST = "127.0.0.1";
const here = import.meta.dirname;

export async function freePort() {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Processes that end together, with their logs in one folder. */
export class Processes {
  constructor(folder) {
    this.folder = folder;
    this.running = [];
  }

  /** Starts a program; its environment is `more` and what programs need. */
  start(name, program, args, more = {}, cwd = this.folder) {
    const log = join(this.folder, `${name}.log`);
    const output = openSync(log, "w");
    const { PATH, HOME } = process.env;
    const child = spawn(program, args, { cwd, env: { PATH, HOME, ...more }, stdio: ["ignore", output, output] });
    closeSync(output);
    child.once("error", () => {});
    this.running.push(child);
    return { child, name, log };
  }

  /** Waits until something listens on the port. */
  async listening({ child, name, log }, port) {
    for (const end = Date.now() + PATIENCE_MS; ; await sleep(10)) {
      const socket = connect(port, HOST);
      const listens = await Promise.race([once(socket, "connect"), once(socket, "close")]).then(
        () => !socket.destroyed && socket.readyState === "open",
        () => false,
      );
      socket.destroy();
      if (listens) return;
      if (child.exitCode !== null || Date.now() > end) throw new Error(`${name} does not listen on port ${port}:\n${readFileSync(log, "utf8")}`);
    }
  }

  /** Nodes in memory, each joined to the first; answers their ports. */
  async nodes(name, count) {
    const ports = [];
    let seed;
    for (let number = 1; number <= count; number += 1) {
      const [port, peers] = [await freePort(), await freePort()];
      const args = ["--port", port, "--peer-port", peers, "--mdns", "no", "--data-dir", "none", "--node-name", `${name}-${number}`];
      if (seed) args.push("--join", `${HOST}:${seed}`);
      seed ??= peers;
      await this.listening(this.start(`${name}-${number}`, process.env.MISO_SERVER, args.map(String)), port);
      ports.push(port);
    }
    return ports;
  }

  /** A Redis in memory; answers its URL. */
  async redis() {
    const port = await freePort();
    const args = ["--bind", HOST, "--port", String(port), "--save", "", "--appendonly", "no"];
    await this.listening(this.start("redis", process.env.REDIS_SERVER, args), port);
    return `redis://${HOST}:${port}`;
  }

  /** A MinIO on the disk; answers what its functions need to know. */
  async minio() {
    const [port, console] = [await freePort(), await freePort()];
    const [user, password] = ["evaluation", "not-a-secret"];
    const args = ["server", "--quiet", "--address", `${HOST}:${port}`, "--console-address", `${HOST}:${console}`, join(this.folder, "minio")];
    const secrets = { MINIO_ROOT_USER: user, MINIO_ROOT_PASSWORD: password, MINIO_BROWSER: "off", MINIO_UPDATE: "off" };
    await this.listening(this.start("minio", process.env.MINIO, args, secrets), port);
    return { MINIO_HOST: HOST, MINIO_PORT: String(port), MINIO_ACCESS_KEY: user, MINIO_SECRET_KEY: password, MINIO_BUCKET: "allreduce" };
  }

  /** A replica of a function in the stock templates' server under the watchdog; answers its port once it listens. */
  async replica(name, handler, environment) {
    const folder = join(this.folder, name);
    cpSync(join(here, "..", "testing", "stock-node"), folder, { recursive: true });
    mkdirSync(join(folder, "function"), { recursive: true });
    cpSync(join(here, handler), join(folder, "function"), { recursive: true });
    symlinkSync(join(here, "node_modules"), join(folder, "node_modules"));
    const [inner, outer] = [await freePort(), await freePort()];
    const variables = { mode: "http", fprocess: `${process.execPath} index.js`, suppress_lock: "true", write_timeout: "60s" };
    Object.assign(variables, { exec_timeout: "60s", http_port: inner, port: outer, upstream_url: `http://${HOST}:${inner}` });
    const started = this.start(name, process.env.OF_WATCHDOG, [], { ...variables, ...environment }, folder);
    await this.listening(started, inner);
    await this.listening(started, outer);
    return outer;
  }

  async end() {
    for (const child of this.running) child.kill("SIGKILL");
    await Promise.all(this.running.map((child) => child.pid && child.exitCode === null && child.signalCode === null && once(child, "exit")));
  }
}
