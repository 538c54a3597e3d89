// The declarations are right for import and for require, and name what the package has.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as miso from "./lib/index.mjs";

const here = (...parts) => join(import.meta.dirname, ...parts);

test("the declarations compile with their uses", () => {
  const tsc = spawnSync(process.execPath, [here("node_modules", "typescript", "bin", "tsc"), "-p", here("tsconfig.json")], {
    encoding: "utf8",
  });
  assert.equal(tsc.status, 0, tsc.stdout + tsc.stderr);
});

test("every export and every method is declared", () => {
  const declared = readFileSync(here("lib", "index.d.cts"), "utf8");
  for (const [name, value] of Object.entries(miso)) {
    assert.match(declared, new RegExp(`export (class|function) ${name}\\b|as ${name}\\b`), name);
    if (!/^(MisoObject|Batch|[GPO][A-Z]\w+|MVRegister|EWFlag)$/.test(name)) continue;
    const methods = Object.getOwnPropertyNames(value.prototype).filter((method) => !["constructor", "read", "write", "pages"].includes(method));
    for (const method of methods) assert.match(declared, new RegExp(`\\b${method}[(<]`), `${name}.${method}`);
  }
});
