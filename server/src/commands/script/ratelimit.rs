//! The scripts of `@upstash/ratelimit` for one region, versions 2.0.8 to 2.2.0, and what they do.
//!
//! Source: <https://github.com/upstash/ratelimit-js>, `src/lua-scripts`. Numbers are Lua's: floating-point
//! numbers, cut to integers in replies.

use miso_protocol::integer;

use super::caller::{Answer, Caller, Got, Script, Words};
use crate::engine::error::CommandError;

type Result<T> = std::result::Result<T, CommandError>;

const fn script(
    sha1: &'static str,
    needs: (usize, usize),
    run: fn(&mut Caller<'_, '_>, Words<'_>) -> Result<Answer>,
) -> Script {
    Script { sha1, needs, walks: false, run }
}

/// All scripts, by version: 2.1.0 and 2.2.0, then 2.0.8.
pub(super) const SCRIPTS: &[Script] = &[
    script("b2efc02798c8e9b471a10f9b1d5745db89923ff3", (1, 3), fixed_limit),
    script("472e55443b62f60d0991028456c57815a387066d", (1, 3), fixed_limit),
    script("823cb2a5a902d69681244f5e28e5ebb8f2a89edd", (1, 1), fixed_remaining),
    script("40515c9dd0a08f8584f5f9b593935f6a87c1c1c3", (1, 1), fixed_remaining),
    script("74740bb3d7792848093cdef586b6b6037c455fd6", (2, 4), sliding_limit),
    script("977fb636fb5ceb7e98a96d1b3a1272ba018efdae", (2, 4), sliding_limit),
    script("7ca36169e0fc9caedd81b4eef8e99854c157f9b5", (2, 3), sliding_remaining),
    script("ee3a3265fad822f83acad23f8a1e2f5c0b156b03", (2, 3), sliding_remaining),
    script("d60be5bd3d83482ae229309f1f7425424f891204", (1, 5), |call, words| {
        bucket_limit(call, words, |tokens, taken| tokens < taken)
    }),
    // 2.1.0 and 2.0.8 reject only once the bucket is empty.
    script("a9873a8026b509e99a49a0e5a2049756c693c384", (1, 5), |call, words| {
        bucket_limit(call, words, |tokens, _| tokens == 0.0)
    }),
    script("b35c5bc0b7fdae7dd0573d4529911cabaf9d1d89", (1, 5), |call, words| {
        bucket_limit(call, words, |tokens, _| tokens == 0.0)
    }),
    script("40daf4a441df736f5c99f8b77bbe176c909e5de4", (1, 1), bucket_remaining),
    script("deb03663e8af5a968deee895dd081be553d2611b", (1, 1), bucket_remaining),
    script("1861a700bafe96c833a483af6b1c28a8897cfdb0", (1, 2), cached_limit),
    script("c26b12703dd137939b9a69a3a9b18e906a2d940f", (1, 2), cached_limit),
    script("eb82f0e853d2fc9a236fa9bfbe704fda6ac2fc36", (1, 0), cached_remaining),
    script("8e8f222ccae68b595ee6e3f3bf2199629a62b91a", (1, 0), cached_remaining),
    Script {
        sha1: "54bd274ddc59fb3be0f42deee2f64322a10e2b50",
        needs: (1, 0),
        walks: true,
        run: reset,
    },
];

/// Lua's `tonumber`, for the texts that stand in arguments and keys.
fn number(text: &[u8]) -> Result<f64> {
    let text = str::from_utf8(text).ok().and_then(|text| text.trim().parse::<f64>().ok());
    text.filter(|n| n.is_finite()).ok_or(CommandError::NotFloat)
}

/// A number as Lua hands it to a command.
fn text(n: f64) -> String {
    n.to_string()
}

fn arg(words: Words<'_>, at: usize) -> Result<f64> {
    number(&words.args[at])
}

/// What a key holds as a number; 0 if it is not there.
fn count(call: &mut Caller<'_, '_>, key: &[u8]) -> Result<f64> {
    match call.call(&[b"GET", key])? {
        Got::Text(text) => number(&text),
        _ => Ok(0.0),
    }
}

/// The limit: that of the key at this place, if it is given and set, else the first argument.
fn limit(call: &mut Caller<'_, '_>, words: Words<'_>, at: usize) -> Result<f64> {
    if let Some(key) = words.keys.get(at).filter(|key| !key.is_empty())
        && let Got::Text(text) = call.call(&[b"GET", key])?
    {
        return number(&text);
    }
    arg(words, 0)
}

/// Adds to a key, and returns the sum. A key that this has made lasts for `window` milliseconds.
fn add(call: &mut Caller<'_, '_>, key: &[u8], by: &[u8], window: &[u8]) -> Result<f64> {
    let Got::Integer(sum) = call.call(&[b"INCRBY", key, by])? else {
        return Err(CommandError::Internal);
    };
    if Some(sum) == integer::parse_i64(by) {
        call.call(&[b"PEXPIRE", key, window])?;
    }
    Ok(sum as f64)
}

fn integers<const N: usize>(all: [f64; N]) -> Result<Answer> {
    Ok(Answer::Integers(all.iter().map(|n| *n as i64).collect()))
}

fn fixed_limit(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    let limit = limit(call, words, 1)?;
    let sum = add(call, &words.keys[0], &words.args[2], &words.args[1])?;
    integers([sum, limit])
}

fn fixed_remaining(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    let limit = limit(call, words, 1)?;
    let used = count(call, &words.keys[0])?;
    integers([limit - used, limit])
}

/// What counts of the previous window, by how much of the current one is over.
fn weighted(previous: f64, now: f64, window: f64) -> f64 {
    ((1.0 - now.rem_euclid(window) / window) * previous).floor()
}

fn sliding_limit(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    let limit = limit(call, words, 2)?;
    let (now, window, by) = (arg(words, 1)?, arg(words, 2)?, arg(words, 3)?);
    let current = count(call, &words.keys[0])?;
    let previous = weighted(count(call, &words.keys[1])?, now, window);
    if by > 0.0 && previous + current >= limit {
        return integers([-1.0, limit]);
    }
    // Long enough to be the previous window of the next one.
    let lasts = text(window * 2.0 + 1000.0);
    let sum = add(call, &words.keys[0], &words.args[3], lasts.as_bytes())?;
    integers([limit - (sum + previous), limit])
}

fn sliding_remaining(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    let limit = limit(call, words, 2)?;
    let (now, window) = (arg(words, 1)?, arg(words, 2)?);
    let current = count(call, &words.keys[0])?;
    let previous = weighted(count(call, &words.keys[1])?, now, window);
    integers([limit - (previous + current), limit])
}

/// When a bucket was filled last, and the tokens in it then; none if there is no bucket.
fn bucket(call: &mut Caller<'_, '_>, key: &[u8]) -> Result<Option<(f64, f64)>> {
    match call.call(&[b"HMGET", key, b"refilledAt", b"tokens"])? {
        Got::Array(fields) => match fields.as_slice() {
            [Got::Text(at), Got::Text(tokens)] => Ok(Some((number(at)?, number(tokens)?))),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// `rejects` says of the tokens there are and those that are wanted whether there are too few.
fn bucket_limit(
    call: &mut Caller<'_, '_>,
    words: Words<'_>,
    rejects: fn(f64, f64) -> bool,
) -> Result<Answer> {
    let key = &words.keys[0];
    let limit = limit(call, words, 1)?;
    let (interval, rate, now, by) =
        (arg(words, 1)?, arg(words, 2)?, arg(words, 3)?, arg(words, 4)?);
    let (mut filled, mut tokens) = bucket(call, key)?.unwrap_or((now, limit));
    if now >= filled + interval {
        let refills = ((now - filled) / interval).floor();
        tokens = limit.min(tokens + refills * rate);
        filled += refills * interval;
    }
    if by > 0.0 && rejects(tokens, by) {
        return integers([-1.0, filled + interval, limit]);
    }
    let remaining = tokens - by;
    let lasts = ((limit - remaining) / rate).ceil() * interval;
    let (at, left) = (text(filled), text(remaining));
    call.call(&[b"HSET", key, b"refilledAt", at.as_bytes(), b"tokens", left.as_bytes()])?;
    if lasts > 0.0 {
        call.call(&[b"PEXPIRE", key, text(lasts).as_bytes()])?;
    }
    integers([remaining, filled + interval, limit])
}

fn bucket_remaining(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    let limit = limit(call, words, 1)?;
    match bucket(call, &words.keys[0])? {
        None => integers([limit, -1.0, limit]),
        Some((filled, tokens)) => integers([tokens, filled, limit]),
    }
}

/// The published script compares a number with a text here, so its keys never expire. They are of one
/// window each, so that they do changes no result.
fn cached_limit(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    let sum = add(call, &words.keys[0], &words.args[1], &words.args[0])?;
    Ok(Answer::Integer(sum as i64))
}

fn cached_remaining(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    Ok(match call.call(&[b"GET", &words.keys[0]])? {
        Got::Text(text) => Answer::Text(text),
        _ => Answer::Integer(0),
    })
}

/// Deletes all keys that match the pattern which stands in a key's place.
fn reset(call: &mut Caller<'_, '_>, words: Words<'_>) -> Result<Answer> {
    let mut cursor = b"0".to_vec();
    loop {
        let Got::Array(found) = call.call(&[b"SCAN", &cursor, b"MATCH", &words.keys[0]])? else {
            return Err(CommandError::Internal);
        };
        let [Got::Text(next), Got::Array(keys)] = found.as_slice() else {
            return Err(CommandError::Internal);
        };
        for key in keys {
            if let Got::Text(key) = key {
                call.call(&[b"DEL", key])?;
            }
        }
        if next == b"0" {
            return Ok(Answer::Nil);
        }
        cursor.clone_from(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_luas() {
        assert_eq!((number(b" 12 "), number(b"-1.5")), (Ok(12.0), Ok(-1.5)));
        assert_eq!(number(b"x"), Err(CommandError::NotFloat));
        assert_eq!((text(21_000.0).as_str(), text(1.5).as_str()), ("21000", "1.5"));
        assert_eq!(text(1_795_813_982_333.0), "1795813982333");
        // Half of the window is over, so half of the previous one counts.
        assert_eq!(weighted(5.0, 1_500.0, 1_000.0), 2.0);
        assert_eq!(integers([3.9, -3.9]), Ok(Answer::Integers(vec![3, -3])));
    }
}
