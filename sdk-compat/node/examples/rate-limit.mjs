// A rate limit without coordination: each node counts what it and the others have let through in this minute. Nodes
// hear of each other some milliseconds late, so a few calls more than the limit may pass.
import { MisoObject } from "miso-crdt";

const LIMIT = 3;
const limits = new MisoObject({ id: "limits" });

async function allowed(user, now = Date.now()) {
  const minute = Math.floor(now / 60_000);
  return (await limits.getGCounter(`${minute}:${user}`).add()) <= LIMIT;
}

const now = Date.now();
for (let call = 1; call <= 5; call++) console.log(`call ${call}: ${(await allowed("ann", now)) ? "let through" : "refused"}`);
console.log(`next minute: ${(await allowed("ann", now + 60_000)) ? "let through" : "refused"}`);
await limits.delete();
await limits.close();
