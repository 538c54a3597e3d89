// Compiled, never run: the same types by require.
import miso = require("miso-crdt");

const so: miso.MisoObject = new miso.MisoObject();
export const value: Promise<boolean> = so.getEWFlag("f").getValue();
