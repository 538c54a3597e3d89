//! What keeps web pages from using a browser against the node: which origins may send requests, and
//! which hosts they may name.
//!
//! A page of any site can have a browser send requests to an address of the user's own network, and to
//! one that answers for a name of the site's. Where a token is needed the page lacks it. On a node
//! without passwords it does not, so such requests are told from others by what browsers add to them.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Request, Response, StatusCode};

use super::answer::Body;
use super::served::Served;
use crate::engine::error::CommandError;

/// The header by which browsers say that a page of another site has caused a request.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The header by which a browser asks whether a public page may use a private address, and the answer's.
const PRIVATE_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT");
const EXPOSED: HeaderValue = HeaderValue::from_static("Upstash-Sync-Token");
/// For how many seconds a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The host that a request names, with its port.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let named = request.uri().authority().map(|authority| authority.as_str());
    named.or_else(|| request.headers().get(HOST)?.to_str().ok())
}

/// Checks that no web page that may not has caused a request. Returns the origin of a page that may.
///
/// # Errors
/// If one has; says which.
pub(super) fn check_origin<B>(
    served: &Served,
    request: &Request<B>,
) -> Result<Option<HeaderValue>, CommandError> {
    let headers = request.headers();
    let Some(origin) = headers.get(ORIGIN) else {
        let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        if matches!(site, Some(b"cross-site" | b"same-site")) && !is_listed(served, b"") {
            return Err(CommandError::HttpOrigin("another site".into()));
        }
        return Ok(None);
    };
    let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    if own.is_some_and(|(_, named)| host(request) == Some(named)) {
        return Ok(None);
    }
    if is_listed(served, origin.as_bytes()) {
        return Ok(Some(origin.clone()));
    }
    Err(CommandError::HttpOrigin(origin.as_bytes().into()))
}

/// Whether requests of an origin are allowed by the setting.
fn is_listed(served: &Served, origin: &[u8]) -> bool {
    let listed = served.node().settings.http_cors_origins();
    listed.iter().any(|known| known == "*" || known.as_bytes() == origin)
}

/// Checks that the connection may use a node without a password, in protected mode: from this host alone,
/// and by a name that no site can have made for it.
///
/// # Errors
/// If it may not; says why.
pub(super) fn check_protected<B>(
    served: &Served,
    request: &Request<B>,
) -> Result<(), CommandError> {
    if !served.node().settings.protected() || !served.is_open() {
        return Ok(());
    }
    if served.is_outside() {
        return Err(CommandError::ProtectedMode);
    }
    let Some(host) = host(request) else { return Ok(()) };
    if is_local(host) { Ok(()) } else { Err(CommandError::HttpHost(host.into())) }
}

/// Whether a host, perhaps with a port, is an IP address or localhost.
fn is_local(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split_once(']').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let is_localhost =
        name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    is_localhost || name.parse::<IpAddr>().is_ok()
}

/// Allows a page of this origin to read an answer.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(VARY, HeaderValue::from_static("Origin"));
}

/// The answer to a browser that asks whether a page of this origin may send a request.
pub(super) fn preflight(asked: &HeaderMap, origin: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(headers, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    if asked.contains_key(PRIVATE_ASKED) {
        headers.insert(PRIVATE, HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn names_that_a_site_can_make_are_not_local() {
        for local in
            ["127.0.0.1", "127.0.0.1:80", "localhost:1", "[::1]:80", "a.localhost", "10.0.0.1"]
        {
            assert!(is_local(local), "{local}");
        }
        for foreign in ["evil.example:80", "localhost.example", "[evil]", "127.0.0.1.example", ""] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
