// ioredis, unmodified, in RESP2 and RESP3.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Redis } from "ioredis";
import { pairs, reconnected, startNode, types } from "./node.js";

async function open(t, node, protocol, login = "", options = {}) {
  const client = new Redis(node.url(login), { protocol, ...options });
  t.after(() => client.disconnect());
  await once(client, "ready");
  return client;
}

for (const protocol of [2, 3]) {
  const name = (what) => `ioredis, RESP${protocol}: ${what}`;

  for (const [type, play] of types) {
    test(name(type), async (t) => {
      const client = await open(t, await startNode(t), protocol);
      await play((...args) => client.call(...args), assert);
    });
  }

  test(name("the protocol is the one that was asked for"), async (t) => {
    const client = await open(t, await startNode(t), protocol);
    assert.match(await client.client("INFO"), new RegExp(`resp=${protocol}`));
  });

  test(name("MULTI"), async (t) => {
    const node = await startNode(t);
    const client = await open(t, node, protocol);
    const replies = await client
      .multi()
      .call("GCOUNTER.ADD", "o", "n", "5")
      .call("ORSET.ADD", "o", "s", "a", "b")
      .call("GCOUNTER.GET", "o", "n")
      .exec();
    assert.deepEqual(replies, [[null, 5], [null, 2], [null, 5]]);

    await client.watch("o");
    const other = await open(t, node, protocol);
    await other.call("GCOUNTER.ADD", "o", "n");
    assert.equal(await client.multi().call("GCOUNTER.ADD", "o", "n").exec(), null);
  });

  test(name("open mode by URL"), async (t) => {
    const node = await startNode(t);
    const client = await open(t, node, protocol, "checkout:-");
    assert.equal(await client.call("MISO.FUNCTION"), "checkout");
    await client.call("GCOUNTER.ADD", "o", "n", "7");
    const other = await open(t, node, protocol);
    assert.equal(await other.call("GCOUNTER.GET", "o", "n"), 0);

    // Its connection is cut; the next one speaks for the same function.
    const id = await client.call("CLIENT", "ID");
    await reconnected(client, () => other.call("CLIENT", "KILL", "ID", String(id)));
    assert.equal(await client.call("MISO.FUNCTION"), "checkout");
    assert.equal(await client.call("GCOUNTER.GET", "o", "n"), 7);
  });

  test(name("messages of changed objects"), async (t) => {
    const node = await startNode(t);
    const client = await open(t, node, protocol);
    const listener = await open(t, node, protocol);
    const message = once(listener, "message");
    const matched = once(listener, "pmessage");
    await listener.subscribe("__miso__:default:o");
    await listener.psubscribe("__miso__:*");
    await client.call("EWFLAG.ENABLE", "o", "open");
    const [channel, text] = await message;
    assert.equal(channel, "__miso__:default:o");
    assert.match(text, /open/);
    assert.match(text, /ewflag/);
    assert.deepEqual((await matched).slice(0, 2), ["__miso__:*", "__miso__:default:o"]);
  });

  test(name("integers above 2^53, with stringNumbers"), async (t) => {
    const client = await open(t, await startNode(t), protocol, "", { stringNumbers: true });
    const add = (n) => client.call("GCOUNTER.ADD", "o", "n", String(n));
    assert.equal(BigInt(await add(2n ** 53n)), 2n ** 53n);
    assert.equal(BigInt(await add(1n)), 2n ** 53n + 1n);
    assert.equal(BigInt(await add(1n)), 2n ** 53n + 2n);
    assert.equal(BigInt(await client.call("PNCOUNTER.SUB", "o", "p", String(2n ** 63n - 1n))), 1n - 2n ** 63n);
  });

  test(name("objects as keys"), async (t) => {
    const client = await open(t, await startNode(t), protocol);
    const pipeline = client.pipeline();
    for (let i = 0; i < 30; i++) pipeline.call("GCOUNTER.ADD", `object:${i}`, "n", String(i));
    await pipeline.exec();
    const found = [];
    for await (const keys of client.scanStream({ match: "object:1?" })) found.push(...keys);
    assert.deepEqual(found.sort(), Array.from({ length: 10 }, (_, i) => `object:1${i}`));
    assert.equal(await client.type("object:7"), "hash");
    assert.deepEqual(pairs(await client.hgetall("object:7")), { n: "7" });
    assert.equal(await client.ttl("object:7"), -1);
    assert.equal(await client.dbsize(), 30);
    assert.equal(await client.del("object:7", "object:8"), 2);
    await assert.rejects(() => client.hset("object:9", "n", "1"), /WRONGTYPE/);
  });

  test(name("a thousand commands at once"), async (t) => {
    const client = await open(t, await startNode(t), protocol);
    const replies = await Promise.all(Array.from({ length: 1000 }, () => client.call("GCOUNTER.ADD", "o", "n")));
    assert.deepEqual(replies, Array.from({ length: 1000 }, (_, i) => i + 1));
  });

  test(name("a password"), async (t) => {
    const node = await startNode(t, "--requirepass", "pw");
    const client = await open(t, node, protocol, ":pw");
    assert.equal(await client.ping(), "PONG");
    const wrong = new Redis(node.url(":no"), { protocol, lazyConnect: true, retryStrategy: null });
    wrong.on("error", () => {});
    t.after(() => wrong.disconnect());
    await assert.rejects(() => wrong.connect().then(() => wrong.ping()));
  });
}
