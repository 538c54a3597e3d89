// The SDK over both of its clients: every type, errors, batches, registration, changes.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import Redis from "ioredis";
import * as miso from "./lib/index.mjs";
import { startCluster, until } from "./cluster.js";
import { startNode } from "./node.js";

const { MisoObject } = miso;

async function open(t, options) {
  const so = new MisoObject({ id: "TripData-12345", ...options });
  t.after(() => so.close());
  return so;
}

const collect = async (iterable) => {
  const all = [];
  for await (const item of iterable) all.push(item);
  return all;
};

test("one copy for import and require", () => {
  const required = createRequire(import.meta.url)("./lib/index.cjs");
  for (const name of Object.keys(required)) assert.equal(miso[name], required[name], name);
});

for (const [client, extra] of [["node-redis", {}], ["ioredis", { ioredis: Redis }]]) {
  const name = (what) => `SDK over ${client}: ${what}`;
  const start = async (t, ...flags) => {
    const node = await startNode(t, ...flags);
    return { node, so: await open(t, { url: node.url("car:-"), ...extra }) };
  };

  test(name("counters"), async (t) => {
    const { so } = await start(t);
    const counter = so.getGCounter("totalSum");
    assert.equal(await counter.getValue(), 0);
    assert.equal(await counter.add(), 1);
    assert.equal(await counter.add(41n), 42);
    assert.equal(await counter.add(2 ** 53 - 1), NaN);
    await assert.rejects(counter.getValue(), miso.ValueRangeError);
    await assert.rejects(counter.getValue(), RangeError);
    assert.equal(await counter.getBigInt(), 2n ** 53n + 41n);
    await assert.rejects(counter.add(1.5), miso.ArgumentError);
    await assert.rejects(counter.add("1"), miso.ArgumentError);
    await assert.rejects(counter.add(-1), { code: "ReplyError", message: /cannot decrease/ });
    const both = so.getPNCounter("both");
    assert.equal(await both.add(5), 5);
    assert.equal(await both.sub(8), -3);
    assert.equal(await both.getValue(), -3);
    await assert.rejects(so.getORSet("both").add("a"), miso.WrongType);
  });

  test(name("sets"), async (t) => {
    const { so } = await start(t);
    for (const set of [so.getGSet("grow"), so.getORSet("set")]) {
      assert.equal(await set.add("a", 1, 1n, { b: [null] }, 2n ** 60n), 4);
      assert.equal(await set.add(), 0);
      assert.equal(await set.size(), 4);
      assert.equal(await set.has({ b: [null] }), true);
      assert.equal(await set.has("1"), false);
      const value = await set.getValue();
      assert.ok(value instanceof Set && value.has("a") && value.has(1) && value.has(2n ** 60n));
      assert.equal((await collect(set)).length, 4);
    }
    const set = so.getORSet("set");
    assert.equal(await set.delete("a", "x"), 1);
    assert.equal(await set.clear(), 3);
    const bytes = so.getORSet("bytes", { raw: true });
    await bytes.add(Buffer.from([255, 0]), "text");
    assert.equal(await bytes.has(Uint8Array.of(255, 0)), true);
    assert.deepEqual((await collect(bytes)).sort(Buffer.compare), [Buffer.from("text"), Buffer.from([255, 0])]);
    await assert.rejects(so.getORSet("bytes").getValue(), miso.Undecodable);
    const large = so.getGSet("large");
    await large.add(...Array.from({ length: 2500 }, (_, i) => i));
    assert.deepEqual((await collect(large.values())).sort((a, b) => a - b), Array.from({ length: 2500 }, (_, i) => i));
  });

  test(name("registers, flags and maps"), async (t) => {
    const { so } = await start(t);
    const register = so.getMVRegister("r");
    assert.equal(await register.getValue(), undefined);
    await register.assign({ b: 1, a: ["é"] });
    assert.deepEqual(await register.getValue(), { a: ["é"], b: 1 });
    assert.deepEqual(await register.getValues(), [{ a: ["é"], b: 1 }]);
    await assert.rejects(register.assign(NaN), miso.Unencodable);
    await assert.rejects(register.assign(undefined), miso.Unencodable);
    await assert.rejects(register.assign(new Date()), miso.Unencodable);

    const flag = so.getEWFlag("f");
    assert.equal(await flag.getValue(), false);
    assert.equal(await flag.enable(), true);
    assert.equal(await flag.enable(), false);
    assert.equal(await flag.getValue(), true);
    assert.equal(await flag.assign(false), true);
    await assert.rejects(flag.assign(1), miso.ArgumentError);

    const map = so.getORMap("m");
    await map.set("name", "car");
    assert.equal(await map.increment("km", 2n ** 53n), NaN);
    assert.equal(await map.get("name"), "car");
    assert.equal(await map.get("none"), undefined);
    assert.equal(await map.getBigInt("km"), 2n ** 53n);
    assert.deepEqual(await map.getValues("name"), ["car"]);
    assert.equal(await map.has("km"), true);
    assert.equal(await map.size(), 2);
    assert.deepEqual((await map.keys()).sort(), ["km", "name"]);
    assert.equal((await map.getValue()).get("name"), "car");
    assert.deepEqual((await collect(map)).map(([key]) => key).sort(), ["km", "name"]);
    assert.equal(await map.delete("km", "none"), 1);
  });

  test(name("objects, batches and transactions"), async (t) => {
    const { so } = await start(t);
    assert.equal(await so.exists(), false);
    const batch = so.batch();
    const added = batch.getGCounter("n").add(2);
    batch.getORSet("s").add("a", "b");
    batch.getGCounter("n").getValue();
    assert.deepEqual(await batch.send(), [2, 2, 2]);
    assert.equal(await added, 2);
    await assert.rejects(batch.send(), miso.ArgumentError);

    const atomic = so.atomic();
    atomic.getGCounter("n").add(1);
    atomic.getEWFlag("f").enable();
    assert.deepEqual(await atomic.send(), [3, true]);
    const wrong = so.batch();
    wrong.getGCounter("s").add(1);
    wrong.getGCounter("n").add(1);
    await assert.rejects(wrong.send(), miso.WrongType);

    assert.equal(await so.exists("n"), true);
    assert.equal(await so.getGCounter("n").getValue(), 4);
    assert.equal(await so.delete("n"), 1);
    assert.equal(await so.object("other").exists(), false);
    assert.equal(await so.delete(), 2);
    assert.equal(await so.exists(), false);
    const token = await so.token();
    assert.equal(await so.await(token), true);
  });

  test(name("what a login and a URL may lack"), async (t) => {
    const node = await startNode(t, "--requirepass", "pw");
    await assert.rejects((await open(t, { url: node.url("car:no"), ...extra })).exists(), miso.AccessError);
    const so = await open(t, { url: node.url(":pw"), ...extra });
    assert.equal(await so.functionName(), "default");
    await assert.rejects((await open(t, { url: node.url(":pw"), function: "car", ...extra })).exists(), miso.FunctionMismatch);
    const nobody = await open(t, { url: "redis://car:-@127.0.0.1:1", deadline: 200, ...extra });
    await assert.rejects(nobody.getGCounter("n").add(1), { code: "NotSent", message: /no node at 127\.0\.0\.1:1/ });
  });

  test(name("registered again after a reconnect, changes with their gap"), async (t) => {
    const cluster = await startCluster(t, 1);
    const so = await open(t, { url: cluster.url(), ...extra });
    const other = await open(t, { url: cluster.url(0, "watcher"), ...extra });
    await so.register({ replica: "pod-1" });
    const registered = async () => JSON.stringify(await functions(cluster)).includes("pod-1");
    await until(registered, "the registration");

    const watcher = so.watch();
    t.after(() => watcher.close());
    const events = [];
    watcher.on("change", (change) => events.push(change));
    watcher.on("gap", () => events.push("gap"));
    await watcher.ready;
    await so.getGCounter("a name").add(1);
    await until(() => events.length > 0, "the message");
    assert.deepEqual(events[0], { name: "a name", type: "gcounter" });
    await cluster.do("drop 0");
    await until(() => events.includes("gap"), "the gap");
    await until(registered, "the registration after the reconnect");
    await so.getGCounter("b").add(1);
    await until(() => events.some(({ name }) => name === "b"), "the message after the gap");
    assert.equal(await so.unregister(), true);
    assert.equal(await so.unregister(), false);
    assert.equal(await other.functionName(), "watcher");
  });
}

