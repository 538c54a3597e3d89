"use strict";
// The one connection of a process to its node, opened by the first call and again after each end, and the rule by
// which a call is sent again: a read always, a write only if its id makes the second time harmless.
const { randomUUID } = require("node:crypto");
const errors = require("./errors.cjs");
const drivers = require("./drivers.cjs");
const { within, LATE } = require("./within.cjs");

const { NotSent, Unreachable, UnknownOutcome, FunctionMismatch, ArgumentError, MisoError } = errors;

const DEFAULTS = {
  /** Milliseconds until a connection must stand. */
  connectTimeout: 2_000,
  /** Milliseconds that one attempt of a call waits for its reply. */
  replyTimeout: 3_000,
  /** Milliseconds that a call takes at most, with all its attempts. */
  deadline: 10_000,
  /** Milliseconds without use after which a connection is asked whether it still stands. */
  checkAfter: 1_000,
};

const PAUSE_MS = 50;
/** How many calls MISO.ONCE takes in a transaction: what they answer has to fit into what is kept of it. */
const ATOMIC_MOST = 20;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The server has run nothing and will soon. */
const NOT_YET = /^(LOADING|TRYAGAIN)\b/;
const text = (reply) => (reply === null || reply === undefined ? null : reply.toString());

/** Whether `id` may stand after MISO.ONCE. */
function checkId(id) {
  const length = Buffer.byteLength(id);
  if (length >= 1 && length <= 64) return id;
  throw new ArgumentError(`the id '${id}' has ${length} bytes, expected 1 to 64: give a shorter call id`);
}

/** Whether these commands run under ids: writes do, and of those in MULTI and EXEC no read is among them. */
function named(commands, atomic) {
  return atomic === undefined || (commands.length <= ATOMIC_MOST && commands.every((command) => command.write));
}

