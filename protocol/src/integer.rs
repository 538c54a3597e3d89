//! Integers as Redis reads and writes them: what it prints is what it reads, and nothing else is.
//! So `+1`, `01`, `-0`, ` 1` and the empty text are no integers; the rules are `string2ll`'s.

/// Reads a signed integer as Redis's `string2ll`: no plus, no leading zeros, no spaces.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    // Most integers that commands are given are small counts.
    if let [digit @ b'0'..=b'9'] = text {
        return Some(i64::from(digit - b'0'));
    }
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
        [b'1'..=b'9', rest @ ..] if rest.len() < 20 => {
            // Nineteen digits always fit; only a twentieth can be too much.
            let (head, last) = text.split_at(text.len().min(19));
            let push = |n: u64, byte: &u8| {
                let digit = byte.wrapping_sub(b'0');
                (digit <= 9).then(|| n * 10 + u64::from(digit))
            };
            let n = head.iter().try_fold(0, push)?;
            match last {
                [] => Some(n),
                [byte @ b'0'..=b'9'] => n.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Appends a signed integer.
pub fn push_i64(out: &mut Vec<u8>, n: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_other_way_to_write_it() {
        let not: &[&[u8]] = &[
            b"",
            b"-",
            b"+1",
            b"-0",
            b"00",
            b"01",
            b"-01",
            b" 1",
            b"1 ",
            b"1\0",
            b"1.0",
            b"1e3",
            b"--1",
            b"0x1",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"/",
            b":",
            b"1:",
            b"100000000000000000000000000000000000000000",
        ];
        for text in not {
            assert_eq!(parse_i64(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn the_ends() {
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"99999999999999999999"), None);
        assert_eq!(parse_u64(b"1844674407370955161:"), None);
        assert_eq!(parse_u64(b"0"), Some(0));
        assert_eq!(parse_u64(b"-1"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(n: i64, u: u64) {
            let mut text = Vec::new();
            push_i64(&mut text, n);
            prop_assert_eq!(parse_i64(&text), Some(n));
            prop_assert_eq!(parse_u64(u.to_string().as_bytes()), Some(u));
        }

        /// A text is an integer exactly if it is what that integer prints as.
        #[test]
        fn what_is_read_is_written(text in "-?[0-9]{0,20}|[-+ 0-9a-f]{0,6}") {
            let canonical = text.parse().ok().filter(|n: &i64| n.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), canonical);
        }
    }
}
