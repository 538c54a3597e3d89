// Caches: Keyv over @keyv/redis, alone and below cache-manager.
import assert from "node:assert/strict";
import { test } from "node:test";
import KeyvRedis from "@keyv/redis";
import { createCache } from "cache-manager";
import Keyv from "keyv";
import { twoNodes, until } from "./nodes.js";

/** A Keyv on one node. */
function keyv(t, url, namespace) {
  const store = new Keyv({ store: new KeyvRedis(url), namespace, useKeyPrefix: false });
  store.on("error", () => {}); // What fails says so itself.
  t.after(() => store.disconnect());
  return store;
}

test("@keyv/redis: values and their deadlines on both nodes, through a cut", async (t) => {
  const nodes = await twoNodes(t);
  const [left, right] = [0, 1].map((node) => keyv(t, nodes.url(node), "app"));
  const client = await nodes.client(0);
  await left.set("user:1", { name: "ada" }, 600_000);
  await until(async () => (await right.get("user:1"))?.name === "ada", "the value on the other node");
  const time = await client.pTTL("app::user:1");
  assert.ok(time > 590_000 && time <= 600_000, `${time} ms`);

  await nodes.do("cut");
  await left.set("left", 1);
  await right.set("right", [2]);
  await right.delete("user:1");
  assert.equal(await right.get("left"), undefined);
  await nodes.do("heal");
  await until(async () => (await right.get("left")) === 1, "what the left wrote");
  await until(async () => (await left.get("user:1")) === undefined, "what the right deleted");
  assert.deepEqual(await left.get(["left", "right", "user:1"]), [1, [2], undefined]);
  assert.equal(await left.has("right"), true);

  const names = [];
  for await (const [name] of left.iterator()) names.push(name);
  assert.deepEqual(names.sort(), ["left", "right"]);
  await left.clear();
  await until(async () => (await right.get("right")) === undefined, "the empty cache");
});

test("@keyv/redis: many at once, and a value that goes by itself", async (t) => {
  const nodes = await twoNodes(t);
  const [left, right] = [0, 1].map((node) => keyv(t, nodes.url(node), "many"));
  const entries = Array.from({ length: 50 }, (_, i) => ({ key: `k${i}`, value: i }));
  await left.setMany(entries);
  const all = () => right.getMany(entries.map((entry) => entry.key));
  await until(async () => (await all()).every((value, i) => value === i), "all values");
  await left.set("brief", "x", 300);
  await until(async () => (await right.get("brief")) === undefined && (await left.get("brief")) === undefined, "the end");
  await right.deleteMany(["k0", "k1"]);
  await until(async () => (await left.get("k1")) === undefined, "the deletes");
  assert.equal(await left.get("k2"), 2);
});

test("cache-manager: what is computed once is read on both nodes, also while they are apart", async (t) => {
  const nodes = await twoNodes(t);
  const caches = [0, 1].map((node) => createCache({ stores: [keyv(t, nodes.url(node), "cm")], ttl: 600_000 }));
  let computed = 0;
  const price = (cache) => cache.wrap("price", async () => ++computed * 100);
  assert.equal(await price(caches[0]), 100);
  await until(async () => (await caches[1].get("price")) === 100, "the value on the other node");
  assert.equal(await price(caches[1]), 100);

  await nodes.do("cut");
  assert.equal(await price(caches[1]), 100);
  await caches[0].mset([{ key: "a", value: 1 }, { key: "b", value: 2 }]);
  await caches[1].del("price");
  await nodes.do("heal");
  await until(async () => (await caches[1].mget(["a", "b"])).join() === "1,2", "the values of the left");
  await until(async () => (await caches[0].get("price")) === undefined, "the delete of the right");
  await caches[1].clear();
  await until(async () => (await caches[0].get("a")) === undefined, "the empty cache");
});
