//! Integers as Redis reads and writes them.

/// Reads a signed integer as Redis's `string2ll`: no plus, no leading zeros, no spaces.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = parse_u64(digits)?;
    if negative {
        // "-0" is not an integer.
        if magnitude == 0 { None } else { 0i64.checked_sub_unsigned(magnitude) }
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Reads an unsigned integer under the same rules.
#[must_use]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if text.len() <= 20 => text.iter().try_fold(0u64, |n, digit| {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 { None } else { n.checked_mul(10)?.checked_add(digit.into()) }
        }),
        _ => None,
    }
}

/// Appends a signed integer.
pub fn push_i64(out: &mut Vec<u8>, n: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}
