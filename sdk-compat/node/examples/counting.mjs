// Adds each number that comes in on a line, and prints the sum: run it in two shells with one MISO_URL.
import { createInterface } from "node:readline";
import { MisoObject } from "miso-crdt";

const so = new MisoObject({ id: "TripData-12345" });
const distance = so.getPNCounter("distanceDriven");
for await (const line of createInterface({ input: process.stdin })) console.log(await distance.add(Number(line)));
await so.close();
