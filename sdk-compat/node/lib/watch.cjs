"use strict";
// Changes of an object as events, on a connection of its own.
const { EventEmitter } = require("node:events");

const LONGEST_PAUSE_MS = 5_000;

/**
 * Emits `change` ({ name, type }) for each change of the object, made here or on another node; `gap` when changes may
 * have been missed, so that what was read before has to be read again; `error` if it can never work.
 */
class Watcher extends EventEmitter {
  #connection = null;
  #closed = false;
  #pause = 50;
  #timer = null;

  constructor(link, object) {
    super();
    /** Settles when it listens for the first time. */
    this.ready = new Promise((resolve, reject) => this.#open(link, object, resolve, reject));
    this.ready.catch(() => {});
  }

  async #open(link, object, resolve, reject) {
    let connection;
    let again = () => {
      again = () => {};
      this.#connection = null;
      if (this.#closed) return;
      this.#timer = setTimeout(() => this.#open(link, object, resolve, reject), this.#pause);
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_MS);
    };
    try {
      // The channel holds the function's name, which the shared connection has checked.
      const { function: name } = await link.connection();
      connection = await link.driver.open(link.settings, link.options.connectTimeout, () => again());
      await connection.subscribe(`__miso__:${name}:${object}`, (message) => this.#told(message.toString()));
    } catch (error) {
      connection?.destroy();
      const forGood = link.closed || !["NotSent", "Unreachable"].includes(error.code ?? "Unreachable");
      if (!forGood || connection) return again();
      reject(error);
      return this.listenerCount("error") > 0 && this.emit("error", error);
    }
    if (this.#closed) return connection.destroy();
    const first = this.#pause === 50 && !this.listening;
    this.listening = true;
    this.#connection = connection;
    this.#pause = 50;
    if (first) resolve(this);
    else this.emit("gap");
  }

  /** A message is the name, a space and the type. */
  #told(message) {
    const space = message.lastIndexOf(" ");
    this.emit("change", { name: message.slice(0, space), type: message.slice(space + 1) });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#connection?.destroy();
  }

  [Symbol.dispose ?? Symbol.for("dispose")]() {
    this.close();
  }
}

module.exports = { Watcher };
