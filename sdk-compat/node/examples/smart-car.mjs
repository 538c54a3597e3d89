// The smart car of the paper: a trip's distance and alerts, written by functions on many nodes.
import { MisoObject } from "miso-crdt";

const trip = new MisoObject({ id: "TripData-12345" });
const distanceDriven = trip.getPNCounter("distanceDriven");
const alerts = trip.getORSet("alerts");

for (const metres of [120, 80, 300]) await distanceDriven.add(metres);
await alerts.add("low tyre pressure", "door open");
await alerts.delete("door open");

console.log(`driven: ${await distanceDriven.getValue()} m`);
for await (const alert of alerts) console.log(`alert: ${alert}`);
await trip.delete();
await trip.close();
