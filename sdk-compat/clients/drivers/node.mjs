// node-redis, ioredis, iovalkey and valkey-glide for Node: the first argument says which.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [which, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const careful = process.env.CAREFUL ? { maxRetriesPerRequest: 0, stringNumbers: true } : {};
// What Node's own TLS takes.
const { TLS_CA: ca, TLS_CERT: cert, TLS_KEY: key } = process.env;
const tls = ca && { ca: readFileSync(ca), ...(cert && { cert: readFileSync(cert), key: readFileSync(key) }) };
let client, listener, next;
let queued = [];

const heard = (message) => next.resolve(message);
const expectMessage = () => {
  next = {};
  next.promise = new Promise((resolve) => (next.resolve = resolve));
};

const drivers = {
  redis: {
    async open(url, protocol) {
      const { createClient } = await load("redis");
      client = createClient({ url, RESP: Number(protocol), ...(tls && { socket: { ...tls, reconnectStrategy: false } }) });
      client.on("error", () => {});
      await client.connect();
      return client.ping();
    },
    call: (...words) => client.sendCommand(words),
    pipeline: async () => (await Promise.all(queued.map((words) => client.sendCommand(words)))).length,
    async multi() {
      const multi = client.multi();
      for (const words of queued) multi.addCommand(words);
      return (await multi.exec()).length;
    },
    async listen(channel) {
      listener = client.duplicate();
      listener.on("error", () => {});
      await listener.connect();
      await listener.subscribe(channel, heard);
      return true;
    },
  },
  ioredis: {
    async open(url, protocol) {
      if (which === "iovalkey" && protocol === "3") throw new Error("RESP2 only");
      const { default: Redis } = await load(which);
      client = new (Redis.default ?? Redis)(url, { protocol: Number(protocol), ...careful, ...(tls && { tls, retryStrategy: null }) });
      client.on("error", () => {});
      return client.ping();
    },
    call: (...words) => client.call(...words),
    pipeline: async () => (await client.pipeline(queued.map((words) => ["call", ...words])).exec()).length,
    multi: async () => (await client.multi(queued.map((words) => ["call", ...words])).exec()).length,
    async listen(channel) {
      listener = client.duplicate();
      await listener.subscribe(channel);
      listener.on("message", (_, message) => heard(message));
      return true;
    },
  },
  glide: {
    async open(url, protocol) {
      this.glide = await load("@valkey/valkey-glide");
      const { hostname: host, port, username, password } = new URL(url);
      const credentials = password ? { username: decodeURIComponent(username), password } : undefined;
      this.options = { addresses: [{ host, port: Number(port) }], credentials, requestTimeout: 2000,
        protocol: protocol === "3" ? this.glide.ProtocolVersion.RESP3 : this.glide.ProtocolVersion.RESP2 };
      client = await this.glide.GlideClient.createClient(this.options);
      return client.ping();
    },
    call: (...words) => client.customCommand(words),
    async run(atomic) {
      const batch = new this.glide.Batch(atomic);
      for (const words of queued) batch.customCommand(words);
      return (await client.exec(batch, true)).length;
    },
    pipeline() { return this.run(false); },
    multi() { return this.run(true); },
    async listen(channel) {
      const channelsAndPatterns = { [this.glide.GlideClientConfiguration.PubSubChannelModes.Exact]: new Set([channel]) };
      const pubsubSubscriptions = { channelsAndPatterns, callback: ({ message }) => heard(message) };
      listener = await this.glide.GlideClient.createClient({ ...this.options, pubsubSubscriptions });
      return true;
    },
  },
};
drivers.iovalkey = drivers.ioredis;
const driver = drivers[which];

const kind = (value) => (value === null ? "null" : typeof value === "object" ? value.constructor?.name ?? "Object" : typeof value);
const shown = (value) => String(value).replace(/\s+/g, " ");

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...words] = line.split("\t");
  try {
    let value;
    if (verb === "queue") queued.push(words);
    else if (verb === "message") value = await next.promise;
    else {
      if (verb === "listen") expectMessage();
      value = await driver[verb](...words);
      if (verb === "pipeline" || verb === "multi") queued = [];
    }
    console.log(["ok", kind(value), shown(value)].join("\t"));
  } catch (error) {
    console.log(["error", `${error.constructor.name}: ${shown(error.message)}`].join("\t"));
  }
}
process.exit(0);
