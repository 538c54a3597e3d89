// Upstash's client for JavaScript, unchanged, by URL and token alone.
import assert from "node:assert/strict";
import { test } from "node:test";

import { builds, startHttp, until } from "./node.js";

for (const [name, Redis] of Object.entries(builds)) {
  test(`${name}: commands of every type`, async (t) => {
    const { http } = await startHttp(t);
    const redis = new Redis({ url: http, token: "shop" });
    assert.equal(await redis.ping(), "PONG");
    assert.equal(await redis.echo("hé\n"), "hé\n");
    assert.equal(await redis.exec(["GCOUNTER.ADD", "cart", "n", 2]), 2);
    assert.equal(await redis.exec(["MVREG.SET", "cart", "owner", "Ä\u0000"]), "OK");
    assert.deepEqual(await redis.exec(["MVREG.GET", "cart", "owner"]), ["Ä\u0000"]);
    assert.equal(await redis.exec(["MVREG.VALUE", "cart", "none"]), null);
    const other = new Redis({ url: http, token: "other:-" });
    assert.equal(await other.exec(["GCOUNTER.GET", "cart", "n"]), 0);
  });

  test(`${name}: without base64, and what is left out`, async (t) => {
    const { http } = await startHttp(t);
    const redis = new Redis({ url: http, token: "shop", responseEncoding: false, enableTelemetry: false });
    assert.equal(await redis.echo("hé"), "hé");
    assert.equal(await redis.exec(["MVREG.SET", "o", "n", "v"]), "OK");
    assert.deepEqual(await redis.exec(["MVREG.GET", "o", "n"]), ["v"]);
  });

  test(`${name}: a pipeline and a transaction`, async (t) => {
    const { http } = await startHttp(t);
    const redis = new Redis({ url: http, token: "shop", enableAutoPipelining: false });
    const answers = await redis.pipeline().ping().echo("a").exec();
    assert.deepEqual(answers, ["PONG", "a"]);
    assert.deepEqual(await redis.multi().echo("a").ping().exec(), ["a", "PONG"]);
    const kept = await redis.pipeline().ping().publish("c", "m").exec({ keepErrors: true });
    assert.deepEqual(kept.map(({ result, error }) => [result, error]), [["PONG", undefined], [0, undefined]]);
  });

  test(`${name}: requests made at once share a pipeline`, async (t) => {
    const { http } = await startHttp(t);
    const redis = new Redis({ url: http, token: "shop", enableAutoPipelining: true });
    const echoes = await Promise.all(["a", "b", "c"].map((word) => redis.echo(word)));
    assert.deepEqual(echoes, ["a", "b", "c"]);
  });

  test(`${name}: errors say what the server says`, async (t) => {
    const { http } = await startHttp(t, "--requirepass", "pw");
    const client = (token) => new Redis({ url: http, token, retry: false });
    assert.equal(await client("default:pw").ping(), "PONG");
    await assert.rejects(client("default:wrong").ping(), /WRONGPASS/);
    await assert.rejects(client("default:pw").exec(["NOSUCH"]), /ERR unknown command/);
    await assert.rejects(client("default:pw").exec(["MULTI"]), /Command is not available: 'MULTI'/);
  });

  test(`${name}: messages of channels and patterns`, async (t) => {
    const { http } = await startHttp(t);
    const redis = new Redis({ url: http, token: "shop" });
    const heard = [];
    const channel = redis.subscribe("news");
    const pattern = redis.psubscribe("n*");
    const subscribed = [channel, pattern].map((listener, at) => {
      const event = ["subscribe", "psubscribe"][at];
      return new Promise((resolve) => listener.on(event, resolve));
    });
    await Promise.all(subscribed);
    channel.on("message", ({ channel: from, message }) => heard.push([from, message]));
    pattern.on("pmessage", ({ pattern: of, channel: from, message }) => heard.push([of, from, message]));
    assert.equal(await redis.publish("news", { a: 1 }), 2);
    await until("both messages", () => heard.length === 2);
    assert.deepEqual(heard.sort(), [["n*", "news", { a: 1 }], ["news", { a: 1 }]]);
    await Promise.all([channel.unsubscribe(), pattern.unsubscribe()]);
  });

  test(`${name}: reads its own writes on any node`, async (t) => {
    const interval = ["--replication-interval", "50ms"];
    const first = await startHttp(t, ...interval);
    const second = await startHttp(t, ...interval, "--join", first.peer);
    // A load balancer that takes the nodes in turn.
    const fetch = globalThis.fetch;
    let turn = 0;
    globalThis.fetch = (url, options) => {
      const node = [first, second][turn++ % 2];
      return fetch(url.replace("http://balancer.example", node.http), options);
    };
    t.after(() => (globalThis.fetch = fetch));
    const redis = new Redis({ url: "http://balancer.example", token: "shop" });
    await until("the nodes to know each other", async () => {
      const nodes = new Redis({ url: second.http, token: "shop", readYourWrites: false });
      return (await nodes.exec(["MISO.NODES"])).length >= 2;
    });
    for (let n = 1; n <= 20; n++) assert.equal(await redis.exec(["GCOUNTER.ADD", "o", "n", 1]), n);
  });
}
