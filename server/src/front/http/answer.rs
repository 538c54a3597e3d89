//! Answers: RESP2 replies as JSON, their statuses, and the headers that choose a form.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::events::Events;
use crate::engine::error::CommandError;

/// What is sent back.
pub(super) enum Body {
    /// All of it at once; empty once it is sent.
    Whole(Bytes),
    /// Events as they come.
    Events(Box<Events>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Events(events) => events.poll_next(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Events(_) => SizeHint::default(),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The header that asks for base64.
const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
/// The header that asks for RESP2.
const FORMAT: HeaderName = HeaderName::from_static("upstash-response-format");

/// How replies are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// JSON, strings as they are.
    Json,
    /// JSON, strings in base64.
    Base64,
    /// The bytes of RESP2.
    Resp2,
}

impl Form {
    /// The form that a request's headers ask for.
    ///
    /// # Errors
    /// If they ask for one that is not known, or for two that do not go together.
    pub(super) fn of(headers: &HeaderMap) -> Result<Form, CommandError> {
        let bad =
            |name: &str, expected: &str| CommandError::HttpHeader(name.into(), expected.into());
        let is_base64 = match headers.get(ENCODING).map(HeaderValue::as_bytes) {
            None => false,
            Some(b"base64") => true,
            Some(_) => return Err(bad("Upstash-Encoding", "base64")),
        };
        match headers.get(FORMAT).map(HeaderValue::as_bytes) {
            Some(b"resp2") if is_base64 => {
                Err(bad("Upstash-Response-Format", "json with Upstash-Encoding"))
            }
            Some(b"resp2") => Ok(Form::Resp2),
            None | Some(b"json") => Ok(if is_base64 { Form::Base64 } else { Form::Json }),
            Some(_) => Err(bad("Upstash-Response-Format", "json or resp2")),
        }
    }
}

/// The status of an error, by its first word.
fn status_of(line: &[u8]) -> StatusCode {
    match line.split(|byte| *byte == b' ').next().unwrap_or_default() {
        b"LOADING" | b"MISCONF" | b"OOM" => StatusCode::SERVICE_UNAVAILABLE,
        b"NOAUTH" | b"WRONGPASS" => StatusCode::UNAUTHORIZED,
        b"DENIED" => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The answer with this status and body.
pub(super) fn with(
    status: StatusCode,
    kind: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::Whole(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The answer about an error.
pub(super) fn error(error: &CommandError) -> Response<Body> {
    let status = match error {
        CommandError::HttpMethod(..) => StatusCode::METHOD_NOT_ALLOWED,
        CommandError::HttpTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        CommandError::HttpSlow => StatusCode::REQUEST_TIMEOUT,
        CommandError::MaxClients | CommandError::HttpSync => StatusCode::SERVICE_UNAVAILABLE,
        error => status_of(&error.line()),
    };
    error_line(status, &error.line())
}

/// The answer about the error of this line.
pub(super) fn error_line(status: StatusCode, line: &[u8]) -> Response<Body> {
    let mut json = Vec::new();
    write_error(line, &mut json);
    with(status, JSON, json)
}

/// The answer that does not end.
pub(super) fn stream(events: Events) -> Response<Body> {
    let mut response = Response::new(Body::Events(Box::new(events)));
    response.headers_mut().insert(CONTENT_TYPE, EVENTS);
    response
}

/// The answer to one command, whose reply is `reply`.
pub(super) fn one(reply: &[u8], form: Form) -> Response<Body> {
    let status = match reply {
        [b'-', ..] => status_of(line(&mut { reply })),
        _ => StatusCode::OK,
    };
    if form == Form::Resp2 {
        return with(status, BYTES, reply.to_vec());
    }
    let mut json = Vec::with_capacity(reply.len() + 16);
    outcome(&mut { reply }, form, &mut json);
    with(status, JSON, json)
}

/// The answer to several commands, whose replies stand one after another.
pub(super) fn several(mut replies: &[u8], form: Form) -> Response<Body> {
    if form == Form::Resp2 {
        return with(StatusCode::OK, BYTES, replies.to_vec());
    }
    let mut json = Vec::with_capacity(replies.len() * 2);
    json.push(b'[');
    while !replies.is_empty() {
        if json.len() > 1 {
            json.push(b',');
        }
        outcome(&mut replies, form, &mut json);
    }
    json.push(b']');
    with(StatusCode::OK, JSON, json)
}

/// The answer to a transaction, whose reply is `reply`: an array of replies, or an error.
pub(super) fn transaction(reply: &[u8], form: Form) -> Response<Body> {
    match reply {
        [b'*', ..] => {
            let mut rest = reply;
            line(&mut rest);
            several(rest, form)
        }
        _ => one(reply, form),
    }
}

/// The line of a reply that is an error.
pub(super) fn error_of(mut reply: &[u8]) -> Option<&[u8]> {
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
fn outcome(replies: &mut &[u8], form: Form, json: &mut Vec<u8>) {
    if replies.first() == Some(&b'-') {
        write_error(line(replies), json);
        return;
    }
    json.extend_from_slice(b"{\"result\":");
    value(replies, form, json);
    json.push(b'}');
}

fn write_error(line: &[u8], json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"error\":");
    text(line, json);
    json.push(b'}');
}

/// Takes a reply off the start of `replies`, and writes it as a value. Replies are those of this
/// server, so they are whole.
fn value(replies: &mut &[u8], form: Form, json: &mut Vec<u8>) {
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
                    string(&replies[..length], form, json);
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
            _ => string(head, form, json),
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

fn string(bytes: &[u8], form: Form, json: &mut Vec<u8>) {
    if form == Form::Base64 {
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

    fn shown(reply: &[u8], form: Form) -> String {
        let (mut rest, mut json) = (reply, Vec::new());
        outcome(&mut rest, form, &mut json);
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
            assert_eq!(shown(reply.as_bytes(), Form::Json), format!("{{\"result\":{plain}}}"));
            assert_eq!(shown(reply.as_bytes(), Form::Base64), format!("{{\"result\":{base64}}}"));
        }
        assert_eq!(shown(b"-ERR a 'b'\r\n", Form::Base64), r#"{"error":"ERR a 'b'"}"#);
        assert_eq!(shown(b"$2\r\n\xff\xfe\r\n", Form::Json), "{\"result\":\"\u{fffd}\u{fffd}\"}");
        assert_eq!(shown(b"-ERR \xff\r\n", Form::Json), "{\"error\":\"ERR \u{fffd}\"}");
    }

    #[test]
    fn errors_have_statuses() {
        let status = |line: &str| one(format!("-{line}\r\n").as_bytes(), Form::Json).status();
        for (line, expected) in [
            ("ERR no", 400),
            ("WRONGTYPE no", 400),
            ("NOPERM no", 400),
            ("OOM no", 503),
            ("LOADING no", 503),
            ("MISCONF no", 503),
            ("NOAUTH no", 401),
        ] {
            assert_eq!(status(line).as_u16(), expected, "{line}");
        }
        assert_eq!(several(b"-ERR no\r\n", Form::Json).status(), StatusCode::OK);
        assert_eq!(transaction(b"-EXECABORT no\r\n", Form::Json).status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            error(&CommandError::HttpMethod("X".into(), "GET".into())).status().as_u16(),
            405
        );
    }

    #[test]
    fn headers_choose_the_form() {
        let form = |encoding: Option<&'static str>, format: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            encoding.map(|text| headers.insert(ENCODING, HeaderValue::from_static(text)));
            format.map(|text| headers.insert(FORMAT, HeaderValue::from_static(text)));
            Form::of(&headers).ok()
        };
        assert_eq!(form(None, None), Some(Form::Json));
        assert_eq!(form(Some("base64"), Some("json")), Some(Form::Base64));
        assert_eq!(form(None, Some("resp2")), Some(Form::Resp2));
        for (encoding, format) in
            [(Some("base64"), Some("resp2")), (Some("hex"), None), (None, Some("resp3"))]
        {
            assert_eq!(form(encoding, format), None);
        }
    }
}
