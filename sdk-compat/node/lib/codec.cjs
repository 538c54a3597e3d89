"use strict";
// Values as bytes: JSON in the canonical form of RFC 8785, so that equal values are equal bytes in every language.
// Integers beyond 2^53, which JSON's doubles cannot hold, are strings with a tag: "$int:9007199254740993". A string
// that looks like one gets another dollar sign in front.
const { Unencodable, Undecodable, ValueRangeError } = require("./errors.cjs");

const LOOKS_TAGGED = /^\$+int:/;
const TAGGED = /^\$int:(-?(?:0|[1-9]\d*))$/;

/** The canonical text of a string, or an error if it holds half of a surrogate pair. */
function text(string) {
  if (!string.isWellFormed()) {
    throw new Unencodable("a string with a lone surrogate is no Unicode text; store it as raw bytes ({ raw: true })");
  }
  return JSON.stringify(string);
}

function number(value) {
  if (!Number.isFinite(value)) throw new Unencodable(`${value} has no JSON form; store null or a string instead`);
  return JSON.stringify(value);
}

function integer(value) {
  const safe = value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
  return safe ? value.toString() : `"$int:${value}"`;
}

function object(value, path) {
  if (path.includes(value)) throw new Unencodable("a value that contains itself has no JSON form");
  const within = [...path, value];
  if (Array.isArray(value)) return `[${Array.from(value, (item) => canonical(item, within)).join(",")}]`;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    const name = value.constructor?.name ?? "this object";
    throw new Unencodable(`${name} has no JSON form of its own; convert it to a plain object, an array or a string`);
  }
  // Sorting strings compares UTF-16 units, as the RFC asks.
  const members = Object.keys(value).sort();
  return `{${members.map((key) => `${text(key)}:${canonical(value[key], within)}`).join(",")}}`;
}

function canonical(value, path) {
  switch (typeof value) {
    case "string":
      return text(LOOKS_TAGGED.test(value) ? `$${value}` : value);
    case "number":
      return number(value);
    case "bigint":
      return integer(value);
    case "boolean":
      return String(value);
    case "object":
      return value === null ? "null" : object(value, path);
    default:
      throw new Unencodable(`${typeof value} has no JSON form; store null, or leave the member out`);
  }
}

/** A value as bytes; throws `Unencodable`. */
function encode(value) {
  return Buffer.from(canonical(value, []));
}

/** Numbers are doubles. What is written as an integer that no double holds is not rounded in silence. */
function literal(source) {
  const value = Number(source);
  if (!Number.isFinite(value)) throw new Undecodable(`${source} is beyond every double`);
  const exact = !/^-?\d+$/.test(source) || Number.isSafeInteger(value) || String(value) === source;
  if (!exact) throw new ValueRangeError(`${source} does not fit a number; read it by getBigInt()`, BigInt(source));
  return value === 0 ? 0 : value;
}

/** Every number of a JSON text, outside its strings. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function restored(value) {
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new Undecodable("a stored string holds a lone surrogate; read it with { raw: true }");
    if (!LOOKS_TAGGED.test(value)) return value;
    if (value.startsWith("$$")) return value.slice(1);
    const tagged = TAGGED.exec(value);
    if (!tagged) throw new Undecodable(`${value} has the tag of an integer and holds none`);
    return BigInt(tagged[1]);
  }
  if (Array.isArray(value)) return value.map(restored);
  if (value === null || typeof value !== "object") return Object.is(value, -0) ? 0 : value;
  // fromEntries defines members, so that one called __proto__ is a member like others.
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, restored(member)]));
}

/** Bytes as the value they were written from; throws `Undecodable`, or `ValueRangeError` for an inexact integer. */
function decode(bytes) {
  let source, value;
  try {
    source = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(source);
  } catch (cause) {
    throw new Undecodable("what is stored is no JSON text; read what other programs wrote with { raw: true }", { cause });
  }
  for (const [token] of source.matchAll(TOKENS)) if (token[0] !== '"') literal(token);
  return restored(value);
}

/** The codec of proxies that were asked for raw bytes. */
const raw = {
  encode(value) {
    if (typeof value === "string") return Buffer.from(value);
    if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    throw new Unencodable("with { raw: true } a value is a Buffer, a Uint8Array or a string");
  },
  decode: (bytes) => bytes,
};

module.exports = { encode, decode, json: { encode, decode }, raw };
