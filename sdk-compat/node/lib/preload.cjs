"use strict";
// Gives functions of OpenFaaS's stock node20 and node22 templates `context.statefulObject`, by one variable:
//   NODE_OPTIONS=--require=/home/app/function/node_modules/miso-crdt/lib/preload.cjs
// It wraps the handler as the template loads it. The template's own answers and errors stay as they are.
const Module = require("node:module");
const { inject } = require("./invoke.cjs");

const HANDLER = /[\\/]function[\\/]handler(\.c?js)?$/;
const load = Module._load;

function wrapped(handler) {
  // One object per process, made when the first handler is: other Node programs in the image stay untouched.
  const { MisoObject } = require("./object.cjs");
  const so = new MisoObject();
  const registered = so.register().catch((error) => console.error(error.message));

  async function withObject(event, context, ...rest) {
    const object = inject(context, so, event?.headers);
    try {
      await registered;
      const result = await handler.call(this, event, context, ...rest);
      await object.settled();
      return result;
    } finally {
      await object.close();
    }
  }
  return Object.defineProperty(withObject, "length", { value: handler.length });
}

const known = new WeakMap();

Module._load = function (request, parent, isMain) {
  const loaded = load.call(this, request, parent, isMain);
  if (isMain || typeof loaded !== "function" || !HANDLER.test(request)) return loaded;
  if (!known.has(loaded)) known.set(loaded, wrapped(loaded));
  return known.get(loaded);
};
