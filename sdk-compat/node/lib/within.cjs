"use strict";

/** What `within` rejects with when the time is over. */
const LATE = Symbol("late");

/** The outcome of `promise`, or a rejection with `LATE` after `ms`. */
function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, ms, LATE)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

module.exports = { within, LATE };
