// How long the handlers are, and their cognitive complexity by eslint-plugin-sonarjs. Prints JSON.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ESLint } from "eslint";
import sonarjs from "eslint-plugin-sonarjs";

const HANDLERS = ["miso", "miso-token", "redis", "redis-kept", "minio"];
const RULE = "sonarjs/cognitive-complexity";
const folder = import.meta.dirname;

const eslint = new ESLint({
  cwd: folder,
  overrideConfigFile: true,
  // With 0 allowed the rule tells the complexity of each function that has any.
  overrideConfig: [{ files: ["**/*.js"], languageOptions: { sourceType: "commonjs" }, plugins: { sonarjs }, rules: { [RULE]: ["error", 0] } }],
});

/** Physical lines, and the sum of the complexity of all functions. */
async function measured(name) {
  const path = join(folder, name, "handler.js");
  const [{ messages }] = await eslint.lintFiles([path]);
  const complexity = messages.map(({ ruleId, message }) => {
    const found = ruleId === RULE && /Complexity from (\d+) to/.exec(message);
    if (!found) throw new Error(`${path}: ${message}`);
    return Number(found[1]);
  });
  return { lines: readFileSync(path, "utf8").trimEnd().split("\n").length, complexity: complexity.reduce((sum, each) => sum + each, 0) };
}

/** By handler. */
export async function usability() {
  return Object.fromEntries(await Promise.all(HANDLERS.map(async (name) => [name, await measured(name)])));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(await usability(), null, 2));
