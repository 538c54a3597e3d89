"use strict";
// The proxies of the seven types. None holds any state of the value, none does I/O before a method is called.
const { ArgumentError, ValueRangeError, Undecodable } = require("./errors.cjs");
const { json, raw } = require("./codec.cjs");

const PAGE = "1000";

/** An integer argument in decimal. */
function amount(value) {
  if (typeof value === "bigint") return value.toString();
  if (Number.isSafeInteger(value)) return String(value);
  throw new ArgumentError(`${String(value)} is no exact integer; give a safe integer or a BigInt`);
}

/** An exact integer as a number, or the error that says where it can be read. */
function number(reply) {
  const value = Number(reply);
  if (Number.isSafeInteger(value)) return value;
  throw new ValueRangeError(`${reply} does not fit a number; read it by getBigInt()`, BigInt(reply));
}

/** The new value after a write: a write that was done does not fail because its answer is large. */
function numberOrNaN(reply) {
  const value = Number(reply);
  return Number.isSafeInteger(value) ? value : NaN;
}

const truth = (reply) => reply === true || Number(reply) === 1;
const count = (reply) => Number(reply);

class Proxy {
  #run;

  constructor(run, object, name, options = {}) {
    if (typeof name !== "string" || name === "") throw new ArgumentError("a name is a string that is not empty");
    this.#run = run;
    /** The id of the object that it belongs to. */
    this.object = object;
    this.name = name;
    this.codec = options.raw ? raw : json;
  }

  read(verb, words, decode) {
    return this.#run({ args: () => this.#words(verb, words), decode });
  }

  write(verb, words, decode) {
    return this.#run({ args: () => this.#words(verb, words), decode, write: true });
  }

  /** The command. An argument that is none fails the call's promise, not the caller. */
  #words(verb, words) {
    return [`${this.constructor.prefix}.${verb}`, this.object, this.name, ...words()];
  }

  /** The flat items of all pages of a SCAN. An item that is there throughout comes at least once. */
  async *pages() {
    let cursor = "0";
    do {
      const [next, items] = await this.read("SCAN", () => [cursor, "COUNT", PAGE], (reply) => reply);
      yield items;
      cursor = next.toString();
    } while (cursor !== "0");
  }
}

class GCounter extends Proxy {
  static prefix = "GCOUNTER";

  /** Adds `by`; answers the new value on this node, NaN if a number cannot hold it (read it by `getBigInt`). */
  add(by = 1) {
    return this.write("ADD", () => [amount(by)], numberOrNaN);
  }

  /** The value; throws `ValueRangeError` where a number cannot hold it. */
  getValue() {
    return this.read("GET", () => [], number);
  }

  /** The value, always exact. */
  getBigInt() {
    return this.read("GET", () => [], (reply) => BigInt(reply));
  }
}

class PNCounter extends GCounter {
  static prefix = "PNCOUNTER";

  /** Subtracts `by`; answers as `add`. */
  sub(by = 1) {
    return this.write("SUB", () => [amount(by)], numberOrNaN);
  }
}

class GSet extends Proxy {
  static prefix = "GSET";

  /** Adds values; answers how many were new here. */
  add(...values) {
    return values.length === 0 ? Promise.resolve(0) : this.write("ADD", () => values.map(this.codec.encode), count);
  }

  has(value) {
    return this.read("ISMEMBER", () => [this.codec.encode(value)], truth);
  }

  /** How many values it has. A promise, since the server is asked. */
  size() {
    return this.read("CARD", () => [], count);
  }

  /** All values as a Set: primitive values are found by `has`, objects are separate from each other. */
  getValue() {
    return this.read("MEMBERS", () => [], (reply) => new Set(Array.from(reply, this.codec.decode)));
  }

  /** All values, page by page; each once. */
  async *[Symbol.asyncIterator]() {
    const seen = new Set();
    for await (const items of this.pages()) {
      for (const item of items) {
        const key = item.toString("latin1");
        if (seen.has(key)) continue;
        seen.add(key);
        yield this.codec.decode(item);
      }
    }
  }

  values() {
    return this[Symbol.asyncIterator]();
  }
}

class ORSet extends GSet {
  static prefix = "ORSET";

