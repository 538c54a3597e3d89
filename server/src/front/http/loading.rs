//! What HTTP answers while the node reads its data directory.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{self, Body};
use super::operation;
use crate::durability::Progress;
use crate::engine::error::CommandError;

/// Answers a connection until it ends: `/healthz` as ever, `/readyz` by 503 and how far the node is, all
/// else by 503 and LOADING.
pub(in crate::front) async fn answer_loading(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    progress: Arc<Progress>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(answer(request.uri().path(), &progress)))
    });
    let mut builder = Builder::new(TokioExecutor::new());
    // The next request is one for the node that is ready, perhaps.
    builder.http1().keep_alive(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error, "an HTTP connection ended");
    }
}

fn answer(path: &str, progress: &Progress) -> Response<Body> {
    if path.eq_ignore_ascii_case("/healthz") {
        return operation::health();
    }
    let mut response = if path.eq_ignore_ascii_case("/readyz") {
        let why = format!("the node reads its data: {progress}\n");
        answer::with(StatusCode::SERVICE_UNAVAILABLE, operation::TEXT, why)
    } else {
        answer::error(&CommandError::Loading)
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
