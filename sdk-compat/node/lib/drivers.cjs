"use strict";
// Stock clients, each with the settings that keep it from repeating a command by itself. A driver opens one
// connection: `send(args)` answers the reply (integers as strings, texts as Buffers, maps as flat arrays) or rejects;
// `onEnd` is called once when the connection has ended.

const { within, LATE } = require("./within.cjs");

/** node-redis. */
function nodeRedis() {
  const { createClient, RESP_TYPES, ErrorReply } = require("redis");
  return {
    name: "node-redis",
    isReply: (error) => error instanceof ErrorReply,
    async open(settings, connectTimeout, onEnd) {
      const client = createClient({
        socket: {
          host: settings.host,
          port: settings.port,
          tls: settings.tls,
          connectTimeout,
          reconnectStrategy: false, // The SDK connects again itself: it has to check the function and register.
        },
        username: settings.user ?? undefined,
        password: settings.password ?? undefined,
        RESP: 3,
        disableOfflineQueue: true,
        maintNotifications: "disabled",
        commandOptions: {
          timeout: 0, // The SDK has a timer per call; this one, of the queue alone, costs more than all else of a call.
          typeMapping: { [RESP_TYPES.NUMBER]: String, [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.MAP]: Array },
        },
      });
      let ended = false;
      const end = () => {
        if (ended) return;
        ended = true;
        onEnd();
      };
      client.on("error", end);
      client.on("end", end);
      const destroy = () => {
        if (client.isOpen) client.destroy();
        end();
      };
      try {
        await within(connectTimeout, client.connect());
      } catch (error) {
        destroy();
        throw error;
      }
      return {
        send: (args) => client.sendCommand(args),
        subscribe: (channel, listener) => client.subscribe(channel, listener, true),
        destroy,
      };
    },
  };
}

/** ioredis, whose class the program brings: `new MisoObject({ ioredis: Redis })`. */
function ioredis(Redis) {
  return {
    name: "ioredis",
    isReply: (error) => error?.name === "ReplyError",
    async open(settings, connectTimeout, onEnd) {
      const client = new Redis({
        host: settings.host,
        port: settings.port,
        username: settings.user ?? undefined,
        password: settings.password ?? undefined,
        ...(settings.tls && { tls: {} }),
        connectTimeout,
        lazyConnect: true,
        // By default it sends again what had no reply, without limit: every lost reply would count twice.
        maxRetriesPerRequest: 0,
        retryStrategy: () => null,
        autoResendUnfulfilledCommands: false,
        autoResubscribe: false,
        enableOfflineQueue: false,
        stringNumbers: true,
      });
      let failure;
      client.on("error", (error) => (failure = error));
      client.once("end", onEnd);
      try {
        await within(connectTimeout, client.connect());
      } catch (error) {
        client.disconnect();
        throw error === LATE ? error : (failure ?? error);
      }
      return {
        send: ([command, ...args]) => client.callBuffer(command, ...args),
        subscribe(channel, listener) {
          client.on("messageBuffer", (_, message) => listener(message));
          return client.subscribe(channel);
        },
        destroy: () => client.disconnect(),
      };
    },
  };
}

module.exports = { nodeRedis, ioredis };
