//! Where the node is, for which function we speak, and how long to wait.

use std::time::Duration;

use sha2::{Digest, Sha256};
use url::Url;

use crate::error::{Error, Result};

const DEFAULT_PORT: u16 = 6379;
/// In open mode any password will do; clients drop a user name that has none.
const ANY_PASSWORD: &str = "-";

/// Settings of an object; what is not given is taken from the environment.
#[derive(Clone, Debug)]
pub struct Options {
    /// `redis://FUNCTION:-@HOST:6379`. Default: `MISO_URL`, else `MISO_HOST_IP`, `MISO_HOST_PORT` and
    /// `MISO_FUNCTION_NAME`.
    pub url: Option<String>,
    /// The object's id. Default: the function's own object, the same on every node.
    pub id: Option<String>,
    /// The function, if the URL's user is not its name. Default: `MISO_FUNCTION_NAME`.
    pub function: Option<String>,
    /// This replica of the function. Default: `MISO_REPLICA_ID`, else `HOSTNAME`.
    pub replica: Option<String>,
    /// How long a connection may take. Default 2 s.
    pub connect_timeout: Duration,
    /// How long one attempt of a call waits for its reply. Default 3 s.
    pub reply_timeout: Duration,
    /// How long a call takes at most, with all its attempts. Default 10 s.
    pub deadline: Duration,
    /// Without use for this time, a connection is checked before it is used. Default 1 s.
    pub check_after: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            url: None,
            id: None,
            function: None,
            replica: None,
            connect_timeout: Duration::from_secs(2),
            reply_timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(10),
            check_after: Duration::from_secs(1),
        }
    }
}

/// Where the node is and for which function we speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) function: Option<String>,
    pub(crate) replica: String,
}

impl Settings {
    pub(crate) fn resolve(
        options: &Options,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings> {
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        let name = options.function.clone().or_else(|| variable("MISO_FUNCTION_NAME"));
        let replica = options.replica.clone().or_else(|| variable("MISO_REPLICA_ID"));
        let replica =
            replica.or_else(|| variable("HOSTNAME")).unwrap_or_else(|| "replica".to_owned());
        if let Some(url) = options.url.clone().or_else(|| variable("MISO_URL")) {
            return Settings::of_url(&url, name, replica);
        }
        let Some(host) = variable("MISO_HOST_IP") else {
            let message = "where is the node? Set MISO_URL=redis://FUNCTION:-@HOST:6379, \
                           or MISO_HOST_IP and MISO_FUNCTION_NAME";
            return Err(missing("MISO_URL", message));
        };
        let Some(user) = name.or_else(|| variable("OPENFAAS_NAME")) else {
            let message = "MISO_HOST_IP is set: set MISO_FUNCTION_NAME too";
            return Err(missing("MISO_FUNCTION_NAME", message));
        };
        let port = match variable("MISO_HOST_PORT") {
            None => DEFAULT_PORT,
            Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                let message =
                    format!("MISO_HOST_PORT is '{text}', expected a port from 1 to 65535");
                missing("MISO_HOST_PORT", &message)
            })?,
        };
        let password = Some(ANY_PASSWORD.to_owned());
        let function = Some(user.clone());
        Ok(Settings { host, port, tls: false, user: Some(user), password, function, replica })
    }

    fn of_url(text: &str, name: Option<String>, replica: String) -> Result<Settings> {
        let wrong = || {
            let message = "MISO_URL (or `url`) is no address of a node, \
                           expected redis://FUNCTION:-@HOST:6379";
            missing("MISO_URL", message)
        };
        let url = Url::parse(text).map_err(|_| wrong())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wrong()),
        };
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let plain = |text: &str| decoded(text).filter(|text| !text.is_empty());
        let mut user = plain(url.username());
        let mut password = url.password().and_then(plain);
        if user.is_none() && password.is_none() {
            user.clone_from(&name);
        }
        if user.is_some() && password.is_none() {
            password = Some(ANY_PASSWORD.to_owned());
        }
        let function = name.or_else(|| user.clone());
        Ok(Settings { host, port, tls, user, password, function, replica })
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A part of a URL without its percent signs; none if they do not make a text.
fn decoded(text: &str) -> Option<String> {
    // As a key of a form would be, but for the plus sign.
    let encoded = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let (key, _) = url::form_urlencoded::parse(encoded.as_bytes()).next()?;
    Some(key.into_owned())
}

fn missing(variable: &'static str, message: &str) -> Error {
    Error::Setting { variable, message: message.to_owned() }
}

/// The id of a function's own object: the same on every node, and for programs written for the paper's SDK.
#[must_use]
pub fn default_id(function: Option<&str>) -> String {
    let digest = Sha256::digest(function.unwrap_or("default").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
