// What applications do with hashes and sorted sets: carts, leaderboards, sessions as Spring keeps them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { twoNodes, until } from "./nodes.js";

test("a shopping cart: what is put in on both nodes while apart is all there, and counted together", async (t) => {
  const nodes = await twoNodes(t);
  const [left, right] = [await nodes.client(0), await nodes.client(1)];
  await left.hSet("cart:ada", { book: 1, pen: 2 });
  await left.expire("cart:ada", 3600);
  await until(async () => (await right.hLen("cart:ada")) === 2, "the cart on the other node");

  await nodes.do("cut");
  await left.hIncrBy("cart:ada", "book", 1);
  await right.hIncrBy("cart:ada", "book", 3);
  await right.hSet("cart:ada", "lamp", 1);
  await left.hDel("cart:ada", "pen");
  await nodes.do("heal");
  const expected = { book: "5", lamp: "1" };
  for (const client of [left, right]) {
    await until(async () => JSON.stringify(sorted(await client.hGetAll("cart:ada"))) === JSON.stringify(expected), "the cart");
    const time = await client.ttl("cart:ada");
    assert.ok(time > 3000 && time <= 3600, `${time} seconds`);
  }
  assert.equal(await left.del("cart:ada"), 1);
  await until(async () => (await right.exists("cart:ada")) === 0, "the end of the cart");
});

const sorted = (fields) => Object.fromEntries(Object.entries(fields).sort());

test("a leaderboard: points of both nodes are added up, and the ranks agree", async (t) => {
  const nodes = await twoNodes(t);
  const [left, right] = [await nodes.client(0), await nodes.client(1)];
  await left.zAdd("game", [{ value: "ada", score: 100 }, { value: "bob", score: 90 }, { value: "cleo", score: 80 }]);
  await until(async () => (await right.zCard("game")) === 3, "the board on the other node");

  await nodes.do("cut");
  await left.zIncrBy("game", 5, "bob");
  await right.zIncrBy("game", 10, "bob");
  await right.zAdd("game", { value: "dan", score: 99 });
  await left.zAdd("game", { value: "cleo", score: 70 }, { comparison: "GT" });
  assert.equal(await left.zRevRank("game", "ada"), 0);
  await nodes.do("heal");
  const board = [["bob", 105], ["ada", 100], ["dan", 99], ["cleo", 80]];
  for (const client of [left, right]) {
    const top = async () => (await client.zRangeWithScores("game", 0, -1, { REV: true })).map(({ value, score }) => [value, score]);
    await until(async () => JSON.stringify(await top()) === JSON.stringify(board), "the board");
    assert.equal(await client.zRevRank("game", "bob"), 0);
    assert.deepEqual(await client.zRange("game", 95, 100, { BY: "SCORE" }), ["dan", "ada"]);
  }
});

test("sessions as hashes with a deadline: both nodes see each end", async (t) => {
  const nodes = await twoNodes(t, "--notify-keyspace-events", "Egx");
  const [left, right] = [await nodes.client(0), await nodes.client(1)];
  const listeners = [await nodes.client(0), await nodes.client(1)];
  const ended = [[], []];
  for (const [i, listener] of listeners.entries()) {
    await listener.pSubscribe("__keyevent@0__:*", (key, channel) => ended[i].push(`${channel.split(":")[1]} ${key}`));
  }
  await left.multi().hSet("session:1", { user: "ada", at: 1 }).pExpire("session:1", 1500).exec();
  await left.multi().hSet("session:2", { user: "bob", at: 1 }).expire("session:2", 600).exec();
  await until(async () => (await right.hGet("session:1", "user")) === "ada", "the session on the other node");
  await right.hSet("session:2", "at", 2);
  await until(async () => (await left.hGet("session:2", "at")) === "2", "what the other node wrote");
  await left.del("session:2");
  for (const events of ended) {
    await until(() => events.includes("expired session:1"), "the end by itself");
    await until(() => events.includes("del session:2"), "the end by DEL");
  }
  assert.deepEqual(await right.hGetAll("session:1"), {});
});

test("databases: a client that chooses one by its options or its URL finds it on both nodes", async (t) => {
  const nodes = await twoNodes(t);
  const open = async (options) => {
    const client = createClient(options);
    client.on("error", () => {});
    await client.connect();
    t.after(() => client.destroy());
    return client;
  };
  const left = await open({ url: nodes.url(0), database: 2 });
  const right = await open({ url: `${nodes.url(1)}/2` });
  await left.set("k", "two");
  await until(async () => (await right.get("k")) === "two", "the key in the other node's database");
  assert.equal(await (await nodes.client(1)).get("k"), null);
  await right.select(0);
  assert.equal(await right.get("k"), null);
});

test("databases: ioredis, and a transaction that chooses one", async (t) => {
  const nodes = await twoNodes(t);
  const clients = [new Redis(nodes.url(0), { db: 2 }), new Redis(`${nodes.url(1)}/2`), new Redis(nodes.url(1))];
  t.after(() => clients.forEach((client) => client.disconnect()));
  const [left, right, other] = clients;
  await left.set("k", "two");
  await until(async () => (await right.get("k")) === "two", "the key in the other node's database");
  assert.equal(await other.get("k"), null);
  const replies = await right.multi().select(3).set("k", "three").get("k").exec();
  assert.deepEqual(replies.map(([, reply]) => reply), ["OK", "OK", "three"]);
  await left.select(3);
  await until(async () => (await left.get("k")) === "three", "what the transaction wrote");
});
