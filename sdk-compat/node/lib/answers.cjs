"use strict";
// What a function's result is over HTTP.

/** JSON for what has no form of its own: sets are arrays, maps objects, integers beyond 2^53 exact decimal strings. */
function plain(_, value) {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (value instanceof Set) return [...value];
  if (value instanceof Map) {
    const named = [...value.keys()].every((key) => typeof key === "string");
    return named ? Object.fromEntries(value) : [...value];
  }
  return value;
}

/** The content type and the body of a result. */
function body(result) {
  if (result === undefined) return [null, Buffer.alloc(0)];
  if (typeof result === "string") return ["text/plain; charset=utf-8", Buffer.from(result)];
  if (result instanceof Uint8Array) return ["application/octet-stream", Buffer.from(result)];
  return ["application/json", Buffer.from(JSON.stringify(result, plain) ?? "")];
}

module.exports = { body };
