//! The table of paths, and the way of a request through it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode, Version};

use miso_protocol::rest::commands;

use super::answer::{self, Body, Form, PLAIN};
use super::events::Events;
use super::page::{self, Part};
use super::run::Stop;
use super::served::{Served, Speaker};
use super::{auth, feed, guard, operation, rest, sync};
use crate::engine::error::CommandError;

/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(30);

/// What a path is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    /// One command, in the body.
    Body,
    /// One command, in the path.
    Path,
    /// Several commands.
    Pipeline,
    /// Several commands as a transaction.
    Transaction,
    /// Whether the process is alive.
    Health,
    /// Whether the node is to be sent requests.
    Ready,
    /// All metrics.
    Metrics,
    /// What a session is subscribed to, or MONITOR, as events.
    Events,
    /// What changes of a function, as events.
    Feed,
    /// A part of the live page.
    Page(Part),
    /// What the live page shows, as events.
    Live,
}

/// A path; one that ends in `/*` stands for all that begin like it.
struct Route {
    path: &'static str,
    methods: &'static [Method],
    target: Target,
}

const fn route(path: &'static str, methods: &'static [Method], target: Target) -> Route {
    Route { path, methods, target }
}

const READS: &[Method] = &[Method::GET, Method::HEAD];
const WRITES: &[Method] = &[Method::POST, Method::PUT];
const READS_STREAM: &[Method] = &[Method::GET];
const STREAMS: &[Method] = &[Method::GET, Method::POST];
const ALL: &[Method] = &[Method::GET, Method::HEAD, Method::POST, Method::PUT];

/// All paths but those of commands.
const ROUTES: &[Route] = &[
    route("/", READS, Target::Page(Part::Page)),
    route("/page.css", READS, Target::Page(Part::Style)),
    route("/page.js", READS, Target::Page(Part::Script)),
    route("/page.svg", READS, Target::Page(Part::Icon)),
    route("/events", READS_STREAM, Target::Live),
    route("/", WRITES, Target::Body),
    route("/pipeline", WRITES, Target::Pipeline),
    route("/multi-exec", WRITES, Target::Transaction),
    route("/healthz", READS, Target::Health),
    route("/readyz", READS, Target::Ready),
    route("/metrics", READS, Target::Metrics),
    route("/feed", READS_STREAM, Target::Feed),
    route("/monitor", STREAMS, Target::Events),
    route("/subscribe/*", STREAMS, Target::Events),
    route("/psubscribe/*", STREAMS, Target::Events),
];

/// Every other path is a command.
const COMMAND: Route = route("/*", ALL, Target::Path);

impl Route {
    /// Whether it is the route of `path`. Commands are written in any case.
    fn fits(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            None => path.eq_ignore_ascii_case(self.path),
            Some(start) => {
                let begins = path.get(..start.len());
                path.len() > start.len() && begins.is_some_and(|at| at.eq_ignore_ascii_case(start))
            }
        }
    }
}

/// A request counts as running until this is dropped.
struct Running<'a>(&'a Served);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.0.activity(|activity| activity.end(now));
    }
}

