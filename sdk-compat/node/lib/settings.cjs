"use strict";
// Where the node is and for which function we speak, from options or the environment.
const { createHash } = require("node:crypto");
const { hostname } = require("node:os");
const { SettingError } = require("./errors.cjs");

const PORT = 6379;

function port(text, variable) {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= 65535) return value;
  throw new SettingError(variable, `${variable} is '${text}', expected a port from 1 to 65535`);
}

function ofUrl(source, name) {
  const wrong = (what) =>
    new SettingError("MISO_URL", `MISO_URL (or url) ${what}, expected redis://FUNCTION:-@HOST:6379`);
  let url;
  try {
    url = new URL(source);
  } catch {
    throw wrong("is no URL");
  }
  if (!["redis:", "rediss:"].includes(url.protocol) || !url.hostname) throw wrong(`begins with ${url.protocol}`);
  const part = (text) => {
    try {
      return decodeURIComponent(text) || null;
    } catch {
      throw wrong("holds a % that encodes nothing");
    }
  };
  // Without a password most clients drop the user name, and in open mode any password will do.
  const password = part(url.password);
  const user = part(url.username) ?? (password === null ? name : null);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port ? port(url.port, "MISO_URL") : PORT,
    tls: url.protocol === "rediss:",
    user,
    password: password ?? (user === null ? null : "-"),
    function: name ?? user,
  };
}

/**
 * The settings of a connection: `options.url` and `options.function`, else MISO_URL, else MISO_HOST_IP and
 * MISO_HOST_PORT with MISO_FUNCTION_NAME (or OPENFAAS_NAME). Throws `SettingError`.
 */
function settings(options = {}, environment = process.env) {
  const name = options.function ?? environment.MISO_FUNCTION_NAME ?? null;
  const replica = options.replica ?? environment.MISO_REPLICA_ID ?? hostname();
  const url = options.url ?? environment.MISO_URL;
  if (url) return { ...ofUrl(url, name), replica };
  if (!environment.MISO_HOST_IP) {
    throw new SettingError(
      "MISO_URL",
      "where is the node? Set MISO_URL=redis://FUNCTION:-@HOST:6379, or MISO_HOST_IP and MISO_FUNCTION_NAME",
    );
  }
  const user = name ?? environment.OPENFAAS_NAME ?? null;
  if (!user) throw new SettingError("MISO_FUNCTION_NAME", "MISO_HOST_IP is set: set MISO_FUNCTION_NAME too");
  const number = environment.MISO_HOST_PORT ? port(environment.MISO_HOST_PORT, "MISO_HOST_PORT") : PORT;
  return { host: environment.MISO_HOST_IP, port: number, tls: false, user, password: "-", function: user, replica };
}

/** The id of a function's own object: the same on every node, and for programs written for the paper's SDK. */
function defaultId(name) {
  return createHash("sha256").update(name ?? "default").digest("hex");
}

module.exports = { settings, defaultId };
