// A proxy loses replies between ioredis, with its defaults, and two nodes: what has an id counts once.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";
import { startCluster, until } from "./cluster.js";

const WRITES = 40;

/** A port in front of the node at `url`. Every third reply to an increment is lost, and its connection ends. */
async function losing(t, url) {
  const { hostname, port, username } = new URL(url);
  const proxy = { lost: 0 };
  let increments = 0;
  const server = createServer((client) => {
    const node = connect(Number(port), hostname);
    let asked = false;
    const end = () => {
      client.destroy();
      node.destroy();
    };
    client.on("data", (bytes) => {
      asked ||= /incr/i.test(bytes.toString("latin1"));
      node.write(bytes);
    });
    node.on("data", (bytes) => {
      if (asked && ++increments % 3 === 0) {
        proxy.lost += 1;
        return end();
      }
      asked = false;
      client.write(bytes);
    });
    for (const side of [client, node]) side.on("error", end).on("close", end);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  proxy.open = () => {
    const redis = new Redis(server.address().port, { username, password: "-" });
    redis.on("error", () => {}); // It connects again.
    t.after(() => redis.disconnect());
    return redis;
  };
  return proxy;
}

test("ioredis sends again what had no reply: without an id that counts again, with one it does not", async (t) => {
  const cluster = await startCluster(t, 2);
  const proxies = await Promise.all([0, 1].map((node) => losing(t, cluster.url(node))));
  const clients = proxies.map((proxy) => proxy.open());
  const nodes = [0, 1].map((node) => new Redis(cluster.url(node)));
  for (const node of nodes) node.on("error", () => {}); // The cluster ends first.
  t.after(() => nodes.forEach((node) => node.disconnect()));

  for (let i = 0; i < WRITES; i++) await clients[0].incr("plain");
  assert.ok(Number(await nodes[0].get("plain")) > WRITES, "its resends have counted");

  const sent = [];
  for (let i = 0; i < WRITES; i++) {
    const write = (client) => client.call("MISO.ONCE", `id-${i}`, "INCR", "once");
    const first = write(clients[i % 2]);
    sent.push(first);
    // The program does not wait for long and asks the other node. ioredis goes on with the first.
    const came = await Promise.race([first.then(() => true), sleep(20, false)]);
    if (!came) sent.push(write(clients[(i + 1) % 2]));
  }
  await Promise.all(sent);
  assert.ok(sent.length > WRITES, "some were asked for on both nodes");
  assert.ok(proxies.every((proxy) => proxy.lost > 0), "both have lost replies");
  const sums = async () => Promise.all(nodes.map((node) => node.get("once")));
  await until(async () => (await sums()).every((sum) => sum === String(WRITES)), `both sums are ${WRITES}`);
});
