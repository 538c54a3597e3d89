// Rate limits: express-rate-limit, with a store of INCR and EXPIRE.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import express from "express";
import { rateLimit } from "express-rate-limit";
import { RedisStore } from "rate-limit-redis";
import { twoNodes, until } from "./nodes.js";

/** A store as express-rate-limit wants it: a counter for each client and window. */
class CounterStore {
  constructor(client) {
    this.client = client;
  }

  init({ windowMs }) {
    this.windowMs = windowMs;
  }

  async increment(key) {
    const [totalHits, , left] = await this.client
      .multi()
      .incr(`hits:${key}`)
      .pExpire(`hits:${key}`, this.windowMs, "NX")
      .pTTL(`hits:${key}`)
      .exec();
    return { totalHits, resetTime: new Date(Date.now() + left) };
  }

  async decrement(key) {
    await this.client.decr(`hits:${key}`);
  }

  async resetKey(key) {
    await this.client.del(`hits:${key}`);
  }
}

async function site(t, store, limit) {
  const app = express();
  app.use(rateLimit({ windowMs: 60_000, limit, store, keyGenerator: () => "ada", validate: false }));
  app.get("/", (_, response) => response.send("ok"));
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return async () => (await fetch(`http://127.0.0.1:${server.address().port}/`)).status;
}

test("express-rate-limit: nodes count together, and what they counted while apart is added up", async (t) => {
  const nodes = await twoNodes(t);
  const clients = [await nodes.client(0), await nodes.client(1)];
  const [left, right] = await Promise.all(clients.map((client) => site(t, new CounterStore(client), 10)));
  const hits = async (node) => Number(await clients[node].get("hits:ada"));
  for (let i = 0; i < 2; i++) assert.equal(await left(), 200);
  for (let i = 0; i < 2; i++) assert.equal(await right(), 200);
  await until(async () => (await hits(0)) === 4 && (await hits(1)) === 4, "the sum");

  await nodes.do("cut");
  for (let i = 0; i < 4; i++) assert.equal(await left(), 200);
  for (let i = 0; i < 4; i++) assert.equal(await right(), 200);
  await nodes.do("heal");
  await until(async () => (await hits(0)) === 12 && (await hits(1)) === 12, "the sum after the cut");
  assert.deepEqual([await left(), await right()], [429, 429]);
  const time = await clients[1].pTTL("hits:ada");
  assert.ok(time > 0 && time <= 60_000, `the counter has a deadline: ${time} ms`);
});

test("rate-limit-redis counts in a script, which is refused by name", async (t) => {
  const nodes = await twoNodes(t);
  const client = await nodes.client(0);
  const store = new RedisStore({ sendCommand: (...words) => client.sendCommand(words) });
  const refused = /'script' is not served: .*docs\/compatibility\.md#script/;
  await assert.rejects(store.init({ windowMs: 60_000 }), refused);
});
