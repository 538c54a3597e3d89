// A smart car on three nodes: what it counted is exact, whatever the network and the nodes do.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import Redis from "ioredis";
import { MisoObject, UnknownOutcome, Unreachable } from "./lib/index.mjs";
import { startCluster, until } from "./cluster.js";

const TRIP = "TripData-12345";

function drive(t, cluster, node, options = {}) {
  const so = new MisoObject({ url: cluster.url(node), id: TRIP, ...options });
  t.after(() => so.close());
  return { so, distance: so.getPNCounter("distanceDriven"), alerts: so.getORSet("alerts") };
}

test("a cut: every node goes on, and all agree after it", async (t) => {
  const cluster = await startCluster(t);
  const cars = [0, 1, 2].map((node) => drive(t, cluster, node));
  const all = async (distance) => {
    const values = await Promise.all(cars.map((car) => car.distance.getValue()));
    return values.every((value) => value === distance);
  };
  for (const car of cars) await car.distance.add(1);
  await until(() => all(3), "agreement");
  await cluster.do("cut");
  for (const [i, car] of cars.entries()) await car.distance.add(10 * (i + 1));
  await cars[0].alerts.add("low tyre", { code: 7 });
  await cars[1].alerts.add("low tyre");
  assert.equal(await cars[0].distance.getValue(), 13);
  await cluster.do("heal");
  await until(() => all(63), "agreement after the cut");
  const token = await cars[1].so.token();
  assert.equal(await cars[2].so.await(token, 10_000), true);
  await until(async () => (await cars[2].alerts.size()) === 2, "the alerts");
  assert.equal(await cars[2].alerts.has({ code: 7 }), true);
});

test("a killed node: what it acknowledged is there when it is back, and a read waits for it", async (t) => {
  const cluster = await startCluster(t, 3, "--appendfsync", "always");
  const [first, second] = [drive(t, cluster, 0), drive(t, cluster, 1)];
  for (let i = 0; i < 10; i++) await first.distance.add(1);
  await cluster.do("kill 0");
  const started = cluster.do("start 0");
  assert.equal(await first.distance.getValue(), 10);
  await started;
  assert.equal(await first.distance.add(5), 15);
  await until(async () => (await second.distance.getValue()) === 15, "the other node");
});

for (const [client, extra] of [["node-redis", {}], ["ioredis", { ioredis: Redis }]]) {
  test(`a lost reply, ${client}: with ids the write counts once, without them the outcome is told as unknown`, async (t) => {
    const cluster = await startCluster(t, 1);
    await cluster.do("once on");
    const car = drive(t, cluster, 0, extra);
    await car.distance.add(1);
    await cluster.do("lose 0 PNCOUNTER.ADD");
    assert.equal(await car.distance.add(10), 11);
    await cluster.do("lose 0 EXEC");
    const trip = car.so.atomic();
    trip.getPNCounter("distanceDriven").add(100);
    trip.getORSet("alerts").add("speed");
    assert.deepEqual(await trip.send(), [111, 1]);
    // With a read in it, or too many calls for what the server keeps, it has no id.
    const looks = car.so.atomic();
    looks.getORSet("alerts").add("brakes");
    looks.getORSet("alerts").getValue();
    assert.deepEqual(await looks.send(), [1, new Set(["speed", "brakes"])]);
    const long = car.so.atomic();
    for (let i = 0; i < 25; i++) long.getEWFlag(`flag-${i}`).enable();
    assert.equal((await long.send()).length, 25);
    await cluster.do("lose 0 EXEC");
    const unnamed = car.so.atomic();
    unnamed.getORSet("alerts").add("brakes");
    unnamed.getORSet("alerts").size();
    await assert.rejects(unnamed.send(), UnknownOutcome);
    // The platform repeats the whole call under its own id.
    for (let attempt = 0; attempt < 2; attempt++) {
      const call = car.so.forCall("call-7");
      assert.equal(await call.getPNCounter("distanceDriven").add(1000), 1111);
      await call.close();
    }
    assert.equal(await car.distance.getValue(), 1111);

    await cluster.do("once off");
    const old = drive(t, cluster, 0, { ...extra, checkAfter: 500 });
    await old.distance.add(1);
    await cluster.do("lose 0 PNCOUNTER.ADD");
    await assert.rejects(old.distance.add(10), UnknownOutcome);
    await cluster.do("lose 0 PNCOUNTER.GET");
    assert.equal(await old.distance.getValue(), 1122);
    await cluster.do("lose 0 EXEC");
    const unknown = old.so.atomic();
    unknown.getPNCounter("distanceDriven").add(1);
    await assert.rejects(unknown.send(), UnknownOutcome);
    assert.equal(await old.distance.getValue(), 1123);
  });
}

test("a frozen node: a call ends in time, and goes through when the node goes on", async (t) => {
  const cluster = await startCluster(t, 1);
  const car = drive(t, cluster, 0, { replyTimeout: 300, connectTimeout: 300, deadline: 1000 });
  await cluster.do("once off");
  await car.distance.add(1);
  await cluster.do("freeze 0");
  await assert.rejects(car.distance.add(10), UnknownOutcome);
  await assert.rejects(car.distance.getValue(), Unreachable);
  await cluster.do("thaw 0");
  await until(async () => (await car.distance.getValue()) === 11, "the write that was on its way");
});

test("a frozen process: its connection ended meanwhile, its next write counts once", async (t) => {
  const cluster = await startCluster(t, 1);
  await cluster.do("once off");
  const child = spawn(process.execPath, [join(import.meta.dirname, "examples", "counting.mjs")], {
    env: { ...process.env, MISO_URL: cluster.url() },
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const add = async () => {
    child.stdin.write("1\n");
    return (await lines.next()).value;
  };
  assert.equal(await add(), "1");
  child.kill("SIGSTOP");
  await cluster.do("drop 0");
  await new Promise((resolve) => setTimeout(resolve, 1200)); // Longer than `checkAfter`.
  const answer = add();
  child.kill("SIGCONT");
  assert.equal(await answer, "2");
  child.stdin.end();
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
