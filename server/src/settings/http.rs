//! The kinds of settings that HTTP alone has.

use std::sync::Arc;

use parking_lot::RwLock;

use super::kind::{Kind, Rule, words};

/// A port, or none: empty, or the word `none`.
#[derive(Debug)]
pub(crate) struct OptionalPort;

impl Rule for OptionalPort {
    fn normal(&self, text: &str) -> Option<String> {
        match text {
            "" | "none" | "no" => Some("none".into()),
            port => Some(port.parse::<u16>().ok()?.to_string()),
        }
    }

    fn expected(&self) -> String {
        "a port from 0 to 65535, or none".into()
    }
}

impl Kind for OptionalPort {
    type Value = Option<u16>;
    type Cell = RwLock<Option<u16>>;

    fn value(&self, normal: &str) -> Option<Option<u16>> {
        if normal == "none" { Some(None) } else { normal.parse().ok().map(Some) }
    }
}

/// Origins of web pages: `https://shop.example` or `http://localhost:3000` each, or `*` for all.
#[derive(Debug)]
pub(crate) struct Origins;

/// Whether it is an origin as a browser sends it: a scheme and a host, in lower case, and no path.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let fits =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']');
    text == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(fits))
}

impl Rule for Origins {
    fn normal(&self, text: &str) -> Option<String> {
        let all: Vec<&str> = words(text).collect();
        all.iter().all(|origin| is_origin(origin)).then(|| all.join(" "))
    }

    fn expected(&self) -> String {
        "origins such as https://shop.example, or * for all".into()
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl Kind for Origins {
    type Value = Arc<[String]>;
    type Cell = RwLock<Arc<[String]>>;

    fn value(&self, normal: &str) -> Option<Arc<[String]>> {
        Some(words(normal).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_those_of_browsers() {
        let normal = |text| Origins.normal(text);
        assert_eq!(normal("").as_deref(), Some(""));
        assert_eq!(
            normal("https://a.example,http://[::1]:3000").as_deref(),
            Some("https://a.example http://[::1]:3000")
        );
        for bad in ["a.example", "https://a.example/", "https://", "HTTPS://A", "null", "ftp://a"] {
            assert_eq!(normal(bad), None, "{bad}");
        }
        assert_eq!(OptionalPort.normal("").as_deref(), Some("none"));
        assert_eq!(
            (OptionalPort.value("none"), OptionalPort.value("0")),
            (Some(None), Some(Some(0)))
        );
    }
}