class Link {
  constructor(settings, options = {}) {
    this.settings = settings;
    this.options = { ...DEFAULTS, ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) };
    this.driver = options.ioredis ? drivers.ioredis(options.ioredis) : drivers.nodeRedis();
    this.current = null; // A promise of the connection, while there is one.
    this.registration = null;
    this.closed = false;
    this.users = 0;
  }

  /** The connection: the one that stands, else a new one. Rejects with `NotSent` or what makes a retry useless. */
  async connection() {
    if (this.closed) throw new NotSent("the object is closed; make a new MisoObject");
    if (this.current === null) this.open();
    const connection = await this.current;
    const idle = Date.now() - connection.used > this.options.checkAfter;
    connection.used = Date.now();
    if (!idle) return connection;
    // A process that was frozen does not know that its connection was closed meanwhile.
    connection.check ??= within(this.options.connectTimeout, connection.send(["PING"]))
      .then(() => true, (error) => this.driver.isReply(error))
      .finally(() => (connection.check = null));
    if (await connection.check) return connection;
    connection.destroy();
    return this.connection();
  }

  /** Opens a connection and keeps its promise while it stands. */
  open() {
    let over = false;
    const ended = () => {
      over = true;
      if (this.current === promise) this.current = null;
      if (this.registration && !this.closed) this.openAgain();
    };
    const promise = this.greeted(ended).then(
      (connection) => {
        if (!over) return connection;
        throw new NotSent(`the node at ${this.settings.host}:${this.settings.port} closed the connection`);
      },
      (error) => {
        if (this.current === promise) this.current = null;
        throw error;
      },
    );
    this.current = promise;
  }

  async greeted(ended) {
    const address = `${this.settings.host}:${this.settings.port}`;
    let connection;
    try {
      connection = await this.driver.open(this.settings, this.options.connectTimeout, ended);
      connection.used = Date.now();
      await within(this.options.connectTimeout, this.greet(connection));
      return connection;
    } catch (error) {
      connection?.destroy();
      if (error instanceof MisoError) throw error;
      if (this.driver.isReply(error) && !NOT_YET.test(error.message)) {
        throw errors.ofReply(error.message, `connecting to ${address}`);
      }
      const why = error === LATE ? "it does not answer" : error.message || error.code;
      throw new NotSent(`no node at ${address}: ${why}; is it running, and is MISO_URL right?`, { cause: error });
    }
  }

  /** What is asked of every new connection. */
  async greet(connection) {
    const info = connection.send(["COMMAND", "INFO", "MISO.ONCE"]).catch(() => [null]);
    const name = text(await connection.send(["MISO.FUNCTION"]));
    const { function: wanted, user } = this.settings;
    if (wanted !== null && name.split("#")[0] !== wanted) {
      const login = text(await connection.send(["ACL", "WHOAMI"]).catch(() => null));
      if (user === null || login !== user || wanted !== user) {
        throw new FunctionMismatch(
          `the connection speaks for '${name}', not for '${wanted}': the user name did not arrive, or it is bound to ` +
            `another function. Write redis://${encodeURIComponent(wanted)}:-@HOST in MISO_URL`,
        );
      }
    }
    connection.function = name;
    connection.once = Array.isArray((await info)?.[0]);
    if (this.registration) await this.sayRegistration(connection);
  }

  sayRegistration(connection) {
    const { replica, ttl } = this.registration;
    const more = ttl === undefined ? [] : ["TTL", String(ttl)];
    return connection.send(["MISO.REGISTER", connection.function, "REPLICA", replica, ...more]);
  }

  /** A registered function stays so without a call: its connection is opened again at once. */
  async openAgain() {
    if (this.opening) return;
    this.opening = true;
    for (let pause = PAUSE_MS; this.registration && !this.closed && !this.current; pause = Math.min(2 * pause, 5_000)) {
      await new Promise((resolve) => setTimeout(resolve, pause).unref());
      if (this.registration && !this.closed) await this.connection().catch(() => {});
    }
    this.opening = false;
  }

  /**
   * Runs commands, `{ args, write, id }`, on one connection: in a pipeline, or `atomic` in MULTI and EXEC under the
   * one id `atomic`, if they are few and all of them write. Answers a reply or an error for each; rejects if the node was not reached or the outcome is unknown.
   */
  async run(commands, { atomic, replyTimeout = this.options.replyTimeout } = {}) {
    const writes = commands.some((command) => command.write);
    // One id per write, the same each time it is sent.
    commands = commands.map((command) => (command.write ? { ...command, id: checkId(command.id ?? randomUUID()) } : command));
    if (atomic !== undefined) checkId(atomic);
    const end = Date.now() + this.options.deadline + Math.max(0, replyTimeout - this.options.replyTimeout);
    const under = named(commands, atomic);
    let sentBefore = false;
    for (;;) {
      let connection;
      try {
        connection = await this.connection();
      } catch (error) {
        if (!(error instanceof NotSent) || this.closed || Date.now() + PAUSE_MS > end) throw this.lost(error, sentBefore && writes);
        await sleep(PAUSE_MS);
        continue;
      }
      // A write that may have run under its id may run again only where ids are known.
      const once = connection.once && under;
      if (sentBefore && writes && !once) throw this.lost(null, true);
      const results = await this.attempt(connection, commands, { atomic, once, replyTimeout });
      const again = results.some((result) => result instanceof Error && NOT_YET.test(result.message));
      const cut = results.find((result) => result instanceof Unreachable);
      if (!cut && !(again && commands.length === 1 && Date.now() + PAUSE_MS < end)) return results;
      if (cut) {
        if (writes && !once) throw this.lost(cut, true);
        if (Date.now() + PAUSE_MS > end) throw this.lost(cut, writes);
        sentBefore = true;
      }
      await sleep(PAUSE_MS);
    }
  }

  lost(cause, unknown) {
    if (!unknown) return cause;
    const why = cause?.message ?? "the connection ended";
    return new UnknownOutcome(`a write was sent and its reply was lost (${why}): it may or may not have run; read first`, { cause });
  }

  /** Sends everything in one go, under ids if `once`, and waits for every reply. */
  async attempt(connection, commands, { atomic, once, replyTimeout }) {
    const lines = commands.map(({ args, write, id }) =>
      write && once && atomic === undefined ? ["MISO.ONCE", id, ...args] : args,
    );
    if (atomic !== undefined) {
      lines.unshift(once ? ["MISO.ONCE", atomic, "MULTI"] : ["MULTI"]);
      lines.push(["EXEC"]);
    }
    const replies = Promise.all(lines.map((args) => connection.send(args).catch((error) => this.failure(error, args[0]))));
    let results = await within(replyTimeout, replies).catch((error) => error);
    if (results === LATE) {
      connection.destroy();
      const error = new Unreachable(`no reply within ${replyTimeout} ms`);
      return commands.map(() => error);
    }
    if (atomic === undefined) return results;
    const exec = results.at(-1);
    const refused = results.slice(1, -1).find((result) => result instanceof Error && !(result instanceof Unreachable));
    results = Array.isArray(exec) ? exec : commands.map(() => refused ?? exec);
    return results.map((result) => (this.driver.isReply(result) ? errors.ofReply(result.message, "EXEC") : result));
  }

  failure(error, command) {
    if (this.driver.isReply(error)) return errors.ofReply(error.message, command);
    return new Unreachable(`the connection ended: ${error.message}`, { cause: error });
  }

  async register(replica, ttl) {
    this.registration = { replica, ttl };
    const connection = await this.connection();
    await this.sayRegistration(connection);
  }

  async unregister() {
    if (!this.registration) return false;
    const { replica } = this.registration;
    this.registration = null;
    const name = (await this.connection()).function;
    // The node may wait until another one has everything.
    const command = { args: ["MISO.UNREGISTER", name, "REPLICA", replica] };
    const [reply] = await this.run([command], { replyTimeout: 30_000 });
    if (reply instanceof Error) throw reply;
    return Number(reply) === 1;
  }

  async close() {
    if (--this.users > 0) return;
    this.closed = true;
    links.delete(this.key);
    const connection = await this.current?.catch(() => null);
    connection?.destroy();
  }
}

/** The links of this process, by what they connect to. */
const links = new Map();

/** The link with these settings, shared by all objects of the process. */
function share(settings, options) {
  const { ioredis, ...plain } = options;
  const key = JSON.stringify([settings, plain, Boolean(ioredis)]);
  let link = links.get(key);
  if (!link || link.closed) {
    link = new Link(settings, options);
    link.key = key;
    links.set(key, link);
  }
  link.users += 1;
  return link;
}

module.exports = { share, checkId, text };
