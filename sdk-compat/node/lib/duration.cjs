"use strict";

/** Milliseconds of a Go duration such as `10s` or `1m30s`; a bare number is of seconds, as the watchdog reads it. */
function milliseconds(text, otherwise) {
  if (/^\d+$/.test(text ?? "")) return Number(text) * 1_000;
  const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  const parts = [...(text ?? "").matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  return parts.length === 0 ? otherwise : parts.reduce((sum, [, n, unit]) => sum + Number(n) * units[unit], 0);
}

module.exports = { milliseconds };
