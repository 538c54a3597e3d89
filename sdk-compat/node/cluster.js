// Some nodes with proxies in front of them, for one test: ../testing/cluster.py, led by its lines.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Starts `count` nodes that end when the test `t` does. */
export async function startCluster(t, count = 3, ...flags) {
  const program = join(import.meta.dirname, "..", "testing", "cluster.py");
  const child = spawn("python3", [program, String(count), ...flags], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => child.once("exit", resolve));
  t.after(async () => {
    child.stdin.end();
    await ended;
  });
  const answer = async (word) => {
    const { value = "the program ended" } = await lines.next();
    if (!value.startsWith(word)) throw new Error(`the cluster says: ${value}`);
    return value;
  };
  const ports = (await answer("ready")).split(" ").slice(1);
  return {
    url: (node = 0, name = "car") => `redis://${name}:-@127.0.0.1:${ports[node]}`,
    async do(line) {
      child.stdin.write(`${line}\n`);
      await answer("ok");
    },
  };
}

/** Waits until `condition` holds. */
export async function until(condition, what = "the condition", ms = 20_000) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what} does not come true`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
