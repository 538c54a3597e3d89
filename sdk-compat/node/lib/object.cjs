"use strict";
const { randomUUID } = require("node:crypto");
const { ArgumentError } = require("./errors.cjs");
const { settings, defaultId } = require("./settings.cjs");
const { share, checkId, text } = require("./link.cjs");
const { Watcher } = require("./watch.cjs");
const types = require("./types.cjs");

/** A call in flight, which knows whether anybody waits for it. */
class Call extends Promise {
  awaited = false;

  then(...handlers) {
    this.awaited = true;
    return super.then(...handlers);
  }

  static get [Symbol.species]() {
    return Promise;
  }
}

/** The getters of the seven types, for an object and for a batch on it. */
class Getters {
  #run;

  constructor(run, id) {
    this.#run = run;
    /** The object's id. */
    this.id = id;
  }

  getGCounter(name) {
    return new types.GCounter(this.#run, this.id, name);
  }

  getPNCounter(name) {
    return new types.PNCounter(this.#run, this.id, name);
  }

  getGSet(name, options) {
    return new types.GSet(this.#run, this.id, name, options);
  }

  getORSet(name, options) {
    return new types.ORSet(this.#run, this.id, name, options);
  }

  getMVRegister(name, options) {
    return new types.MVRegister(this.#run, this.id, name, options);
  }

  getEWFlag(name) {
    return new types.EWFlag(this.#run, this.id, name);
  }

  getORMap(name, options) {
    return new types.ORMap(this.#run, this.id, name, options);
  }
}

/** Calls that are sent together by `send`. What they answer comes with it, and by the promise of each. */
class Batch extends Getters {
  #commands;
  #link;
  #atomic;

  constructor(link, id, callId, atomic) {
    const commands = [];
    super((command) => {
      if (this.sent) throw new ArgumentError("the batch was sent; make a new one");
      const args = command.args();
      const promise = new Promise((resolve, reject) => commands.push({ id: callId(command), ...command, args, resolve, reject }));
      promise.catch(() => {}); // `send` tells it too.
      return promise;
    }, id);
    this.#commands = commands;
    this.#link = link;
    this.#atomic = atomic;
    this.sent = false;
  }

  /** Sends all calls at once; answers what each answered, or throws the first error. */
  async send() {
    if (this.sent) throw new ArgumentError("the batch was sent; make a new one");
    this.sent = true;
    if (this.#commands.length === 0) return [];
    let replies;
    try {
      replies = await this.#link.run(this.#commands, { atomic: this.#atomic });
    } catch (error) {
      replies = this.#commands.map(() => error);
    }
    const results = this.#commands.map(({ decode, resolve, reject }, i) => {
      const reply = replies[i];
      if (reply instanceof Error) {
        reject(reply);
        return { error: reply };
      }
      try {
        const value = decode(reply);
        resolve(value);
        return { value };
      } catch (error) {
        reject(error);
        return { error };
      }
    });
    const failed = results.find(({ error }) => error);
    if (failed) throw failed.error;
    return results.map(({ value }) => value);
  }
}

/** A stateful object: some named CRDTs that live on the node beside the function. Making one does no I/O. */
class MisoObject extends Getters {
  #link;
  #callId;
  #calls = null; // The calls in flight, if somebody wants to wait for all of them.
  #closed = false;

  /**
   * `options`: url, function, id, replica, ioredis (its class), connectTimeout, replyTimeout, deadline, checkAfter.
   * Throws `SettingError` if neither they nor the environment say where the node is.
   */
  constructor(options = {}, inner = {}) {
    const { url, function: name, id, replica, ...timing } = options;
    const found = inner.link ? inner.link.settings : settings({ url, function: name, replica });
    if (id !== undefined && (typeof id !== "string" || id === "")) throw new ArgumentError("an id is a string that is not empty");
    super((command) => this.#run(command), id ?? defaultId(found.function));
    this.#link = inner.link ?? share(found, timing);
    if (inner.link) inner.link.users += 1;
    if (inner.track) this.#calls = new Set();
    let number = 0;
    this.#callId = ({ write }) => (write && inner.callId ? checkId(`${inner.callId}:${number++}`) : undefined);
  }

  #run({ args, write, decode }) {
    const send = async () => {
      const [reply] = await this.#link.run([{ args: args(), write, id: this.#callId({ write }) }]);
      if (reply instanceof Error) throw reply;
      return decode(reply);
    };
    if (this.#calls === null) return send();
    const call = new Call((resolve, reject) => send().then(resolve, reject));
    this.#calls.add(call);
    Promise.prototype.then.call(call, () => this.#calls.delete(call), () => call.awaited && this.#calls.delete(call));
    return call;
  }

  /** Another object of the same function, over the same connection. */
  object(id) {
    return new MisoObject({ id }, { link: this.#link });
  }

  /**
   * The same object for one call of the platform, with the platform's own id of it (`awsRequestId`, `X-Call-Id`): a
   * repeat of the whole call that makes the same writes in the same order changes nothing. `settled` waits for the
   * calls made through it.
   */
  forCall(callId) {
    if (callId !== undefined) checkId(`${callId}:0`);
    return new MisoObject({ id: this.id }, { link: this.#link, callId, track: true });
  }

  /** Waits for all calls of an object from `forCall`; throws the first error that nobody waited for. */
  async settled() {
    let lost = null;
    while (this.#calls?.size > 0) {
      const calls = [...this.#calls];
      const results = await Promise.allSettled(calls.map((call) => Promise.prototype.then.call(call, (value) => value)));
      results.forEach((result, i) => {
        if (result.status === "rejected" && !calls[i].awaited) lost ??= result.reason;
        this.#calls.delete(calls[i]);
      });
    }
    if (lost) throw lost;
  }

  /** Calls that are sent together, in order; others may come between them. */
  batch() {
    return new Batch(this.#link, this.id, this.#callId);
  }

  /** Calls that are run together (MULTI): all or, if one cannot be queued, none; replicated in one piece. */
  atomic() {
    const id = this.#callId({ write: true }) ?? randomUUID();
    return new Batch(this.#link, this.id, () => undefined, id);
  }

  /** Deletes these names, or the whole object; answers how many names there were. */
  delete(...names) {
    return this.#run({ args: () => ["MISO.DEL", this.id, ...names], write: true, decode: Number });
  }

  /** Whether the object, or this name of it, exists. */
  exists(name) {
    const args = () => ["MISO.EXISTS", this.id, ...(name === undefined ? [] : [name])];
    return this.#run({ args, decode: (reply) => Number(reply) > 0 });
  }

  /** Tells the node that a replica of the function runs here, again after each reconnect. */
  async register({ replica = this.#link.settings.replica, ttl } = {}) {
    await this.#link.register(replica, ttl);
  }

  /** Takes it back; answers whether there was one. The node may wait until another has all that it knows. */
  async unregister() {
    return this.#link.unregister();
  }

  /** A causal token: everything that may have been seen here. */
  token() {
    return this.#run({ args: () => ["MISO.TOKEN"], decode: text });
  }

  /** Waits until this node has everything that the token covers; false if it has not within `timeout` ms. */
  async await(token, timeout = 5_000) {
    if (!Number.isSafeInteger(timeout) || timeout <= 0) throw new ArgumentError("a timeout is a number of milliseconds above 0");
    const command = { args: ["MISO.AWAIT", token, String(timeout)] };
    const [reply] = await this.#link.run([command], { replyTimeout: timeout + 2_000 });
    if (reply instanceof Error) throw reply;
    return Number(reply) === 1;
  }

  /** The function that the connection speaks for. */
  async functionName() {
    return (await this.#link.connection()).function;
  }

  /** An emitter of `change` ({ name, type }) and of `gap` after a reconnect. Close it. */
  watch() {
    return new Watcher(this.#link, this.id);
  }

  /** Ends the connection, if no other object of the process uses it. */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    await this.#link.close();
  }

  [Symbol.asyncDispose ?? Symbol.for("asyncDispose")]() {
    return this.close();
  }
}

module.exports = { MisoObject, Batch };
