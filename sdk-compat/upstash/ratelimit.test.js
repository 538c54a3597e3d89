// Upstash's rate limiter, unchanged: its scripts are known by their hashes and answered by native code.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Ratelimit } from "@upstash/ratelimit";

import { builds, startHttp } from "./node.js";

const WINDOW = "60 s";

/** A limiter on a node of its own. */
async function limiter(t, algorithm) {
  const { http } = await startHttp(t);
  const redis = new builds.nodejs({ url: http, token: "shop" });
  return { redis, limits: new Ratelimit({ redis, limiter: algorithm, ephemeralCache: false, prefix: "rl" }) };
}

/** What the answers to `count` requests say. */
async function ask(limits, count, ...options) {
  const answers = [];
  for (let n = 0; n < count; n++) {
    const { success, remaining, limit } = await limits.limit("ada", ...options);
    answers.push([success, remaining, limit]);
  }
  return answers;
}

for (const [name, algorithm] of Object.entries({
  "a fixed window": Ratelimit.fixedWindow(3, WINDOW),
  "a sliding window": Ratelimit.slidingWindow(3, WINDOW),
  "a token bucket": Ratelimit.tokenBucket(3, WINDOW, 3),
})) {
  test(`${name}: lets as many through as it says`, async (t) => {
    const { redis, limits } = await limiter(t, algorithm);
    assert.deepEqual(await ask(limits, 4), [[true, 2, 3], [true, 1, 3], [true, 0, 3], [false, 0, 3]]);
    assert.equal((await limits.getRemaining("ada")).remaining, 0);
    assert.equal((await limits.getRemaining("bob")).remaining, 3);
    const keys = await redis.keys("rl:*");
    assert.ok(keys.length > 0);
    for (const key of keys) assert.ok((await redis.pttl(key)) > 0, `${key} expires`);
    await limits.resetUsedTokens("ada");
    assert.deepEqual(await redis.keys("rl:*"), []);
    assert.deepEqual(await ask(limits, 1), [[true, 2, 3]]);
  });

  test(`${name}: takes several at once and gives back`, async (t) => {
    const { limits } = await limiter(t, algorithm);
    assert.deepEqual(await ask(limits, 1, { rate: 2 }), [[true, 1, 3]]);
    assert.equal((await limits.limit("ada", { rate: -1 })).remaining, 2);
  });
}

test("a cached fixed window", async (t) => {
  const { http } = await startHttp(t);
  const redis = new builds.nodejs({ url: http, token: "shop" });
  const limits = new Ratelimit({ redis, limiter: Ratelimit.cachedFixedWindow(3, WINDOW), prefix: "rl" });
  const answers = (await ask(limits, 4)).map(([success]) => success);
  assert.deepEqual(answers, [true, true, true, false]);
});

test("another limit in a key", async (t) => {
  const { http } = await startHttp(t);
  const redis = new builds.nodejs({ url: http, token: "shop" });
  const limiter = Ratelimit.slidingWindow(3, WINDOW);
  const limits = new Ratelimit({ redis, limiter, ephemeralCache: false, dynamicLimits: true, prefix: "rl" });
  await limits.setDynamicLimit({ limit: 1 });
  assert.deepEqual(await ask(limits, 2), [[true, 0, 1], [false, 0, 1]]);
});

test("other scripts are refused", async (t) => {
  const { http } = await startHttp(t);
  const redis = new builds.nodejs({ url: http, token: "shop" });
  await assert.rejects(redis.eval("return 1", [], []), /scripts are not run here/);
  await assert.rejects(redis.evalsha("e0e1f9fabfc9d4800c877a703b823ac0578ff8db", [], []), /NOSCRIPT/);
});
