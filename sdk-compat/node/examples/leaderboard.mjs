// Leaderboard: the fastest laps, by Redis's own commands. They need no SDK: a stock client does.
import { createClient } from "redis";

const BOARD = "fastest-laps";
const client = createClient({ url: process.env.MISO_URL });
client.on("error", (error) => console.error(error.message));
await client.connect();

/** Only a driver's best lap counts. */
async function lap(driver, seconds) {
  const best = await client.zScore(BOARD, driver);
  if (best === null || seconds < best) await client.zAdd(BOARD, { score: seconds, value: driver });
}

await lap("ann", 61.5);
await lap("bob", 62.25);
await lap("eve", 64);
await lap("joe", 70.5);
await lap("bob", 60.75);
await lap("ann", 65);
for (const [i, { value, score }] of (await client.zRangeWithScores(BOARD, 0, 2)).entries()) {
  console.log(`${i + 1}. ${value}: ${score.toFixed(2)} s`);
}
await client.del(BOARD);
await client.close();
