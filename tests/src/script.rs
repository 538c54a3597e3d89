//! Lines of commands and what they should answer.

/// Splits a line into arguments as `redis-cli` does: blanks separate, double quotes take the escapes `\n`, `\r`,
/// `\t`, `\"`, `\\` and `\xHH`, single quotes take only `\'`.
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let mut args = Vec::new();
    let mut chars = line.bytes().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let mut arg = Vec::new();
        match chars.peek() {
            None => return args,
            Some(b'"') => {
                chars.next();
                loop {
                    match chars.next().expect("a closing quote") {
                        b'"' => break,
                        b'\\' => match chars.next().expect("an escape") {
                            b'n' => arg.push(b'\n'),
                            b'r' => arg.push(b'\r'),
                            b't' => arg.push(b'\t'),
                            b'x' => {
                                let mut digit = || {
                                    let c = chars.next().expect("a hex digit");
                                    char::from(c).to_digit(16).expect("a hex digit") as u8
                                };
                                let high = digit();
                                arg.push(high * 16 + digit());
                            }
                            other => arg.push(other),
                        },
                        other => arg.push(other),
                    }
                }
            }
            Some(b'\'') => {
                chars.next();
                loop {
                    match chars.next().expect("a closing quote") {
                        b'\'' => break,
                        b'\\' if chars.peek() == Some(&b'\'') => {
                            chars.next();
                            arg.push(b'\'');
                        }
                        other => arg.push(other),
                    }
                }
            }
            Some(_) => {
                while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace()) {
                    arg.push(c);
                }
            }
        }
        args.push(arg);
    }
}

/// What a line of a script expects.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) line: &'a str,
    pub(crate) resp2: &'a str,
    pub(crate) resp3: &'a str,
}

/// The steps of a script: `command => answer`, or `command => answer in RESP2 || answer in RESP3`. Empty lines and
/// lines that start with `#` are passed over.
pub(crate) fn steps(script: &str) -> impl Iterator<Item = Step<'_>> {
    script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(
        |line| {
            let (line, expected) =
                line.split_once(" => ").unwrap_or_else(|| panic!("no ` => ` in the line: {line}"));
            let (resp2, resp3) = expected.split_once(" || ").unwrap_or((expected, expected));
            Step { line: line.trim(), resp2: resp2.trim(), resp3: resp3.trim() }
        },
    )
}

/// Whether `actual` is what `expected` says: equal, or `*` for anything but an error, or `text...` for a beginning.
pub(crate) fn fits(expected: &str, actual: &str) -> bool {
    if expected == "*" {
        // A number below 0 is no error.
        let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
        return actual.strip_prefix('-').is_none_or(digit);
    }
    match expected.strip_suffix("...") {
        Some(start) => actual.starts_with(start),
        None => expected == actual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_like_redis_cli() {
        assert_eq!(split("  PING  "), [b"PING"]);
        assert_eq!(
            split(r#"SET "a b" 'c"d' "\x00\xff\n\"" """#),
            [b"SET".to_vec(), b"a b".into(), b"c\"d".into(), b"\0\xff\n\"".into(), b"".into()]
        );
    }

    #[test]
    fn an_answer_may_differ_by_protocol() {
        let all: Vec<_> = steps("# note\n\n A b => 1 || true\nC => nil").collect();
        assert_eq!((all[0].line, all[0].resp2, all[0].resp3), ("A b", "1", "true"));
        assert_eq!((all[1].line, all[1].resp2, all[1].resp3), ("C", "nil", "nil"));
        assert!(
            fits("-ERR x...", "-ERR xyz")
                && fits("*", "5")
                && fits("*", "-5")
                && !fits("*", "-ERR")
        );
    }
}