/// Answers a request.
///
/// # Errors
/// If the connection is to end without an answer.
pub(super) async fn answer(
    served: Arc<Served>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    let is_h2 = request.version() == Version::HTTP_2;
    served.activity(|activity| activity.begin(is_h2));
    let _running = Running(&served);
    served.node().stats.http_requests.fetch_add(1, Ordering::Relaxed);
    let is_head = request.method() == Method::HEAD;
    let (origin, answered) = match guard::check_origin(&served, &request) {
        Err(error) => (None, Err(Stop::Error(error))),
        Ok(Some(origin)) if request.method() == Method::OPTIONS => {
            return Ok(guard::preflight(request.headers(), origin));
        }
        Ok(origin) => (origin, dispatch(&served, request).await),
    };
    let mut response = answered.or_else(|stop| refuse(&served, stop))?;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin {
        guard::allow(headers, origin);
    }
    if is_head {
        let length = response.body().size_hint().exact().unwrap_or_default();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        *response.body_mut() = Body::Whole(Bytes::new());
    }
    Ok(response)
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed")]
pub(super) struct Closed;

/// The answer to a request that was stopped.
fn refuse(served: &Served, stop: Stop) -> Result<Response<Body>, Closed> {
    let mut response = match stop {
        Stop::Closed => return Err(Closed),
        // The engine has counted it.
        Stop::Refused(line) => answer::error_line(StatusCode::UNAUTHORIZED, &line),
        Stop::Error(error) => {
            served.node().stats.error(error.code());
            let mut response = answer::error(&error);
            if let CommandError::HttpMethod(_, allowed) = &error
                && let Ok(allowed) = HeaderValue::from_bytes(allowed.bytes())
            {
                response.headers_mut().insert(ALLOW, allowed);
            }
            response
        }
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Ok(response)
}

/// The route of a request.
///
/// # Errors
/// If it does not have the method; says which it has.
fn find(path: &str, method: &Method) -> Result<Target, CommandError> {
    let mut fitting: Vec<&Route> = ROUTES.iter().filter(|route| route.fits(path)).collect();
    if fitting.is_empty() {
        fitting.push(&COMMAND);
    }
    if let Some(route) = fitting.iter().find(|route| route.methods.contains(method)) {
        return Ok(route.target);
    }
    let methods = fitting.iter().flat_map(|route| route.methods);
    let allowed: Vec<&str> = methods.map(Method::as_str).collect();
    Err(CommandError::HttpMethod(method.as_str().into(), allowed.join(", ").into()))
}

async fn dispatch(
    served: &Arc<Served>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Stop> {
    let target = find(request.uri().path(), request.method())?;
    match target {
        Target::Health => return Ok(operation::health()),
        Target::Ready => return Ok(operation::ready(served)),
        Target::Page(_) | Target::Live if !served.node().settings.http_page() => {
            return Err(CommandError::HttpNoPage.into());
        }
        _ => guard::check_protected(served, &request)?,
    }
    if let Target::Page(part) = target {
        return Ok(page::part(part));
    }
    let token = token(&request)?;
    if target == Target::Metrics {
        let speaker = match token {
            Some(token) => Some(auth::speaker(served, Some(token)).await?),
            None => None,
        };
        return operation::metrics(served, speaker, request.headers()).await;
    }
    if target == Target::Events {
        let speaker = auth::speaker(served, token).await?;
        return listen(served, speaker, request).await;
    }
    if target == Target::Live {
        // A node without a password shows itself to anyone who may reach it, as /metrics does.
        let open = || served.is_open().then(|| served.node().settings.default_function());
        let token = token.or_else(|| open().map(|name| Cow::Owned(name.as_bytes().to_vec())));
        let speaker = auth::speaker(served, token).await?;
        let user = speaker.session.user.clone();
        let query = request.uri().query();
        return match page::open(served.node(), user.as_deref(), query) {
            Ok(source) => Ok(answer::source(Arc::clone(served), speaker, source)),
            Err(error) => Err(keep(served, speaker, error.into())),
        };
    }
    if target == Target::Feed {
        let mut speaker = auth::speaker(served, token).await?;
        let query = request.uri().query();
        return match feed::open(served, &mut speaker, query, request.headers()) {
            Ok(source) => Ok(answer::source(Arc::clone(served), speaker, source)),
            Err(error) => Err(keep(served, speaker, error.into())),
        };
    }
    let form = Form::of(request.headers())?;
    let asked = sync::asked(request.headers())?;
    if target == Target::Transaction && form == Form::Resp2 {
        let header = "Upstash-Response-Format".into();
        return Err(CommandError::HttpHeader(header, "json on /multi-exec".into()).into());
    }
    let mut speaker = auth::speaker(served, token).await?;
    if let Some(asked) = asked
        && let Err(stop) = sync::reach(served, &mut speaker, asked).await
    {
        return Err(keep(served, speaker, stop));
    }
    run(served, speaker, target, form, request).await
}

/// Answers with what the session is told from now on.
async fn listen(
    served: &Arc<Served>,
    mut speaker: Speaker,
    request: Request<Incoming>,
) -> Result<Response<Body>, Stop> {
    let (head, body) = request.into_parts();
    if let Err(stop) = read(served, body).await {
        return Err(keep(served, speaker, stop));
    }
    let asked = match commands::path(head.uri.path(), None, b"") {
        Ok(commands) => commands,
        Err(bad) => return Err(keep(served, speaker, CommandError::from(bad).into())),
    };
    let accepted = head.headers.get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let wanted = b"text/event-stream";
    if !accepted.windows(wanted.len()).any(|part| part == wanted) {
        let error = CommandError::HttpHeader("Accept".into(), "text/event-stream".into());
        return Err(keep(served, speaker, error.into()));
    }
    let (replies, goes_on) = rest::listen(served, &mut speaker, &asked).await?;
    if replies.starts_with(b"-") || !goes_on {
        if goes_on {
            served.rest(speaker);
        }
        return Ok(answer::one(replies, PLAIN));
    }
    let events = Events::new(Arc::clone(served), speaker, replies);
    Ok(answer::stream(Body::Events(Box::new(events))))
}

/// Reads the commands of a request and runs them. A stranger's body is not read.
async fn run(
    served: &Served,
    mut speaker: Speaker,
    target: Target,
    form: Form,
    request: Request<Incoming>,
) -> Result<Response<Body>, Stop> {
    let (head, body) = request.into_parts();
    let body = match read(served, body).await {
        Ok(body) => body,
        Err(stop) => return Err(keep(served, speaker, stop)),
    };
    let commands = match target {
        Target::Path => commands::path(head.uri.path(), head.uri.query(), &body),
        Target::Body => commands::command(&body),
        _ => commands::pipeline(&body),
    };
    let commands = match commands {
        Ok(commands) => commands,
        Err(bad) => return Err(keep(served, speaker, CommandError::from(bad).into())),
    };
    drop(body);
    let once = match rest::once_id(&head.headers, target == Target::Pipeline) {
        Ok(once) => once,
        Err(error) => return Err(keep(served, speaker, error.into())),
    };
    let (replies, goes_on) = match target {
        Target::Pipeline => rest::pipeline(served, &mut speaker, &commands).await,
        Target::Transaction => rest::transaction(served, &mut speaker, &commands, once).await,
        _ => rest::one(served, &mut speaker, &commands, once).await,
    }?;
    let token = sync::of(served, &speaker);
    if goes_on {
        served.rest(speaker);
    }
    let mut response = match target {
        Target::Pipeline => answer::several(replies, form),
        Target::Transaction => answer::transaction(replies, form),
        _ => answer::one(replies, form),
    };
    if let Some(token) = token {
        response.headers_mut().insert(sync::HEADER, token);
    }
    Ok(response)
}

/// Lets the session of a request that does not run rest.
fn keep(served: &Served, speaker: Speaker, stop: Stop) -> Stop {
    served.rest(speaker);
    stop
}

/// The token of a request.
fn token(request: &Request<Incoming>) -> Result<Option<Cow<'_, [u8]>>, CommandError> {
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        let bytes = header.as_bytes();
        let (scheme, token) = bytes.split_at_checked(7).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return Err(CommandError::HttpNoToken);
        }
        return Ok(Some(token.trim_ascii().into()));
    }
    Ok(commands::query_token(request.uri().query())?)
}

