/// <reference types="node" />
import { EventEmitter } from "node:events";

/** What the codec holds. Integers beyond 2^53 are BigInt; a smaller BigInt comes back as a number. */
export type Value = null | boolean | number | bigint | string | readonly Value[] | { readonly [key: string]: Value };
/** What is stored with `{ raw: true }`: it comes back as a Buffer. */
export type Raw = Uint8Array | string;

export interface Options {
  /** `redis://FUNCTION:-@HOST:6379`; default: MISO_URL, else MISO_HOST_IP, MISO_HOST_PORT and MISO_FUNCTION_NAME. */
  url?: string;
  /** The function, if the URL's user is not its name; default: MISO_FUNCTION_NAME. */
  function?: string;
  /** The object's id; default: the function's own object, the same on every node. */
  id?: string;
  /** This replica of the function; default: MISO_REPLICA_ID, else the host's name. */
  replica?: string;
  /** The class of ioredis, to use it instead of node-redis. */
  ioredis?: new (options: any) => any;
  /** Milliseconds until a connection must stand. Default 2000. */
  connectTimeout?: number;
  /** Milliseconds that one attempt of a call waits for its reply. Default 3000. */
  replyTimeout?: number;
  /** Milliseconds that a call takes at most, with all its attempts. Default 10000. */
  deadline?: number;
  /** Milliseconds without use after which the connection is checked before it is used. Default 1000. */
  checkAfter?: number;
}

/** The proxies had from here do I/O only in their methods. */
declare class Getters {
  /** The object's id. */
  readonly id: string;
  getGCounter(name: string): GCounter;
  getPNCounter(name: string): PNCounter;
  getGSet(name: string, options: { raw: true }): GSet<Raw, Buffer>;
  getGSet<T extends Value = Value>(name: string, options?: { raw?: false }): GSet<T>;
  getORSet(name: string, options: { raw: true }): ORSet<Raw, Buffer>;
  getORSet<T extends Value = Value>(name: string, options?: { raw?: false }): ORSet<T>;
  getMVRegister(name: string, options: { raw: true }): MVRegister<Raw, Buffer>;
  getMVRegister<T extends Value = Value>(name: string, options?: { raw?: false }): MVRegister<T>;
  getEWFlag(name: string): EWFlag;
  getORMap(name: string, options: { raw: true }): ORMap<Raw, Buffer>;
  getORMap<T extends Value = Value>(name: string, options?: { raw?: false }): ORMap<T>;
}

/** A stateful object: some named CRDTs that live on the node beside the function. */
export class MisoObject extends Getters {
  /** Does no I/O. Throws `SettingError` if nothing says where the node is. */
  constructor(options?: Options);
  /** Another object of the same function, over the same connection. */
  object(id: string): MisoObject;
  /** The same object for one call of the platform: a repeat with the same writes in the same order changes nothing. */
  forCall(callId?: string): MisoObject;
  /** Waits for all calls of an object from `forCall`; throws the first error that nobody waited for. */
  settled(): Promise<void>;
  /** Calls that are sent together, in order; others may come between them. */
  batch(): Batch;
  /** Calls that run together (MULTI). */
  atomic(): Batch;
  /** Deletes these names, or the whole object; answers how many names there were. */
  delete(...names: string[]): Promise<number>;
  /** Whether the object, or this name of it, exists. */
  exists(name?: string): Promise<boolean>;
  /** Tells the node that a replica of the function runs here (for `ttl` seconds past its connection). */
  register(options?: { replica?: string; ttl?: number }): Promise<void>;
  unregister(): Promise<boolean>;
  /** A causal token: everything that may have been seen here. */
  token(): Promise<string>;
  /** Waits until this node has everything that the token covers; false if not within `timeout` ms (5000). */
  await(token: string, timeout?: number): Promise<boolean>;
  /** The function that the connection speaks for. */
  functionName(): Promise<string>;
  watch(): Watcher;
  /** Ends the connection, if no other object of the process uses it. */
  close(): Promise<void>;
}
export { MisoObject as StatefulObject };

/** What the getters' proxies are asked is sent by `send`, all at once. */
export class Batch extends Getters {
  private constructor();
  /** Answers what each call answered, or throws the first error. */
  send(): Promise<unknown[]>;
}

export class GCounter {
  protected constructor();
  readonly object: string;
  readonly name: string;
  /** Answers the new value on this node, NaN if a number cannot hold it. */
  add(by?: number | bigint): Promise<number>;
  /** Rejects with `ValueRangeError` where a number cannot hold it. */
  getValue(): Promise<number>;
  /** Always exact. */
  getBigInt(): Promise<bigint>;
}