  /** Removes values; answers how many were there. An add elsewhere that this node has not seen survives. */
  delete(...values) {
    return values.length === 0 ? Promise.resolve(0) : this.write("REM", () => values.map(this.codec.encode), count);
  }

  /** Removes all values that this node has seen; answers how many. */
  clear() {
    return this.write("CLEAR", () => [], count);
  }
}

class MVRegister extends Proxy {
  static prefix = "MVREG";

  /** Replaces every value that this node has seen. */
  assign(value) {
    return this.write("SET", () => [this.codec.encode(value)], () => undefined);
  }

  /** The value, of concurrent ones the same on every node; undefined if none was assigned. */
  getValue() {
    return this.read("VALUE", () => [], (reply) => (reply === null ? undefined : this.codec.decode(reply)));
  }

  /** All concurrent values: more than one until somebody assigns again. */
  getValues() {
    return this.read("GET", () => [], (reply) => Array.from(reply, this.codec.decode));
  }
}

function bit(value) {
  if (typeof value === "boolean") return value ? "1" : "0";
  throw new ArgumentError("a flag is true or false");
}

class EWFlag extends Proxy {
  static prefix = "EWFLAG";

  /** Answers whether it changed here. */
  enable() {
    return this.write("ENABLE", () => [], truth);
  }

  /** Answers whether it changed here. An enable elsewhere that this node has not seen wins. */
  disable() {
    return this.write("DISABLE", () => [], truth);
  }

  assign(value) {
    return this.write("SET", () => [bit(value)], truth);
  }

  getValue() {
    return this.read("GET", () => [], truth);
  }
}

function field(key) {
  if (typeof key === "string") return key;
  throw new ArgumentError("a field of a map is a string");
}

/** Pairs of a flat array. */
function* pairs(flat) {
  for (let i = 0; i < flat.length; i += 2) yield [flat[i], flat[i + 1]];
}

class ORMap extends Proxy {
  static prefix = "ORMAP";

  /** Sets a field. */
  set(key, value) {
    return this.write("SET", () => [field(key), this.codec.encode(value)], () => undefined);
  }

  /** A field's value, undefined if there is none. */
  get(key) {
    return this.read("GET", () => [field(key)], (reply) => (reply === null ? undefined : this.codec.decode(reply)));
  }

  /** All concurrent values of a field. */
  getValues(key) {
    return this.read("GETMV", () => [field(key)], (reply) => Array.from(reply, this.codec.decode));
  }

  /** A field that is a counter, always exact; 0n if there is none. */
  getBigInt(key) {
    return this.read("GET", () => [field(key)], (reply) => {
      const source = reply === null ? "0" : reply.toString();
      if (/^-?\d+$/.test(source)) return BigInt(source);
      const tagged = this.codec.decode(reply);
      if (typeof tagged === "bigint") return tagged;
      throw new Undecodable(`field '${key}' holds no integer; read it by get()`);
    });
  }

  /** Adds to a field that is a counter; answers the new value, NaN if a number cannot hold it. */
  increment(key, by = 1) {
    return this.write("INCRBY", () => [field(key), amount(by)], numberOrNaN);
  }

  has(key) {
    return this.read("EXISTS", () => [field(key)], truth);
  }

  /** Removes fields; answers how many were there. */
  delete(...keys) {
    return keys.length === 0 ? Promise.resolve(0) : this.write("DEL", () => keys.map(field), count);
  }

  size() {
    return this.read("LEN", () => [], count);
  }

  keys() {
    return this.read("KEYS", () => [], (reply) => Array.from(reply, String));
  }

  /** All fields as a Map. */
  getValue() {
    const entry = ([key, value]) => [String(key), this.codec.decode(value)];
    return this.read("GETALL", () => [], (reply) => new Map(Array.from(pairs(reply), entry)));
  }

  /** All fields, page by page; each once. */
  async *[Symbol.asyncIterator]() {
    const seen = new Set();
    for await (const items of this.pages()) {
      for (const [key, value] of pairs(items)) {
        const name = String(key);
        if (seen.has(name)) continue;
        seen.add(name);
        yield [name, this.codec.decode(value)];
      }
    }
  }

  entries() {
    return this[Symbol.asyncIterator]();
  }
}

module.exports = { GCounter, PNCounter, GSet, ORSet, MVRegister, EWFlag, ORMap };
