"use strict";
// A handler's call with `context.statefulObject`.

/** The object of one call on the context, where the function can neither replace nor remove it. */
function inject(context, so, headers) {
  const given = headers?.["x-call-id"];
  const callId = typeof given === "string" && given.length >= 1 && Buffer.byteLength(given) <= 48 ? given : undefined;
  const object = so.forCall(callId);
  Object.defineProperty(context, "statefulObject", { value: object, enumerable: true });
  return object;
}

/**
 * The result of a handler that is async, or returns a value, or calls `context.succeed` or `context.fail` before it
 * returns; one with three parameters has a callback. What it asked of its object and did not wait for is waited for.
 */
async function invoke(handler, so, event, context) {
  const object = inject(context, so, event.headers);
  try {
    let result;
    if (handler.length > 2) {
      const { succeed, fail } = context;
      Promise.resolve(handler(event, context, (error, value) => (error ? fail(error) : succeed(value)))).catch(fail);
      result = await context.outcome;
    } else {
      result = await handler(event, context);
      if (context.called) result = await context.outcome;
    }
    if (result === context) result = undefined; // `return context.status(204)`
    await object.settled();
    return result;
  } finally {
    await object.close();
  }
}

module.exports = { invoke, inject };