/// Reads the body of a request.
///
/// # Errors
/// If it is too long or too slow, or the connection ends in it.
async fn read(served: &Served, body: Incoming) -> Result<Bytes, Stop> {
    let settings = &served.node().settings;
    // An argument is never longer than RESP allows.
    let max = settings.http_max_body().min(settings.bulk_bytes());
    let too_large = || Stop::Error(CommandError::HttpTooLarge(max.to_string().into()));
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, max).collect();
    match tokio::time::timeout(BODY, whole).await {
        Err(_) => Err(CommandError::HttpSlow.into()),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Stop::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_methods() {
        let check = |path: &str, method: Method, target: Option<Target>| {
            assert_eq!(find(path, &method).ok(), target, "{method} {path}");
        };
        check("/", Method::POST, Some(Target::Body));
        check("/", Method::GET, Some(Target::Page(Part::Page)));
        check("/events", Method::GET, Some(Target::Live));
        check("/feed", Method::POST, None);
        check("/", Method::DELETE, None);
        check("/pipeline", Method::GET, None);
        check("/multi-exec", Method::PUT, Some(Target::Transaction));
        check("/set/k/v", Method::HEAD, Some(Target::Path));
        check("/set/k/v", Method::PATCH, None);
        check("/metrics", Method::GET, Some(Target::Metrics));
        check("/Subscribe/a/b", Method::POST, Some(Target::Events));
        check("/subscribe", Method::GET, Some(Target::Path));
        check("/subscribe/", Method::GET, Some(Target::Path));
        check("/monitor", Method::GET, Some(Target::Events));
        check("/metrics/", Method::GET, Some(Target::Path));
        let error = find("/healthz", &Method::POST).expect_err("it has no such method");
        assert_eq!(error.line(), b"ERR method POST is not allowed here, expected GET, HEAD");
    }
}
