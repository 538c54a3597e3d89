// A node with HTTP for one test, and both builds of Upstash's client.
import { setTimeout as sleep } from "node:timers/promises";

import { Redis as Cloudflare } from "@upstash/redis/cloudflare";
import { Redis as Nodejs } from "@upstash/redis";

import { startNode } from "../node/node.js";

const DEADLINE_MS = 30_000;

/** The builds of the client that are tested, by name. */
export const builds = { nodejs: Nodejs, cloudflare: Cloudflare };

/** Waits until `done` gives something; fails with `what` after a deadline. */
export async function until(what, done) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const result = await done();
    if (result) return result;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(5);
  }
}

/** Starts a node with HTTP that is stopped when the test `t` ends. */
export async function startHttp(t, ...flags) {
  const node = await startNode(t, "--peer-port", "0", "--data-dir", "none", "--http-port", "0", ...flags);
  const ready = /Ready to accept HTTP connections on (127\.0\.0\.1:\d+)\n/;
  const address = await until("the HTTP port", () => ready.exec(node.log())?.[1]);
  const peer = await until("the peer port", () => /Listening for nodes .* on (127\.0\.0\.1:\d+)/.exec(node.log())?.[1]);
  return { ...node, http: `http://${address}`, peer };
}