export class PNCounter extends GCounter {
  sub(by?: number | bigint): Promise<number>;
}

export class GSet<In = Value, Out = In> implements AsyncIterable<Out> {
  protected constructor();
  readonly object: string;
  readonly name: string;
  /** Answers how many were new here. */
  add(...values: In[]): Promise<number>;
  has(value: In): Promise<boolean>;
  size(): Promise<number>;
  getValue(): Promise<Set<Out>>;
  values(): AsyncIterableIterator<Out>;
  [Symbol.asyncIterator](): AsyncIterableIterator<Out>;
}

export class ORSet<In = Value, Out = In> extends GSet<In, Out> {
  /** Answers how many were there. */
  delete(...values: In[]): Promise<number>;
  /** Answers how many were there. */
  clear(): Promise<number>;
}

export class MVRegister<In = Value, Out = In> {
  private constructor();
  readonly object: string;
  readonly name: string;
  assign(value: In): Promise<void>;
  /** Of concurrent values the same one on every node; undefined if none was assigned. */
  getValue(): Promise<Out | undefined>;
  /** All concurrent values. */
  getValues(): Promise<Out[]>;
}

export class EWFlag {
  private constructor();
  readonly object: string;
  readonly name: string;
  /** These answer whether the flag changed here. */
  enable(): Promise<boolean>;
  disable(): Promise<boolean>;
  assign(value: boolean): Promise<boolean>;
  getValue(): Promise<boolean>;
}

export class ORMap<In = Value, Out = In> implements AsyncIterable<[string, Out]> {
  private constructor();
  readonly object: string;
  readonly name: string;
  set(field: string, value: In): Promise<void>;
  get(field: string): Promise<Out | undefined>;
  /** All concurrent values of a field. */
  getValues(field: string): Promise<Out[]>;
  /** A field that is a counter, always exact. */
  getBigInt(field: string): Promise<bigint>;
  /** Answers the new value, NaN if a number cannot hold it. */
  increment(field: string, by?: number | bigint): Promise<number>;
  has(field: string): Promise<boolean>;
  delete(...fields: string[]): Promise<number>;
  size(): Promise<number>;
  keys(): Promise<string[]>;
  getValue(): Promise<Map<string, Out>>;
  entries(): AsyncIterableIterator<[string, Out]>;
  [Symbol.asyncIterator](): AsyncIterableIterator<[string, Out]>;
}

export interface Change {
  name: string;
  type: "gcounter" | "pncounter" | "gset" | "orset" | "mvreg" | "ewflag" | "ormap";
}

/** `change` for each change, here or elsewhere; `gap` when some may have been missed: read again. */
export class Watcher extends EventEmitter {
  private constructor();
  /** Settles when it listens for the first time. */
  readonly ready: Promise<this>;
  on(event: "change", listener: (change: Change) => void): this;
  on(event: "gap", listener: () => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  close(): void;
}

export class MisoError extends Error {
  readonly code: string;
}
/** A setting is missing or unusable. */
export class SettingError extends MisoError {
  readonly variable: string;
}
export class ArgumentError extends MisoError {}
/** The node does not answer. */
export class Unreachable extends MisoError {}
/** The command has not run and may be tried again. */
export class NotSent extends Unreachable {}
/** A write may or may not have run. */
export class UnknownOutcome extends MisoError {}
/** The user name was dropped on the way, or is bound to another function. */
export class FunctionMismatch extends MisoError {}
export class AccessError extends MisoError {}
/** The name holds another type. */
export class WrongType extends MisoError {}
/** MISO.ONCE refuses. */
export class OnceError extends MisoError {}
export class ReplyError extends MisoError {}
/** The codec cannot hold the value. */
export class Unencodable extends MisoError {}
/** What is stored was not written by the codec. */
export class Undecodable extends MisoError {}
/** The exact value does not fit a number. */
export class ValueRangeError extends RangeError {
  readonly code: string;
  readonly value: bigint;
}

/** A value in the canonical form of RFC 8785. */
export function encode(value: Value): Buffer;
export function decode(bytes: Uint8Array): Value;
/** Where the node is, from options or the environment. */
export function settings(
  options?: Pick<Options, "url" | "function" | "replica">,
  environment?: { [name: string]: string | undefined },
): { host: string; port: number; tls: boolean; user: string | null; password: string | null; function: string | null; replica: string };
/** The id of a function's own object. */
export function defaultId(name: string | null): string;
