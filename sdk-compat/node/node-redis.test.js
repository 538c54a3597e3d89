// node-redis, unmodified, in RESP2 and RESP3.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, RESP_TYPES } from "redis";
import { pairs, reconnected, startNode, types } from "./node.js";

async function open(t, node, RESP, login = "", options = {}) {
  const client = createClient({ url: node.url(login), RESP, ...options });
  client.on("error", () => {}); // A command that fails says so itself.
  await client.connect();
  t.after(() => client.destroy());
  return client;
}

for (const RESP of [2, 3]) {
  const name = (what) => `node-redis, RESP${RESP}: ${what}`;

  for (const [type, play] of types) {
    test(name(type), async (t) => {
      const client = await open(t, await startNode(t), RESP);
      await play((...args) => client.sendCommand(args), assert);
    });
  }

  test(name("MULTI"), async (t) => {
    const node = await startNode(t);
    const client = await open(t, node, RESP);
    const replies = await client
      .multi()
      .addCommand(["GCOUNTER.ADD", "o", "n", "5"])
      .addCommand(["ORSET.ADD", "o", "s", "a", "b"])
      .addCommand(["GCOUNTER.GET", "o", "n"])
      .exec();
    assert.deepEqual(replies, [5, 2, 5]);

    await client.watch("o");
    const other = await open(t, node, RESP);
    await other.sendCommand(["GCOUNTER.ADD", "o", "n"]);
    await assert.rejects(() => client.multi().addCommand(["GCOUNTER.ADD", "o", "n"]).exec(), /WatchError|watched keys/i);
  });

  test(name("open mode by URL"), async (t) => {
    const node = await startNode(t);
    const client = await open(t, node, RESP, "checkout:-");
    assert.equal(await client.sendCommand(["MISO.FUNCTION"]), "checkout");
    await client.sendCommand(["GCOUNTER.ADD", "o", "n", "7"]);
    const other = await open(t, node, RESP);
    assert.equal(await other.sendCommand(["GCOUNTER.GET", "o", "n"]), 0);

    // Its connection is cut; the next one speaks for the same function.
    const id = await client.sendCommand(["CLIENT", "ID"]);
    await reconnected(client, () => other.sendCommand(["CLIENT", "KILL", "ID", String(id)]));
    assert.equal(await client.sendCommand(["MISO.FUNCTION"]), "checkout");
    assert.equal(await client.sendCommand(["GCOUNTER.GET", "o", "n"]), 7);
  });

  test(name("messages of changed objects"), async (t) => {
    const node = await startNode(t);
    const client = await open(t, node, RESP);
    const listener = await open(t, node, RESP);
    let exact, matched;
    const messages = [new Promise((resolve) => (exact = resolve)), new Promise((resolve) => (matched = resolve))];
    await listener.subscribe("__miso__:default:o", (...message) => exact(message));
    await listener.pSubscribe("__miso__:*", (...message) => matched(message));
    await listener.ping();
    await client.sendCommand(["EWFLAG.ENABLE", "o", "open"]);
    for (const [text, channel] of await Promise.all(messages)) {
      assert.equal(channel, "__miso__:default:o");
      assert.match(text, /open/);
      assert.match(text, /ewflag/);
    }
  });

  test(name("integers above 2^53, with the mapping that keeps them"), async (t) => {
    const client = await open(t, await startNode(t), RESP, "", {
      commandOptions: { typeMapping: { [RESP_TYPES.NUMBER]: String } },
    });
    const add = (n) => client.sendCommand(["GCOUNTER.ADD", "o", "n", String(n)]);
    assert.equal(BigInt(await add(2n ** 53n)), 2n ** 53n);
    assert.equal(BigInt(await add(1n)), 2n ** 53n + 1n);
    assert.equal(BigInt(await add(1n)), 2n ** 53n + 2n);
    assert.equal(BigInt(await client.sendCommand(["PNCOUNTER.SUB", "o", "p", String(2n ** 63n - 1n)])), 1n - 2n ** 63n);
  });

  test(name("objects as keys"), async (t) => {
    const client = await open(t, await startNode(t), RESP);
    for (let i = 0; i < 30; i++) await client.sendCommand(["GCOUNTER.ADD", `object:${i}`, "n", String(i)]);
    const found = [];
    for await (const keys of client.scanIterator({ MATCH: "object:1?" })) found.push(...keys);
    assert.deepEqual(found.sort(), Array.from({ length: 10 }, (_, i) => `object:1${i}`));
    assert.equal(await client.type("object:7"), "hash");
    assert.deepEqual(pairs(await client.hGetAll("object:7")), { n: "7" });
    assert.equal(await client.hGet("object:7", "n"), "7");
    assert.equal(await client.ttl("object:7"), -1);
    assert.equal(await client.dbSize(), 30);
    assert.equal(await client.del(["object:7", "object:8"]), 2);
    await assert.rejects(() => client.hSet("object:9", "n", "1"), /WRONGTYPE/);
    assert.match(await client.info("server"), /redis_mode:standalone/);
    assert.deepEqual(pairs(await client.configGet("maxmemory")), { maxmemory: "0" });
  });

  test(name("a thousand commands at once"), async (t) => {
    const client = await open(t, await startNode(t), RESP);
    const replies = await Promise.all(Array.from({ length: 1000 }, () => client.sendCommand(["GCOUNTER.ADD", "o", "n"])));
    assert.deepEqual(replies, Array.from({ length: 1000 }, (_, i) => i + 1));
  });

  test(name("a password"), async (t) => {
    const node = await startNode(t, "--requirepass", "pw");
    const client = await open(t, node, RESP, ":pw");
    assert.equal(await client.ping(), "PONG");
    const wrong = createClient({ url: node.url(":no"), RESP, socket: { reconnectStrategy: false } });
    wrong.on("error", () => {});
    await assert.rejects(() => wrong.connect(), /WRONGPASS/);
  });
}
