// Compiled, never run: what the types allow and what they refuse.
import { MisoObject, UnknownOutcome, type Value } from "miso-crdt";

const so = new MisoObject({ url: "redis://car:-@127.0.0.1:6379", id: "o" });
const sum: number = await so.getGCounter("n").add(1n);
const exact: bigint = await so.getPNCounter("n").getBigInt();
const raw: Set<Buffer> = await so.getORSet("s", { raw: true }).getValue();
for await (const alert of so.getORSet<{ code: number }>("alerts")) alert.code.toFixed();
const any: Value | undefined = await so.getMVRegister("r").getValue();
for await (const [field, value] of so.getORMap<number>("m")) field.concat(value.toFixed());
so.watch().on("change", ({ type }) => type === "gcounter");
await so.close();

// @ts-expect-error: a counter takes no text.
so.getGCounter("n").add("1");
// @ts-expect-error: proxies cannot be had without their object.
new (await import("miso-crdt")).GCounter();
// @ts-expect-error: a function is no value.
so.getMVRegister("r").assign(() => 1);
// @ts-expect-error: there is no such type of change.
so.watch().on("change", ({ type }) => type === "counter");

export { sum, exact, raw, any, UnknownOutcome };
