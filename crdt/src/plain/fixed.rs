//! Numbers as plain Redis values hold them: decimal fixed point, so that all nodes add to the same
//! digits. Binary floating point is not associative; an `i128` in units of 10^-17 is, and holds
//! every 64-bit integer and all the digits that `INCRBYFLOAT` prints.

use alloc::string::ToString;
use alloc::vec::Vec;

/// Decimal digits after the point.
pub const DIGITS: u32 = 17;

/// One, in units.
pub const ONE: i128 = 10i128.pow(DIGITS);

/// Why a text is not a number here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotANumber {
    /// It is something else.
    Malformed,
    /// It is beyond about 1.7e21.
    Range,
}

/// An integer as Redis writes it (no plus sign, no leading zero, no space, 64 bits); none if `text`
/// is anything else.
#[must_use]
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut sum = 0i128;
    for digit in digits {
        sum = sum * 10 + i128::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

/// A decimal number, with an exponent if it has one, in units; what is finer than a unit is rounded,
/// half away from zero.
///
/// # Errors
/// If it is not one, or is too great.
pub fn parse(text: &[u8]) -> Result<i128, NotANumber> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let end = rest.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(rest.len());
    let (mantissa, exponent) = rest.split_at(end);
    let exponent = match exponent {
        [] => 0,
        [_, sign @ (b'-' | b'+'), digits @ ..] => exponent_of(digits, *sign == b'-')?,
        [_, digits @ ..] => exponent_of(digits, false)?,
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let (whole, fraction) = mantissa.split_at(point);
    let fraction = fraction.get(1..).unwrap_or(&[]);
    if whole.is_empty() && fraction.is_empty() {
        return Err(NotANumber::Malformed);
    }
    let digits = whole.iter().chain(fraction);
    if !digits.clone().all(u8::is_ascii_digit) {
        return Err(NotANumber::Malformed);
    }
    // The digit at this place counts for units; those behind it are less than one.
    let units = whole.len() as i64 + exponent + i64::from(DIGITS);
    let mut sum = 0i128;
    let mut place = 0;
    for digit in digits.map(|digit| i128::from(digit - b'0')) {
        match place - units {
            ..0 => {
                let more = sum.checked_mul(10).and_then(|sum| sum.checked_add(digit));
                sum = more.ok_or(NotANumber::Range)?;
            }
            0 if digit >= 5 => sum = sum.checked_add(1).ok_or(NotANumber::Range)?,
            _ => {}
        }
        place += 1;
    }
    while place < units && sum != 0 {
        sum = sum.checked_mul(10).ok_or(NotANumber::Range)?;
        place += 1;
    }
    Ok(if negative { -sum } else { sum })
}

/// A few digits; a greater exponent is out of all range, or makes nothing of the number.
fn exponent_of(digits: &[u8], negative: bool) -> Result<i64, NotANumber> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotANumber::Malformed);
    }
    let more = |sum: i64, digit: &u8| (sum * 10 + i64::from(digit - b'0')).min(1_000_000_000);
    let sum = digits.iter().fold(0, more);
    Ok(if negative { -sum } else { sum })
}

/// The shortest decimal text of `units`.
#[must_use]
pub fn print(units: i128) -> Vec<u8> {
    let mut text = Vec::new();
    if units < 0 {
        text.push(b'-');
    }
    let (whole, fraction) =
        (units.unsigned_abs() / ONE as u128, units.unsigned_abs() % ONE as u128);
    text.extend_from_slice(whole.to_string().as_bytes());
    if fraction > 0 {
        let digits = alloc::format!("{fraction:017}");
        text.push(b'.');
        text.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
    text
}

/// The number of `units` as a double.
#[must_use]
pub fn to_f64(units: i128) -> f64 {
    // Both are exact below 2^53, so that one rounding remains.
    units as f64 / ONE as f64
}

/// A double in units, by its shortest decimal text: 0.1 is one tenth; none if it is too great.
#[must_use]
pub fn of_f64(number: f64) -> Option<i128> {
    if number.is_finite() { parse(number.to_string().as_bytes()).ok() } else { None }
}

/// The 64-bit integer of `units`, if it is one.
#[must_use]
pub fn to_integer(units: i128) -> Option<i64> {
    if units % ONE == 0 { i64::try_from(units / ONE).ok() } else { None }
}

/// The integer `n` in units.
#[must_use]
pub fn of_integer(n: i64) -> i128 {
    i128::from(n) * ONE
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    fn again(text: &str) -> String {
        let units = parse(text.as_bytes()).expect("a number");
        String::from_utf8(print(units)).expect("ascii")
    }

    #[test]
    fn decimal_texts_are_read_and_written_as_redis_writes_them() {
        for (text, printed) in [
            ("10.50", "10.5"),
            ("5.0e3", "5000"),
            ("-0.1", "-0.1"),
            (".5", "0.5"),
            ("5.", "5"),
            ("+3", "3"),
            ("1e-17", "0.00000000000000001"),
            ("5e-18", "0.00000000000000001"),
            ("4e-18", "0"),
            ("1e-99999999999999999999", "0"),
            ("0e99999999999999999999", "0"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808.25", "-9223372036854775808.25"),
        ] {
            assert_eq!(again(text), printed, "{text}");
        }
        for text in
            ["", ".", "-", "1e", "1e+", " 1", "1 ", "0x10", "abc", "inf", "nan", "1.2.3", "1_0"]
        {
            assert_eq!(parse(text.as_bytes()), Err(NotANumber::Malformed), "{text}");
        }
        for text in ["1e22", "-1e300", "999999999999999999999999"] {
            assert_eq!(parse(text.as_bytes()), Err(NotANumber::Range), "{text}");
        }
    }

    #[test]
    fn rounding_up_beyond_all_units_is_refused() {
        let greatest = "1701411834604692317316.87303715884105727";
        assert_eq!(parse(greatest.as_bytes()), Ok(i128::MAX));
        assert_eq!(parse(alloc::format!("{greatest}5").as_bytes()), Err(NotANumber::Range));
    }

    #[test]
    fn integers_have_one_form() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        for text in ["", "-", "+1", "01", "-0", "1.0", " 1", "9223372036854775808", "1e3", "a"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_tenth_as_a_double_is_a_tenth() {
        assert_eq!(of_f64(0.1), Some(ONE / 10));
        assert_eq!(to_f64(ONE / 10 * 3).to_bits(), 0.3f64.to_bits());
        assert_eq!(of_f64(f64::INFINITY), None);
        assert_eq!(of_f64(1e300), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(units: i128) {
            prop_assert_eq!(parse(&print(units.max(-i128::MAX))), Ok(units.max(-i128::MAX)));
        }

        #[test]
        fn integers_print_as_integers(n: i64) {
            let text = n.to_string();
            prop_assert_eq!(integer(text.as_bytes()), Some(n));
            prop_assert_eq!(print(of_integer(n)), text.as_bytes());
            prop_assert_eq!(to_integer(of_integer(n)), Some(n));
        }

        #[test]
        fn no_text_ends_the_process(text in prop::collection::vec(any::<u8>(), 0..40)) {
            _ = parse(&text);
            _ = integer(&text);
        }
    }
}
