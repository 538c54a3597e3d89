// Sessions: express-session over connect-redis, an express server beside each node.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { twoNodes, until } from "./nodes.js";

/** A site whose sessions are kept on one node; answers a function that asks it for a page. */
async function site(t, client) {
  const store = new RedisStore({ client, prefix: "shop:" });
  const app = express();
  app.use(session({ store, secret: "x", resave: false, saveUninitialized: false, cookie: { maxAge: 600_000 } }));
  app.get("/login/:name", (request, response) => {
    request.session.user = request.params.name;
    response.send("welcome");
  });
  app.get("/user", (request, response) => response.send(request.session.user ?? "nobody"));
  app.get("/logout", (request, response) => request.session.destroy(() => response.send("bye")));
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const ask = async (path, cookie) => {
    const headers = cookie ? { cookie } : {};
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers });
    const given = response.headers.get("set-cookie")?.split(";")[0];
    return { text: await response.text(), cookie: given ?? cookie };
  };
  return { ask, store };
}

test("connect-redis: a session holds on both nodes, and what each began while apart is there after it", async (t) => {
  const nodes = await twoNodes(t);
  const [left, right] = [await site(t, await nodes.client(0)), await site(t, await nodes.client(1))];
  const ada = (await left.ask("/login/ada")).cookie;
  await until(async () => (await right.ask("/user", ada)).text === "ada", "the session on the other node");

  await nodes.do("cut");
  const bob = (await left.ask("/login/bob")).cookie;
  const cleo = (await right.ask("/login/cleo")).cookie;
  assert.equal((await left.ask("/user", bob)).text, "bob");
  assert.equal((await right.ask("/user", bob)).text, "nobody");
  assert.equal((await left.ask("/user", ada)).text, "ada");
  await nodes.do("heal");
  for (const [where, cookie, name] of [[left, cleo, "cleo"], [right, bob, "bob"]]) {
    await until(async () => (await where.ask("/user", cookie)).text === name, `${name}'s session`);
  }
  assert.equal(await right.store.length(), 3);

  await right.ask("/logout", ada);
  await until(async () => (await left.ask("/user", ada)).text === "nobody", "the end of the session");
  const sessions = await left.store.all();
  assert.deepEqual(sessions.map((each) => each.user).sort(), ["bob", "cleo"]);
});

test("connect-redis: a session is touched, has a deadline, and all are cleared", async (t) => {
  const nodes = await twoNodes(t);
  const [client, other] = [await nodes.client(0), await nodes.client(1)];
  const { ask, store } = await site(t, client);
  const { cookie } = await ask("/login/ada");
  const [key] = await client.keys("shop:*");
  const left = await client.ttl(key);
  assert.ok(left > 590 && left <= 600, `${left} seconds`);
  await client.expire(key, 5);
  await ask("/user", cookie); // It touches the session.
  await until(async () => (await other.ttl(key)) > 590, "the new deadline on the other node");
  await store.clear();
  await until(async () => (await other.keys("shop:*")).length === 0, "the end of all sessions");
});
