// What applications do with hashes: carts.
import assert from "node:assert/strict";
import { test } from "node:test";
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