/** MISO.FUNCTIONS, asked by a client of its own. */
async function functions(cluster) {
  const client = new Redis(cluster.url(0, "admin"));
  try {
    return await client.call("MISO.FUNCTIONS");
  } finally {
    client.disconnect();
  }
}

test("objects of a process share one connection", async (t) => {
  const node = await startNode(t);
  const objects = Array.from({ length: 5 }, (_, i) => new MisoObject({ url: node.url("car:-"), id: `o${i}` }));
  await Promise.all(objects.map((so) => so.getGCounter("n").add(1)));
  const client = new Redis(node.url("admin:-"));
  assert.equal((await client.call("CLIENT", "LIST")).trim().split("\n").length, 2);
  for (const so of objects.slice(1)) await so.close();
  assert.equal(await objects[0].getGCounter("n").getValue(), 1);
  await objects[0].close();
  await assert.rejects(objects[0].exists(), miso.NotSent);
  client.disconnect();
});

test("a call's unawaited writes are waited for, and told if they failed", async (t) => {
  const node = await startNode(t);
  const so = await open(t, { url: node.url("car:-") });
  const call = so.forCall("call-1");
  call.getGCounter("n").add(1);
  await call.settled();
  assert.equal(await so.getGCounter("n").getValue(), 1);
  const failing = so.forCall();
  failing.getORSet("n").add("a");
  await assert.rejects(failing.settled(), miso.WrongType);
  const caught = so.forCall();
  await caught.getORSet("n").add("a").catch(() => {});
  await caught.settled();
  assert.throws(() => so.forCall("x".repeat(64)), miso.ArgumentError);
  for (const each of [call, failing, caught]) await each.close();
});
