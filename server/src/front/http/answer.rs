//! Answers: RESP2 replies as JSON, their statuses, and the headers that choose a form.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use miso_protocol::rest::json::{self, Strings};

use super::events::Events;
use super::served::{Served, Speaker};
use super::source::{Source, Stream};
use crate::engine::error::CommandError;

/// What is sent back.
pub(super) enum Body {
    /// All of it at once; empty once it is sent.
    Whole(Bytes),
    /// Events as they come.
    Events(Box<Events>),
    /// The events of a source of the request's own.
    Stream(Box<Stream>),
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
            Body::Stream(stream) => stream.poll_next(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Events(_) | Body::Stream(_) => SizeHint::default(),
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
    /// JSON.
    Json(Strings),
    /// The bytes of RESP2.
    Resp2,
}

/// The form that a request has which asks for none.
pub(super) const PLAIN: Form = Form::Json(Strings::Plain);

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
            None | Some(b"json") if is_base64 => Ok(Form::Json(Strings::Base64)),
            None | Some(b"json") => Ok(PLAIN),
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
        CommandError::HttpNoPage => StatusCode::NOT_FOUND,
        CommandError::HttpSlow => StatusCode::REQUEST_TIMEOUT,
        CommandError::MaxClients | CommandError::HttpSync => StatusCode::SERVICE_UNAVAILABLE,
        error => status_of(&error.line()),
    };
    error_line(status, &error.line())
}

/// The answer about the error of this line.
pub(super) fn error_line(status: StatusCode, line: &[u8]) -> Response<Body> {
    with(status, JSON, json::error(line))
}

/// The answer that does not end.
pub(super) fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, EVENTS);
    response
}

/// The answer that tells what a source tells, for as long as the session lives.
pub(super) fn source(
    served: Arc<Served>,
    speaker: Speaker,
    source: Box<dyn Source>,
) -> Response<Body> {
    stream(Body::Stream(Box::new(Stream::new(served, speaker, source))))
}

/// The answer to one command, whose reply is `reply`.
pub(super) fn one(reply: Vec<u8>, form: Form) -> Response<Body> {
    shown(reply, form, json::one)
}

/// The answer to several commands, whose replies stand one after another.
pub(super) fn several(replies: Vec<u8>, form: Form) -> Response<Body> {
    match form {
        Form::Resp2 => with(StatusCode::OK, BYTES, replies),
        Form::Json(strings) => with(StatusCode::OK, JSON, json::several(&replies, strings)),
    }
}

/// The answer to a transaction, whose reply is `reply`.
pub(super) fn transaction(reply: Vec<u8>, form: Form) -> Response<Body> {
    shown(reply, form, json::transaction)
}

/// The answer to a reply that may be an error.
fn shown(reply: Vec<u8>, form: Form, show: fn(&[u8], Strings) -> Vec<u8>) -> Response<Body> {
    let status = json::error_of(&reply).map_or(StatusCode::OK, status_of);
    match form {
        Form::Resp2 => with(status, BYTES, reply),
        Form::Json(strings) => with(status, JSON, show(&reply, strings)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_statuses() {
        let status = |line: &str| one(format!("-{line}\r\n").into(), PLAIN).status();
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
        assert_eq!(several(b"-ERR no\r\n".to_vec(), PLAIN).status(), StatusCode::OK);
        assert_eq!(
            transaction(b"-EXECABORT no\r\n".to_vec(), PLAIN).status(),
            StatusCode::BAD_REQUEST
        );
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
        assert_eq!(form(None, None), Some(PLAIN));
        assert_eq!(form(Some("base64"), Some("json")), Some(Form::Json(Strings::Base64)));
        assert_eq!(form(None, Some("resp2")), Some(Form::Resp2));
        for (encoding, format) in
            [(Some("base64"), Some("resp2")), (Some("hex"), None), (None, Some("resp3"))]
        {
            assert_eq!(form(encoding, format), None);
        }
    }
}
