// A feature flag: it is switched on one node and told to every process that watches, on all nodes.
import { MisoObject } from "miso-crdt";

const features = new MisoObject({ id: "features" });
const checkout = features.getEWFlag("new-checkout");

const watcher = features.watch();
const read = async () => console.log(`new-checkout: ${await checkout.getValue()}`);
const told = new Promise((resolve) => {
  watcher.on("change", async () => resolve(await read()));
  watcher.on("gap", read); // What changed in a gap is not told again.
});
await watcher.ready;
await read();

await checkout.enable();
await told;

watcher.close();
await features.delete();
await features.close();
