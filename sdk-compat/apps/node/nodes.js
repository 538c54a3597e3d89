// Two nodes with proxies between them, for one test: ../../testing/cluster.py, led by its lines.
import { createClient } from "redis";
import { startCluster, until } from "../../node/cluster.js";

export { until };

/**
 * Starts two nodes. `url(n)` is what an application is given instead of its Redis, `client(n)` a connection of
 * node-redis, `do(line)` what the cluster is told.
 */
export async function twoNodes(t, ...flags) {
  const cluster = await startCluster(t, 2, ...flags);
  const url = (node) => cluster.url(node, "app");
  const client = async (node) => {
    const opened = createClient({ url: url(node) });
    opened.on("error", () => {}); // A command that fails says it itself.
    await opened.connect();
    t.after(() => opened.destroy());
    return opened;
  };
  return { url, client, do: (line) => cluster.do(line) };
}
