// Upstash's client for JavaScript, unchanged, by URL and token alone.
import assert from "node:assert/strict";
import { test } from "node:test";

import { builds, startHttp } from "./node.js";

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
}
