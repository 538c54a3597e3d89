// The vectors that every SDK runs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ArgumentError, decode, defaultId, encode, MisoObject, settings, SettingError, Undecodable, Unencodable, ValueRangeError } from "./lib/index.mjs";

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "..", "vectors.json"), "utf8"));

function build([kind, content]) {
  switch (kind) {
    case "double":
      return Buffer.from(content, "hex").readDoubleBE();
    case "integer":
      return Number.isSafeInteger(Number(content)) ? Number(content) : BigInt(content);
    case "units":
      return String.fromCharCode(...content.map((unit) => parseInt(unit, 16)));
    case "array":
      return content.map(build);
    case "object":
      return Object.fromEntries(content.map(([key, value]) => [key, build(value)]));
    case "undefined":
      return undefined;
    case "null":
      return null;
    case "true":
    case "false":
      return kind === "true";
    default:
      return content;
  }
}

for (const { name, value, text } of vectors.encode) {
  test(`encodes and decodes: ${name}`, () => {
    assert.equal(encode(build(value)).toString(), text);
    const back = decode(Buffer.from(text));
    assert.deepEqual(back, build(value) === 0 ? 0 : build(value)); // -0 is written as 0.
    assert.equal(encode(back).toString(), text);
  });
}

for (const { name, value } of vectors.refuse) {
  test(`refuses to encode: ${name}`, () => assert.throws(() => encode(build(value)), Unencodable));
}

for (const { name, value, text } of vectors.decode) {
  test(`decodes: ${name}`, () => assert.deepEqual(decode(Buffer.from(text)), build(value)));
}

for (const { name, text, hex } of vectors.undecodable) {
  test(`refuses to decode: ${name}`, () => {
    const bytes = hex ? Buffer.from(hex, "hex") : Buffer.from(text);
    assert.throws(() => decode(bytes), (error) => error instanceof Undecodable || error instanceof ValueRangeError);
  });
}

for (const { name, environment, missing, invalid, ...expected } of vectors.settings) {
  test(`settings: ${name}`, () => {
    if (missing ?? invalid) {
      const wrong = { variable: missing ?? invalid, message: new RegExp(missing ?? invalid) };
      assert.throws(() => settings({}, environment), (error) => error instanceof SettingError && error.variable === wrong.variable);
      return assert.throws(() => settings({}, environment), wrong);
    }
    const found = settings({}, environment);
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, found[key]])), expected);
  });
}

test("the default object's id", () => {
  for (const { function: name, object } of vectors.objects) assert.equal(defaultId(name), object);
});

test("ids of a platform's calls", async () => {
  const so = new MisoObject({ url: "redis://car:-@127.0.0.1:1" });
  for (const { name, call, accepted } of vectors.calls) {
    if (accepted) await so.forCall(call).close();
    else assert.throws(() => so.forCall(call), ArgumentError, name);
  }
  await so.close();
});

test("codec: every number of a random double survives, integers as BigInt do", () => {
  for (let i = 0; i < 2000; i++) {
    const bits = new BigUint64Array([BigInt.asUintN(64, BigInt(Math.floor(Math.random() * 2 ** 53)) * 2048n + BigInt(i))]);
    const [value] = new Float64Array(bits.buffer);
    if (Number.isFinite(value)) assert.equal(decode(encode(value)), value === 0 ? 0 : value);
  }
});
