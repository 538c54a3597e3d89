"use strict";
// What can go wrong, one class per thing that a program may do about it.

/** The base of all errors of this package. `code` is the class's name, which survives bundlers. */
class MisoError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = this.code = new.target.name;
  }
}

/** A setting is missing or unusable; `variable` is the environment variable that gives it. */
class SettingError extends MisoError {
  constructor(variable, message) {
    super(message);
    this.variable = variable;
  }
}

/** An argument that no call can take: an id that is too long, a name that is no text. */
class ArgumentError extends MisoError {}

/** The node does not answer. A read may simply be tried again. */
class Unreachable extends MisoError {}

/** The command did not reach the node: it has not run and may be tried again. */
class NotSent extends Unreachable {}

/**
 * A write was sent and its reply was lost, so it may or may not have run. Read before you repeat it, or use a server
 * that knows MISO.ONCE, where the SDK repeats it safely by itself.
 */
class UnknownOutcome extends MisoError {}

/** The connection speaks for another function than the one asked for: the user name was dropped on the way. */
class FunctionMismatch extends MisoError {}

/** The server refuses the login, or the user may not do this. */
class AccessError extends MisoError {}

/** The name holds another type. */
class WrongType extends MisoError {}

/** MISO.ONCE refuses: its window is full, or the command cannot run once. */
class OnceError extends MisoError {}

/** Any other error that the server answered. */
class ReplyError extends MisoError {}

/** The codec cannot hold the value. */
class Unencodable extends MisoError {}

/** What is stored was not written by the codec. */
class Undecodable extends MisoError {}

/** The exact value does not fit a JavaScript number. */
class ValueRangeError extends RangeError {
  constructor(message, value) {
    super(message);
    this.name = this.code = "ValueRangeError";
    this.value = value;
  }
}

/** The typed error for an error reply with this text. */
function ofReply(text, command) {
  const of = (Type, hint) => new Type(`${text} (${command})${hint ? `; ${hint}` : ""}`);
  if (text.startsWith("WRONGTYPE")) return of(WrongType, "take another name, or the getter of its type");
  if (/^(NOAUTH|WRONGPASS|NOPERM)\b/.test(text)) return of(AccessError, "check the user and password in MISO_URL");
  if (/^ERR once\b/i.test(text)) return of(OnceError, "see once-window and once-max in the server's settings");
  return of(ReplyError);
}

module.exports = {
  MisoError,
  SettingError,
  ArgumentError,
  Unreachable,
  NotSent,
  UnknownOutcome,
  FunctionMismatch,
  AccessError,
  WrongType,
  OnceError,
  ReplyError,
  Unencodable,
  Undecodable,
  ValueRangeError,
  ofReply,
};
