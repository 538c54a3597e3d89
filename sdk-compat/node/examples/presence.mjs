// Presence: each user's device says when it was last seen; silence for 30 s means that the user is away.
import { MisoObject } from "miso-crdt";

const AWAY_MS = 30_000;
const room = new MisoObject({ id: "room-7" });
const lastSeen = room.getORMap("lastSeen");

const seen = (user, when) => lastSeen.set(user, when);
async function present(now) {
  const users = [];
  for await (const [user, when] of lastSeen) if (now - when < AWAY_MS) users.push(user);
  return users.sort().join(", ");
}

const start = Date.now();
await Promise.all([seen("ann", start), seen("bob", start)]);
console.log(`at first: ${await present(start)}`);
await seen("ann", start + 40_000);
console.log(`after 40 s: ${await present(start + 40_000)}`);
await lastSeen.delete("ann");
console.log(`after ann has left: ${(await present(start + 40_000)) || "nobody"}`);
await room.delete();
await room.close();
