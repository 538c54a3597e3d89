// Every example is short, runs, prints what it promises and ends.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startNode } from "./node.js";

const run = promisify(execFile);
const expected = JSON.parse(readFileSync(join(import.meta.dirname, "..", "examples.json"), "utf8"));

for (const [name, lines] of Object.entries(expected)) {
  test(`example ${name}`, async (t) => {
    const file = join(import.meta.dirname, "examples", `${name}.mjs`);
    assert.ok(readFileSync(file, "utf8").split("\n").length < 60, "it is short");
    const node = await startNode(t);
    const environment = { ...process.env, MISO_URL: node.url("example:-") };
    const { stdout, stderr } = await run(process.execPath, [file], { env: environment, timeout: 30_000 });
    assert.equal(stdout, `${lines.join("\n")}\n`);
    assert.equal(stderr, "");
  });
}

test("the quick start of the README", async (t) => {
  const [, code] = /```js\n(.*?)```/s.exec(readFileSync(join(import.meta.dirname, "README.md"), "utf8"));
  const node = await startNode(t);
  const options = { env: { ...process.env, MISO_URL: node.url("garage:-") }, cwd: import.meta.dirname, timeout: 30_000 };
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", code], options);
  assert.equal(stdout, "driven: 120 m\n");
});
