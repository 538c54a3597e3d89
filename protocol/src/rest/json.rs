//! RESP2 replies as the JSON that a request is answered with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How strings are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strings {
    /// As they are; bytes that are not UTF-8 become U+FFFD.
    Plain,
    /// In base64, all but a simple `OK`.
    Base64,
}

/// The answer about an error, of which this is the line.
#[must_use]
pub fn error(line: &[u8]) -> Vec<u8> {
    let mut json = Vec::with_capacity(line.len() + 16);
    write_error(line, &mut json);
    json
}

/// The answer to one command: `{"result": ..}` or `{"error": ..}`.
#[must_use]
pub fn one(mut reply: &[u8], strings: Strings) -> Vec<u8> {
    let mut json = Vec::with_capacity(reply.len() + 16);
    outcome(&mut reply, strings, &mut json);
    json
}

/// The answer to several commands, whose replies stand one after another: an array of what [`one`] is of
/// each.
#[must_use]
pub fn several(mut replies: &[u8], strings: Strings) -> Vec<u8> {
    let mut json = Vec::with_capacity(replies.len() * 2);
    json.push(b'[');
    while !replies.is_empty() {
        if json.len() > 1 {
            json.push(b',');
        }
        outcome(&mut replies, strings, &mut json);
    }
    json.push(b']');
    json
}

/// The answer to a transaction, whose reply is that of EXEC: an array of answers; or one, to an error or nil.
#[must_use]
pub fn transaction(mut reply: &[u8], strings: Strings) -> Vec<u8> {
    if reply.first() == Some(&b'*') && !reply.starts_with(b"*-1") {
        line(&mut reply);
        return several(reply, strings);
    }
    one(reply, strings)
}

/// The line of a reply that is an error.
#[must_use]
pub fn error_of(mut reply: &[u8]) -> Option<&[u8]> {
    (reply.first() == Some(&b'-')).then(|| line(&mut reply))
}

/// Takes a line off the start of `reply`; it without its mark and its end.
fn line<'a>(reply: &mut &'a [u8]) -> &'a [u8] {
    let end = reply.iter().position(|byte| *byte == b'\r').unwrap_or(reply.len());
    let text = reply.get(1..end).unwrap_or_default();
    *reply = reply.get(end + 2..).unwrap_or_default();
    text
}

/// Takes a reply off the start of `replies`, and writes it as `{"result": ..}` or `{"error": ..}`.
fn outcome(replies: &mut &[u8], strings: Strings, json: &mut Vec<u8>) {
    if replies.first() == Some(&b'-') {
        write_error(line(replies), json);
        return;
    }
    json.extend_from_slice(b"{\"result\":");
    value(replies, strings, json);
    json.push(b'}');
}

fn write_error(line: &[u8], json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"error\":");
    text(line, json);
    json.push(b'}');
}

/// Takes a reply off the start of `replies`, and writes it as a value. Replies are those of this
/// server, so they are whole.
fn value(replies: &mut &[u8], strings: Strings, json: &mut Vec<u8>) {
    // How many values each of the open arrays still lacks.
    let mut open: Vec<u64> = Vec::new();
    loop {
        let mark = replies.first().copied().unwrap_or_default();
        let head = line(replies);
        match mark {
            b':' => json.extend_from_slice(head),
            b'$' => match number(head) {
                None => json.extend_from_slice(b"null"),
                Some(length) => {
                    let length = usize::try_from(length).unwrap_or(usize::MAX).min(replies.len());
                    string(&replies[..length], strings, json);
                    *replies = replies.get(length + 2..).unwrap_or_default();
                }
            },
            b'*' => match number(head) {
                None => json.extend_from_slice(b"null"),
                Some(0) => json.extend_from_slice(b"[]"),
                Some(count) => {
                    json.push(b'[');
                    open.push(count);
                    continue;
                }
            },
            b'+' if head == b"OK" => json.extend_from_slice(b"\"OK\""),
            b'-' => write_error(head, json),
            _ => string(head, strings, json),
        }
        // Closes the arrays that are whole now.
        loop {
            match open.last_mut() {
                None => return,
                Some(left) if *left > 1 => {
                    *left -= 1;
                    json.push(b',');
                    break;
                }
                Some(_) => {
                    json.push(b']');
                    open.pop();
                }
            }
        }
    }
}

/// A length; none for nil.
fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn string(bytes: &[u8], strings: Strings, json: &mut Vec<u8>) {
    if strings == Strings::Base64 {
        json.push(b'"');
        json.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        json.push(b'"');
    } else {
        text(bytes, json);
    }
}

/// A JSON string; bytes that are not UTF-8 become U+FFFD.
fn text(bytes: &[u8], json: &mut Vec<u8>) {
    serde_json::to_writer(json, &*String::from_utf8_lossy(bytes)).expect("a string is always JSON");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reply: &[u8], strings: Strings) -> String {
        let (mut rest, mut json) = (reply, Vec::new());
        outcome(&mut rest, strings, &mut json);
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
        String::from_utf8(json).expect("JSON is text")
    }

    #[test]
    fn replies_become_json() {
        for (reply, plain, base64) in [
            ("+OK\r\n", r#""OK""#, r#""OK""#),
            ("+PONG\r\n", r#""PONG""#, r#""UE9ORw==""#),
            (":-9223372036854775808\r\n", "-9223372036854775808", "-9223372036854775808"),
            ("$-1\r\n", "null", "null"),
            ("*-1\r\n", "null", "null"),
            ("*0\r\n", "[]", "[]"),
            ("$0\r\n\r\n", r#""""#, r#""""#),
            ("$4\r\na\"\r\n\r\n", r#""a\"\r\n""#, r#""YSINCg==""#),
            ("$2\r\nOK\r\n", r#""OK""#, r#""T0s=""#),
            (
                "*3\r\n*2\r\n:1\r\n*0\r\n$1\r\na\r\n*1\r\n*1\r\n$-1\r\n",
                r#"[[1,[]],"a",[[null]]]"#,
                r#"[[1,[]],"YQ==",[[null]]]"#,
            ),
            ("*2\r\n-ERR no\r\n:2\r\n", r#"[{"error":"ERR no"},2]"#, r#"[{"error":"ERR no"},2]"#),
        ] {
            assert_eq!(shown(reply.as_bytes(), Strings::Plain), format!("{{\"result\":{plain}}}"));
            assert_eq!(
                shown(reply.as_bytes(), Strings::Base64),
                format!("{{\"result\":{base64}}}")
            );
        }
        assert_eq!(shown(b"-ERR a 'b'\r\n", Strings::Base64), r#"{"error":"ERR a 'b'"}"#);
        assert_eq!(
            shown(b"$2\r\n\xff\xfe\r\n", Strings::Plain),
            "{\"result\":\"\u{fffd}\u{fffd}\"}"
        );
        assert_eq!(shown(b"-ERR \xff\r\n", Strings::Plain), "{\"error\":\"ERR \u{fffd}\"}");
    }

    #[test]
    fn a_transaction_is_an_array_or_one_answer() {
        let text = |reply: &[u8]| {
            String::from_utf8(transaction(reply, Strings::Plain)).expect("JSON is text")
        };
        assert_eq!(text(b"*2\r\n+OK\r\n-ERR no\r\n"), r#"[{"result":"OK"},{"error":"ERR no"}]"#);
        assert_eq!(text(b"*0\r\n"), "[]");
        assert_eq!(text(b"*-1\r\n"), r#"{"result":null}"#);
        assert_eq!(text(b"-EXECABORT no\r\n"), r#"{"error":"EXECABORT no"}"#);
    }
}
